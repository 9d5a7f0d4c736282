"""Captions as arrays of n-grams, so that thousands are compared at once."""
from collections.abc import Iterator, Sequence
import itertools
from typing import NamedTuple

import numpy as np

Numbers = Sequence[int] | np.ndarray
WORDS = 1 << 21  # Numbers are below it, so that a key of two fits 64 bits.
MOST = 4  # Words of an n-gram.


class Flat(NamedTuple):
  """Captions one behind the other.

  Attributes:
    ids: int64[n].
    owner: int64[n], which caption a number is of.
    lengths: int64[S], of the captions.
  """

  ids: np.ndarray
  owner: np.ndarray
  lengths: np.ndarray

  @classmethod
  def of(cls, captions: Sequence[Numbers], closing: int | None,
         closed: bool) -> 'Flat':
    """Captions, cut behind their first closing token.

    Args:
      captions: without padding.
      closing: number of the closing token; None where there is none.
      closed: whether all get one at their end.

    Raises:
      ValueError: a number is negative or too large.
    """
    lengths = np.fromiter(map(len, captions), np.int64, len(captions))
    ids = np.fromiter(itertools.chain.from_iterable(captions), np.int64,
                      lengths.sum())
    owner = np.repeat(np.arange(len(lengths)), lengths)
    if len(ids) and not 0 <= ids.min() <= ids.max() < WORDS:
      raise ValueError(
          f'captions were given with the numbers {ids.min()} to {ids.max()}, '
          f'but words have those from 0 to {WORDS - 1:,}. Leave padding out.')
    if closing is None:
      return cls(ids, owner, lengths)
    first = np.full(len(lengths), len(ids))
    at = np.flatnonzero(ids == closing)
    np.minimum.at(first, owner[at], at)
    place = np.arange(len(ids))
    kept = place < first[owner] if closed else place <= first[owner]
    ids, owner = ids[kept], owner[kept]
    lengths = np.bincount(owner, minlength=len(lengths))
    if closed:
      ends = np.cumsum(lengths)
      ids = np.insert(ids, ends, closing)
      owner = np.insert(owner, ends, np.arange(len(lengths)))
      lengths = lengths + 1
    return cls(ids, owner, lengths)

  def then(self, other: 'Flat') -> 'Flat':
    """These captions and then those of another."""
    return Flat(*(np.concatenate(pair) for pair in (
        (self.ids, other.ids), (self.owner, other.owner + len(self.lengths)),
        (self.lengths, other.lengths))))


class Level(NamedTuple):
  """The n-grams of captions, for one n.

  Attributes:
    owner: int64[k], the caption of each that stands somewhere.
    gram: int64[k], its place in `keys`.
    keys: int64[G], of the different ones: place of the beginning among the
      shorter ones, times `WORDS`, plus the last word.
  """

  owner: np.ndarray
  gram: np.ndarray
  keys: np.ndarray


def levels(flat: Flat) -> Iterator[Level]:
  """The n-grams of captions, of one word, then of two, up to `MOST`."""
  start = np.arange(len(flat.ids))
  keys, gram = np.unique(flat.ids, return_inverse=True)
  yield Level(flat.owner, gram, keys)
  for n in range(1, MOST):
    last = start + n
    there = last < len(flat.ids)
    there[there] = flat.owner[last[there]] == flat.owner[start[there]]
    start = start[there]
    keys, gram = np.unique(gram[there] * WORDS + flat.ids[start + n],
                           return_inverse=True)
    yield Level(flat.owner[start], gram, keys)
