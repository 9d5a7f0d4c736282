"""Objects of many pictures in columns: a million boxes as numbers, no dicts.

  columns = Columns()
  columns.add(picture=42, id=7, box=(2, 3, 10, 20), label=90)
  annotations = columns.of([Picture(42, 'a.jpg')], [1, 90], unknown=print)
  annotations.at(0).boxes    # float64[1, 4]
"""
import array
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np


class Picture(NamedTuple):
  """A picture that a file of annotations names.

  Attributes:
    id: its number in that file.
    file: its name there, with folders or without.
    height, width: in pixels, as the file has them; 0 where it does not tell.
    split: as the file tells it, '' if it does not.
  """

  id: int
  file: str
  height: int = 0
  width: int = 0
  split: str = ''


class Objects(NamedTuple):
  """The N objects of a picture, crowds last.

  Attributes:
    boxes: float64[N, 4]: left, top, width and height in pixels.
    label: int64[N], classes from 0.
    crowd: bool[N]: a region of objects that nobody told apart.
    area: float64[N], in square pixels; NaN where the file does not tell.
    id: int64[N], numbers of the annotations in the file.
    attributes: int64[M]; object owner[i] has attributes[i].
    owner: int64[M].
  """

  boxes: np.ndarray
  label: np.ndarray
  crowd: np.ndarray
  area: np.ndarray
  id: np.ndarray
  attributes: np.ndarray
  owner: np.ndarray


class Annotations(NamedTuple):
  """The objects of all pictures, those of a picture next to each other.

  Attributes:
    pictures: one entry a picture, also those without objects.
    start: int64[P + 1]; picture i has the rows start[i] to start[i + 1] - 1.
    rows: columns of `Objects` for all pictures, without the two of attributes.
    attribute_start: int64[n + 1], where the attributes of each row begin.
    attributes: int64[m].
  """

  pictures: Sequence[Picture]
  start: np.ndarray
  rows: tuple[np.ndarray, ...]
  attribute_start: np.ndarray
  attributes: np.ndarray

  def at(self, i: int) -> Objects:
    """The objects of picture i."""
    first, end = self.start[i], self.start[i + 1]
    starts = self.attribute_start[first:end + 1]
    return Objects(
        *(column[first:end] for column in self.rows),
        attributes=self.attributes[starts[0]:starts[-1]],
        owner=np.repeat(np.arange(end - first), np.diff(starts)))

  def only(self, pictures: np.ndarray) -> 'Annotations':
    """Those of some pictures, int64[K]."""
    counts, each = np.diff(self.start), np.diff(self.attribute_start)
    rows = _runs(self.start[pictures], counts[pictures])
    return Annotations(
        [self.pictures[i] for i in pictures],
        np.cumsum([0, *counts[pictures]]),
        tuple(column[rows] for column in self.rows),
        np.cumsum([0, *each[rows]]),
        self.attributes[_runs(self.attribute_start[rows], each[rows])])


class Columns:
  """Takes objects one by one, in any order, by the numbers of a file."""

  def __init__(self):
    self._picture, self._label = array.array('q'), array.array('q')
    self._id, self._crowd = array.array('q'), array.array('b')
    self._box, self._area = array.array('d'), array.array('d')
    self._attributes, self._counts = array.array('q'), array.array('q')

  def __len__(self) -> int:
    return len(self._id)

  def add(self, picture: int, id: int, box: Sequence[float], label: int,
          crowd: bool = False, area: float = float('nan'),
          attributes: Sequence[int] = ()) -> None:
    """Takes an object; units are those of `Objects`.

    Args:
      picture: number of its picture in the file.
      id: its own.
      box: left, top, width and height.
      label: number of its class in the file.
      crowd: see `Objects`.
      area: see `Objects`.
      attributes: numbers from 0.
    """
    self._picture.append(picture)
    self._id.append(id)
    self._box.extend(box)
    self._label.append(label)
    self._crowd.append(crowd)
    self._area.append(area)
    self._attributes.extend(attributes)
    self._counts.append(len(attributes))

  def relabelled(self, numbers: Mapping[int, int]) -> 'Columns':
    """The same with other numbers of classes; -1 where there is none."""
    self._label = array.array('q', (numbers.get(i, -1) for i in self._label))
    return self

  def of(self, pictures: Sequence[Picture], labels: Sequence[int],
         unknown: Callable[[str, int, int], None]) -> Annotations:
    """All objects by picture, in the order of the pictures; crowds come last.

    Args:
      pictures: all that there are.
      labels: class i has the number labels[i] in the file.
      unknown: is told of every object that is left out: 'picture' or
        'category', its id, and the number that is not known.
    """
    whole = lambda column, dtype=np.int64: np.array(column, dtype)
    id, crowd, counts = whole(self._id), whole(self._crowd, bool), whole(
        self._counts)
    picture, label = (_places(whole(column), numbers) for column, numbers in (
        (self._picture, [one.id for one in pictures]), (self._label, labels)))
    for i in np.flatnonzero((picture < 0) | (label < 0)):
      what, column = ('picture', self._picture) if picture[i] < 0 else (
          'category', self._label)
      unknown(what, int(id[i]), column[i])
    # A stable sort: else objects stay in the file's order.
    order = np.lexsort((crowd, picture))
    order = order[((picture >= 0) & (label >= 0))[order]]
    columns = (whole(self._box, np.float64).reshape(-1, 4), label, crowd,
               whole(self._area, np.float64), id)
    which = _runs((np.cumsum(counts) - counts)[order], counts[order])
    return Annotations(
        pictures,
        np.cumsum([0, *np.bincount(picture[order], minlength=len(pictures))]),
        tuple(column[order] for column in columns),
        np.cumsum([0, *counts[order]]), whole(self._attributes)[which])


def _runs(first, counts):
  """int64[m], first[0], first[0] + 1, … (counts[0] of them), then the next."""
  before = np.cumsum(counts) - counts
  return np.repeat(first - before, counts) + np.arange(counts.sum())


def _places(values, numbers):
  """int64[n], where each value stands among numbers; -1 for nowhere."""
  numbers = np.array(numbers, np.int64)
  if not len(numbers):
    return np.full(len(values), -1)
  order = np.argsort(numbers, kind='stable')
  near = order[np.searchsorted(numbers, values, sorter=order).clip(
      max=len(numbers) - 1)]
  return np.where(numbers[near] == values, near, -1)
