"""Settings of a config that no model can have, said in a sentence."""
from collections.abc import Collection, Iterator, Mapping
import contextlib
from typing import Any

from bst_jax.data import kinds
from bst_jax.elastic import typed

# What a config must have, as it may be written.
_PARTS = {'model': "dict(name='mcan')", 'task': "dict(name='vqa')",
          'space': "dict(widths=('1/2', '1'), depths=('1',))"}

# Least values of what counts steps, or goes into numbers of 32 bits.
_COUNTS = {'steps': 0, 'epochs': 0, 'log_every': 1, 'save_every': 0,
           'eval_every': 0, 'keep': 1, 'keep_every': 0, 'micro_batches': 1,
           'seed': 0}


def check_parts(config: Mapping[str, Any],
                names: Collection[str] = tuple(_PARTS)) -> None:
  """Raises where a part of a config is missing or no dict."""
  for name in names:
    part = config.get(name)
    if not hasattr(part, 'items'):
      raise ValueError(f'config.{name} is {part!r}; it must be a dict, as '
                       f'{_PARTS[name]}.')
  compute = config.get('compute')
  if compute is not None and not hasattr(compute, 'items'):
    raise ValueError(f'config.compute is {compute!r}; it must be a dict, as '
                     "dict(dtype='bfloat16'), or None.")


def check_counts(config: Mapping[str, Any]) -> None:
  """Raises where a number of steps, say, is none that a run can have."""
  for key, least in _COUNTS.items():
    value = config.get(key)
    if value is not None and not (typed.fits(value, int) and value >= least):
      raise ValueError(f'config.{key} is {value}; it must be a whole number '
                       f'from {least} to 2,147,483,647.')


@contextlib.contextmanager
def told(config: Mapping[str, Any], batch: Collection[str] = ()
         ) -> Iterator[None]:
  """Turns what a model of ours raises into a sentence about its settings.

  Args:
    config: of the experiment.
    batch: kinds of inputs that the data have.

  Raises:
    ValueError: with it.
  """
  try:
    yield
  except KeyError as error:
    if error.args[0] not in kinds.KINDS or error.args[0] in batch:
      raise
    raise ValueError(
        f'model {config.model.name} reads {error.args[0]!r}, but the data have '
        f'{", ".join(batch) or "nothing that models read"}. Choose data with '
        'it, as by config.data.inputs, or another model.') from error
  except (TypeError, ZeroDivisionError, OverflowError) as error:
    if '.' in config.model.name:  # A user's own, who looks for the line.
      raise
    reason = ' '.join(str(error).split())[:200]
    raise ValueError(
        f'model {config.model.name} cannot be built with the settings of '
        f'config.model and the sizes of the data ({reason}). One of them is 0, '
        'too large or does not fit another.') from error


def check_outputs(config: Mapping[str, Any], task: Any, outputs: Any) -> None:
  """Raises where a model does not return what its task reads."""
  there = list(outputs) if isinstance(outputs, Mapping) else []
  for name in task.outputs:
    if name not in there:
      returns = ', '.join(map(repr, there)) or f'{type(outputs).__name__}'
      raise ValueError(
          f'task {config.task.name} reads the output {name!r}, but model '
          f'{config.model.name} returns {returns}. A model returns a dict of '
          'named outputs; choose a task that reads one of them, or another '
          'model.')
