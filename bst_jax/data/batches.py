"""Batch dicts of given groups of rows, and what an evaluation goes over."""
import dataclasses
from typing import Any

from bst_jax.data import forms
from bst_jax.data.image import sides
from bst_jax.host import memory
import numpy as np

_EVAL_BATCHES = 4  # of training make one of evaluation
_CANVAS = 4  # Stream of random numbers of a step, beside those of `pipeline`.


@dataclasses.dataclass(frozen=True)
class Shape:
  """What a batch is made of.

  Rows stand in groups: the rows of a picture, or a row with its two pictures.

  Attributes:
    groups: P, groups of a host's batch.
    rows: Q, rows of each group.
    shard_index: this host.
    shard_count: number of hosts; the global batch has P times as many.
  """

  groups: int
  rows: int
  shard_index: int = 0
  shard_count: int = 1

  def mine(self, everyone: np.ndarray) -> np.ndarray:
    """This host's share of what belongs to a global batch."""
    first = self.shard_index * self.groups
    return everyone[first:first + self.groups]


def shape(batch: int, rows: int, index: int, count: int,
          what: str = 'questions') -> Shape:
  """Shape of this host's share of a batch.

  Args:
    batch: rows over all hosts.
    rows: of each group.
    index, count: this host, and how many there are.
    what: a batch is of, for errors.
  """
  if not 0 <= index < count:
    raise ValueError(
        f'Shard {index} of {count} was asked for, but shards are numbered '
        f'from 0; use 0 to {count - 1}.')
  step = count * rows
  if batch <= 0 or batch % step:
    fits = max(step, round(batch / step) * step)
    each = f' with {rows} {what} a picture' if rows > 1 else ''
    raise ValueError(
        f'A batch of {batch} {what} was asked for, but {count} hosts{each} '
        f'need a multiple of {step}. The closest is {fits}.')
  return Shape(batch // step, rows, index, count)


def shapes(options: Any, what: str, index: int,
           count: int) -> tuple[Shape, Shape]:
  """Shapes of batches of training and of evaluation, see `shape`.

  Args:
    options: of config.data.
    what: rows are called in errors.
    index, count: this host, and how many there are.
  """
  rows, asked = options.per_group
  train = shape(options.batch, rows, index, count, what)
  if options.eval_batch:
    return train, shape(options.eval_batch, asked, index, count, what)
  many = rows_of_evaluation(options, train.groups * rows)
  return train, Shape(many // asked, asked, index, count)


def rows_of_evaluation(options: Any, rows: int) -> int:
  """Rows of a batch of evaluation where one of training has so many.

  It has more pictures, as no gradients take room; a multiple, so that they
  divide over devices too.
  """
  if options.eval_batch:
    return options.eval_batch
  together, asked = options.per_group
  many = max(1, _EVAL_BATCHES // max(1, options.clips))
  return many * rows // together * asked


class Batches:
  """Makes batch dicts of groups and rows, by number."""

  def __init__(self, form: forms.Form, numbers: Any, pictures: Any,
               shape: Shape, training: bool = False, repeats: int = 1,
               canvases: tuple = ()):
    """Takes what `form.encode` made and a `pictures.Pictures`.

    Args:
      form: of the rows.
      numbers: all rows.
      pictures: of the same split.
      shape: of a batch.
      training: whether batches are for training.
      repeats: how often a training batch has each group.
      canvases: sizes of training pictures, of which each step draws one.
    """
    self._form, self._numbers, self._pictures = form, numbers, pictures
    self.shape, self._training = shape, training
    self._canvases = [sides(size) for size in canvases] if training else []
    self.start, self.repeats = numbers.start, repeats
    # Inputs of a picture in evaluation.
    self.views = 1 if training else pictures.rows

  @property
  def chosen(self) -> int:
    """Rows of a group that the order of training picks."""
    return self._form.chosen or self.shape.rows

  def __call__(self, groups: np.ndarray, rows: np.ndarray, mask: np.ndarray,
               draws: list[tuple[int, ...]] | None = None,
               ) -> dict[str, np.ndarray]:
    """A batch.

    Args:
      groups: int[P], negative for padding.
      rows: int[P, Q], of training int[P, chosen].
      mask: bool of the same shape, false for padding.
      draws: for each group (seed, stream, step, place in the global batch);
        None where nothing is drawn, as in evaluation.
    """
    place = forms.Place(groups, rows, mask, self._training, draws)
    numbers, seeds = groups, draws
    if self._numbers.pictures is not None:  # Both of a row stand together.
      numbers = np.where((groups < 0)[:, None], -1,
                         self._numbers.pictures[groups]).reshape(-1)
    elif self._form.shown is not None:
      numbers = self._form.shown(self._numbers, place)
    if draws and len(numbers) > len(groups):
      seeds = [(*draw, side) for draw in draws
               for side in range(len(numbers) // len(groups))]
    size = self._canvas(draws)
    return self._form.make(
        self._numbers, place, self._pictures(numbers, seeds, size))

  def _canvas(self, draws):
    """The size of a step's pictures; None for the usual one."""
    if not self._canvases:
      return None
    if draws is None:
      return self._canvases[0]
    seed, _, step, _ = draws[0]  # All hosts draw the same.
    rng = np.random.default_rng((seed, _CANVAS, step))
    return self._canvases[rng.integers(len(self._canvases))]

  def units(self) -> np.ndarray:
    """int[n], the groups of what an epoch goes over.

    Where the order picks one row of a group these are the groups of all rows in
    order, else the groups that have rows.
    """
    counts = np.diff(self.start)
    if self.chosen == 1:
      return np.repeat(np.arange(len(counts)), counts)
    return np.flatnonzero(counts)

  def epoch(self) -> float:
    """Global batches of an epoch; the last one may be a part.

    It has as many units as there are. With R repeats these are those of an R-th
    of the groups, as in DeiT.
    """
    return len(self.units()) / (self.shape.groups * self.shape.shard_count)

  def empty(self) -> dict[str, np.ndarray]:
    """A batch of zeros."""
    return self._zeros(self.shape.groups)

  def check_room(self) -> None:
    """Raises a ValueError where a batch is larger than this machine's memory."""
    one = sum(x.nbytes for x in self._zeros(1).values())
    memory.check(one * self.shape.groups, memory.of_machine(),
                 f'Batches of {self.shape.groups * self.shape.rows:,} rows',
                 'Choose a smaller config.data.batch or eval_batch.')

  def _zeros(self, groups: int) -> dict[str, np.ndarray]:
    shape = groups, self.shape.rows
    return self(np.full(groups, -1), np.zeros(shape, int),
                np.zeros(shape, bool))

  def chunks(self, limit: int = 0, groups: np.ndarray | None = None
             ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What an evaluation goes over: groups with at most Q of their rows.

    Args:
      limit: if positive, how many groups at most, at equal distances.
      groups: int[n], these alone; None for all.

    Returns:
      group, first row and number of rows of each chunk, int[n].
    """
    found = (self._form.chunks or chunks)(self._numbers, self.shape.rows)
    if not limit and groups is None:
      return found
    groups = np.unique(found[0] if groups is None else groups)
    if 0 < limit < len(groups):
      groups = groups[np.linspace(0, len(groups) - 1,
                                  limit).round().astype(int)]
    kept = np.isin(found[0], groups)
    return tuple(column[kept] for column in found)


def chunks(numbers: Any, rows: int,
           ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Every group with its own rows, Q at a time, see `Batches.chunks`."""
  starts, counts = numbers.start[:-1], np.diff(numbers.start)
  each = -(-counts // rows)
  groups = np.repeat(np.arange(len(counts)), each)
  nth = np.arange(len(groups)) - np.repeat(np.cumsum(each) - each, each)
  first = starts[groups] + rows * nth
  return groups, first, np.minimum(counts[groups] - rows * nth, rows)
