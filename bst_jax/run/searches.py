"""A search before a training: `config.search`, which finds what layers to skip.

The search is a training of its own, in a folder of the workdir. What follows is
that of a model without the layers that it found, from the start again.
"""
from collections.abc import Mapping, Sequence
import pathlib

from bst_jax import methods
from bst_jax.run import experiment
from bst_jax.store import workdir as workdirs
import ml_collections

FOLDER = 'search'


def place(workdir: str | pathlib.Path) -> pathlib.Path:
  """The workdir of the search of a workdir."""
  return pathlib.Path(workdir) / FOLDER


def check(config: ml_collections.ConfigDict) -> None:
  """Raises where a config and its search do not fit together."""
  search = config.search
  if not hasattr(search, 'method') or search.method.get('name') != 'das':
    raise ValueError(
        'config.search is the training that finds which layers to skip, a '
        "config of its own with method das; copy the config and set its "
        'method, or leave config.search None.')
  for key in ('name', 'num_layers', 'adapter'):
    here, there = (one.model.get(key) for one in (config, search))
    if here != there:
      raise ValueError(
          f'config.model.{key} is {here} and config.search.model.{key} {there}, '
          'but a search finds layers of the model that is trained then; make '
          'both alike.')


def expected(config: ml_collections.ConfigDict, sizes: Mapping[str, int]
             ) -> ml_collections.ConfigDict:
  """A config whose search has not run, as if it had found the first layers.

  Args:
    config: any; one without a search stays as it is.
    sizes: of data, with which its model can be built.
  """
  if not config.get('search'):
    return config
  model = experiment.build(config.search, sizes).model
  skips = methods.option(config.search.method, 'skips')
  return settled(config, model.candidates[:skips])


def found(workdir: str | pathlib.Path) -> tuple[str, ...] | None:
  """Paths of the layers that a finished search found; None for none."""
  path = place(workdir) / workdirs.CHOICE
  if not path.exists():
    return None
  return experiment.read_choice(path).skip


def settled(config: ml_collections.ConfigDict, skip: Sequence[str]
            ) -> ml_collections.ConfigDict:
  """The config of the training that follows.

  Args:
    config: with its search.
    skip: paths of the layers that are skipped. Where training starts from
      another workdir, they stay behind there.
  """
  config = config.copy_and_resolve_references()
  config.unlock()
  config.search = None
  with config.ignore_type():
    config.model.skip = tuple(skip)
    start = config.get('start')
    if start:
      start = dict(start if hasattr(start, 'keys') else {'workdir': start})
      config.start = ml_collections.ConfigDict(start | {
          'leave': (*(start.get('leave') or ()), *skip)})
  return config
