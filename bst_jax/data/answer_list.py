"""Files that say which answer each output of a model stands for."""
from collections.abc import Mapping
import json
import os
import pathlib

from absl import logging
from bst_jax.data import text

_MOST = 1 << 20  # Outputs; a number beyond is a mistake.


def load(path: str | os.PathLike) -> tuple[str, ...]:
  """Answers by number.

  Args:
    path: a JSON list, or an object of {answer: number} or of {number: answer},
      as published ones are. Numbers that no answer has are told of, and such an
      output prints as its number, '#3'.

  Raises:
    ValueError: another file, a number that two answers have, or none at all.
  """
  path = pathlib.Path(path)
  try:
    found = json.loads(path.read_text('utf-8-sig'), object_pairs_hook=_Pairs)
  except ValueError:
    found = None
  if not isinstance(found, _Pairs):
    return tuple(text.load_list(path))
  numbered = _numbered(found, path)
  count = max(numbered) + 1
  holes = [i for i in range(count) if i not in numbered]
  if holes:
    logging.warning(
        '%s gives no answer to %d of the numbers up to %d: %s. These outputs '
        'stand for no answer and print as their numbers.', path, len(holes),
        count - 1, ', '.join(map(str, holes[:5])) + ', …' * (len(holes) > 5))
  return tuple(numbered.get(i, f'#{i}') for i in range(count))


class _Pairs(list):
  """The pairs of a JSON object, of which several may have one key."""


def _numbered(pairs: _Pairs, path: pathlib.Path) -> Mapping[int, str]:
  """{number: answer} of an object of either kind."""
  if pairs and all(_is_number(value) for _, value in pairs):
    pairs = [(value, key) for key, value in pairs]
  elif pairs and all(key.isascii() and key.isdigit() and isinstance(value, str)
                     for key, value in pairs):
    pairs = [(int(key), value) for key, value in pairs]
  else:
    raise ValueError(
        f'{path} was to be read as the answers of a model, but it is neither a '
        'list of answers nor an object of {answer: number} or {number: answer}.')
  found = {}
  for number, answer in pairs:
    if not 0 <= number < _MOST:
      raise ValueError(f'{path} gives {answer!r} the number {number:,}; outputs '
                       f'are numbered from 0, below {_MOST:,}.')
    if found.setdefault(number, answer) != answer:
      raise ValueError(
          f'{path} gives the number {number} to {found[number]!r} and to '
          f'{answer!r}, but an output stands for one answer; give the file that '
          'the checkpoint was trained with.')
  return found


def _is_number(value) -> bool:
  return isinstance(value, int) and not isinstance(value, bool)
