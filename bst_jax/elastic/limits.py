"""What the numbers of a model may be, whatever the model.

They come from configs, flags and files. Each layer is a part of the program of
its own, so that a model of a billion layers would never be built, and nobody
would be told why.
"""
from collections.abc import Iterator
import inspect
import numbers as kinds
from typing import Any

from bst_jax.elastic.axes import Sizes

LAYERS = 1000  # The deepest transformers that were trained have as many.

# Fields of a backbone that count what is built one by one.
_LAYERS = ('num_layers', 'sampling_layers', 'visual_blocks', 'stem')
# Fields that may be 0 though they usually are not.
_MAY_BE_ZERO = ('num_answers', 'padding', 'paddings', 'shift', 'skip', 'mean')
_RATES = ('dropout', 'depth_dropout')
_ABOVE_ZERO = ('eps', 'head_eps', 'reduction_eps', 'std')
_PIXELS = ('mean', 'std')  # One for red, green and blue each.


def check(name: str, option: str, value: Any,
          known: inspect.Parameter) -> None:
  """Raises where a number is none that a backbone could have.

  Args:
    name: of the model.
    option: the field.
    value: of the type that the field has.
    known: the field.

  Raises:
    ValueError: it is negative, or 0 where something must be there, no share, or
      more layers than can be built.
  """
  wrong = _wrong(option, value, known.default)
  if wrong:
    raise ValueError(f'config.model.{option} of model {name} is '
                     f'{short(value)}, but {wrong}.')


def _wrong(option, value, usual):
  """What the value must be; '' where it is."""
  numbers = [*_numbers(value)]
  if option in _PIXELS and len(numbers) != 3:
    return 'it is three numbers, of red, green and blue'
  if option in _RATES and not all(0 <= n < 1 for n in numbers):
    return 'it is a share: 0 or more, and below 1'
  if option in _ABOVE_ZERO and not all(n > 0 for n in numbers):
    return 'it is a number above 0'
  if len(numbers) > LAYERS:
    return f'it has {len(numbers):,} numbers, more than layers can be built'
  layers = len(numbers) if option == 'stem' else sum(numbers)
  if option in _LAYERS and layers > LAYERS:
    return f'at most {LAYERS:,} layers can be built'
  least = int(usual != 0 and option not in _MAY_BE_ZERO)
  whole = [n for n in numbers if isinstance(n, kinds.Integral)]
  if option != 'strategy_seed' and not all(n >= least for n in whole):
    return f'it is a whole number of at least {least}'
  return ''


def _numbers(value: Any) -> Iterator[float]:
  """The numbers of a number, a list or a size with exceptions."""
  if isinstance(value, Sizes):
    value = value.to_dict()
  if isinstance(value, tuple):
    for one in value:
      yield from _numbers(one)
  elif hasattr(value, 'items'):
    for _, one in value.items():
      yield from _numbers(one)
  elif isinstance(value, kinds.Real) and not isinstance(value, bool):
    yield value


def short(value: Any) -> str:
  """A value as an error tells it."""
  text = repr(value)
  return text if len(text) <= 80 else f'{text[:77]}...'
