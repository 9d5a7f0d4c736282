"""What people called objects in Visual Genome, brought into one spelling."""
from collections.abc import Iterable, Mapping, Sequence
import os
import pathlib

import numpy as np

SAME = 0.9  # overlap from which two boxes of one class are one object


def plain(name: str) -> str:
  """A name in lower case with single spaces: 'Dark  Blue ' -> 'dark blue'."""
  return ' '.join(name.lower().split())


def aliases(path: str | os.PathLike) -> dict[str, str]:
  """{name: what is meant} of a file with a line of names for each thing.

  The first name of a line, between commas, is what is meant: 'man,guy'.
  """
  found = {}
  if pathlib.Path(path).is_file():
    for line in pathlib.Path(path).read_text('utf-8-sig').splitlines():
      first, *others = map(plain, line.split(','))
      for other in others:
        if other and other != first:
          found.setdefault(other, first)
  return found


def vocabulary(path: str | os.PathLike, counts: Mapping[str, int],
               most: int) -> tuple[tuple[str, ...], dict[str, int]]:
  """Names of classes or attributes, and {name: number} with their synonyms.

  Args:
    path: a file with a class a line, synonyms behind commas; where there is
      none, the most frequent names are taken, ties by the alphabet.
    counts: of all names.
    most: how many are taken then.

  Reference: Anderson et al., "Bottom-Up and Top-Down Attention", CVPR 2018,
    section 3.1: 1,600 classes and 400 attributes.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    names = sorted(counts, key=lambda name: (-counts[name], name))[:most]
    return tuple(names), {name: i for i, name in enumerate(names)}
  lines = [[plain(name) for name in line.split(',') if name.strip()]
           for line in path.read_text('utf-8-sig').splitlines()]
  lines = [line for line in lines if line]
  numbers = {}
  for i, line in enumerate(lines):
    for name in line:
      numbers.setdefault(name, i)
  names = tuple(line[0] for line in lines)
  if len(set(names)) < len(names):
    twice = next(name for name in names if names.count(name) > 1)
    raise ValueError(f'{path} was to be read as names of classes, but '
                     f'{twice!r} begins two of its lines. Leave one.')
  return names, numbers


def merged(boxes: np.ndarray, names: Sequence[str],
           attributes: Sequence[Iterable[str]]
           ) -> list[tuple[int, list[str]]]:
  """The objects of a picture without those that are there twice.

  Of boxes with one name that overlap by `SAME` or more the first stays, and has
  the attributes of all.

  Args:
    boxes: float64[N, 4], left, top, width and height.
    names: of the objects.
    attributes: of each.

  Returns:
    (place of the object, its attributes, each once) of those that stay.
  """
  kept = []
  for i, name in enumerate(names):
    for j, known in kept:
      if names[j] == name and overlap(boxes[i], boxes[j]) >= SAME:
        known.extend(attributes[i])
        break
    else:
      kept.append((i, list(attributes[i])))
  return [(i, list(dict.fromkeys(known))) for i, known in kept]


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
  """Intersection over union of two boxes: left, top, width and height."""
  inner = [min(one[i] + one[i + 2], other[i] + other[i + 2])
           - max(one[i], other[i]) for i in range(2)]
  shared = max(inner[0], 0) * max(inner[1], 0)
  total = one[2] * one[3] + other[2] * other[3] - shared
  return shared / total if total > 0 else 0.0
