"""Batches of a split: order, shards, prefetching and the place reached."""
from collections.abc import Iterator
import functools

from bst_jax.data import prefetch
from bst_jax.data.batches import Batches
import grain
import numpy as np

_STEPS = 1 << 40  # endless, and short enough for grain's arithmetic
MOST = 1 << 30  # bytes of batches that are ready, or being made
_ORDER, _CHOICE, _CHANGE = range(3)  # streams of random numbers


class _Training:
  """Maps the number of a step to its batch, the same one at any time.

  With one row of a group the rows are in random order, each once an epoch. With
  Q > 1 the groups are, each with Q of its rows. An epoch that ends within a
  batch goes on with the next; all hosts together see the same global batches
  whatever their number, augmented in the same way.
  """

  def __init__(self, batches: Batches, seed: int):
    self._batches, self._seed = batches, seed
    self._units = batches.units()
    self._counts = np.diff(batches.start)
    self._widest = int(self._counts.max())
    # Two epochs meet in a batch, and threads run ahead by some batches.
    self._order = functools.lru_cache(maxsize=4)(self._shuffled)

  def _shuffled(self, epoch: int) -> np.ndarray:
    rng = np.random.default_rng((self._seed, _ORDER, epoch))
    return rng.permutation(len(self._units))

  def __call__(self, step: int) -> dict[str, np.ndarray]:
    shape, count = self._batches.shape, self._batches.chosen
    everyone, repeats = shape.groups * shape.shard_count, (
        self._batches.repeats)
    place = shape.mine(np.arange(everyone))
    # Repeats of a group stand far from each other.
    different = everyone // repeats
    at = step * different + place % different
    epochs, offsets = np.divmod(at, len(self._units))
    units = np.empty_like(at)
    for epoch in np.unique(epochs).tolist():  # With repeats not in order.
      now = epochs == epoch
      units[now] = self._order(epoch)[offsets[now]]
    groups = self._units[units]
    if count == 1:
      rows = units[:, None]  # [P, 1]
    else:
      rng = np.random.default_rng((self._seed, _CHOICE, step))
      keys = shape.mine(rng.random((everyone, self._widest), np.float32))
      counts = self._counts[groups][:, None]  # [P, 1]
      keys = np.where(np.arange(self._widest) < counts, keys, 2)
      # Real rows come first; where they are too few they come again.
      turn = np.arange(count) % counts  # [P, Q]
      picked = np.take_along_axis(np.argsort(keys, axis=1), turn, axis=1)
      rows = self._batches.start[groups][:, None] + picked
    return self._batches(
        groups, rows, np.ones(rows.shape, bool),
        [(self._seed, _CHANGE, step, i) for i in place.tolist()])


def train(batches: Batches, seed: int, threads: int,
          most: int = MOST) -> grain.DatasetIterator:
  """Endless training batches, made ahead by threads.

  All iterators of a process together hold `most` bytes of them.

  `get_state` gives the place reached as a dict of numbers, `set_state` goes
  there: what follows is what would have followed. A place counts global
  batches: it is the same on all hosts, and good for any number of them.
  """
  steps = grain.MapDataset.range(_STEPS).map(_Training(batches, seed))
  return prefetch.iterator(steps, _size(batches), threads, most)


class Evaluation:
  """Batches with every row of a split once; can be gone over again.

  Groups with more than Q rows come several times; where there are fewer, `mask`
  is false. All hosts have the same number of batches.
  """

  def __init__(self, batches: Batches, threads: int, limit: int = 0,
               most: int = MOST, groups: np.ndarray | None = None):
    """If `limit` is positive, takes so many groups, at equal distances; or
    those of `groups` alone; `most` as of `train`.
    """
    self._batches, self._threads, self._most = batches, threads, most
    self._groups, self._first, self._count = batches.chunks(limit, groups)

  def __len__(self) -> int:
    shape = self._batches.shape
    return -(-len(self._groups) // (shape.groups * shape.shard_count))

  def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
    steps = grain.MapDataset.range(len(self)).map(self._batch)
    return prefetch.iterator(steps, _size(self._batches, self._batches.views),
                          self._threads, self._most)

  def rows(self) -> Iterator[np.ndarray]:
    """int[B] for each batch: the split's rows in it, -1 for padding."""
    for step in range(len(self)):
      _, rows, mask = self._place(step)
      yield np.where(mask, rows, -1).reshape(-1)

  def _batch(self, step: int) -> dict[str, np.ndarray]:
    return self._batches(*self._place(step))

  def _place(self, step: int):
    """Groups int[P], rows int[P, Q] and mask bool[P, Q] of a batch."""
    shape = self._batches.shape
    everyone = shape.groups * shape.shard_count
    at = shape.mine(np.arange(step * everyone, (step + 1) * everyone))
    real = at < len(self._groups)
    at = np.where(real, at, 0)
    nth = np.arange(shape.rows)
    mask = (nth < self._count[at][:, None]) & real[:, None]  # [P, Q]
    rows = np.where(mask, self._first[at][:, None] + nth, 0)
    return np.where(real, self._groups[at], -1), rows, mask


def _size(batches: Batches, views: int = 1) -> int:
  """Bytes of a batch."""
  return views * sum(a.nbytes for a in batches.empty().values())
