"""What a split is made of: items in order, of which each gives a record."""
from collections.abc import Callable, Iterable, Iterator, Sequence
import dataclasses
import hashlib
from typing import Any

from bst_jax.data.builders.problems import Problems, TooMany, Unusable
import numpy as np

SHARD_BYTES = 1 << 30  # of a shard of a large data set
_SHARDS = 16  # of a smaller one, so that several processes can make them,
_LEAST_BYTES = 1 << 26  # but none smaller than this.
_LOOKED_AT = 500  # items of a split that are known to be of no use


@dataclasses.dataclass(frozen=True)
class Plan:
  """A split as cheap items, so that any part of it can be made alone.

  A builder's `_split_generators` returns it in place of a generator. TFDS can
  write it too, as it is iterated like one.

  Attributes:
    items: one for each record that there may be, in order. They are sent to
      other processes: names, numbers and paths, no contents.
    sizes: about how many bytes each takes on disk.
    read: an item -> (example, note). It is sent too, so that it is a function
      of a module or an object of such a class. A note is small and goes into
      JSON: what `finish` has to know of the record. Raises `Unusable` where
      there is no record to be had.
    finish: the notes of all records in order -> None. It is called in the
      first process once a split is whole, writes what lies beside the records
      into the builder's data_dir, and raises where nothing is usable.
    problems: takes what is unusable.
  """

  items: Sequence[Any]
  sizes: Sequence[int]
  read: Callable[[Any], tuple[dict[str, Any], Any]]
  finish: Callable[[Iterable[Any]], None]
  problems: Problems

  def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
    """(key, example) of each record, as TFDS asks for them."""
    notes = []
    with self.problems.gathered():
      for example, note in usable(self.read, self.items, self.problems):
        yield len(notes), example
        notes.append(note)
    self.finish(notes)

  def shards(self, limit: int = SHARD_BYTES) -> list[tuple[int, int]]:
    """(first, end) of the items of each shard; see `cut`."""
    return cut(self.sizes, limit)


def usable(read: Callable, items: Iterable[Any], problems: Problems
           ) -> Iterator[tuple[dict[str, Any], Any]]:
  """(example, note) of the items that can be used.

  Where too many are bad nothing comes any more, but some hundred items are
  still looked at, so that the error tells what is wrong with them, too. The
  caller counts, in a block of `problems.gathered`.
  """
  left = _LOOKED_AT
  for item in items:
    left -= problems.too_many
    if not left:
      return
    try:
      one = read(item)
    except Unusable as error:
      problems.add(error.kind, str(error))
      continue
    if not problems.too_many:
      yield one


def look_on(error: TooMany, plans: Iterable[Plan]) -> None:
  """Adds to an error what is wrong with the splits that were to come.

  Raises:
    TooMany: with all that is bad.
  """
  with error.problems.gathered():
    for plan in plans:
      for _ in usable(plan.read, plan.items[:_LOOKED_AT], error.problems):
        pass


def cut(sizes: Sequence[int], limit: int) -> list[tuple[int, int]]:
  """Cuts items into runs of about as many bytes each.

    cut([1, 1, 1, 1, 1, 1], limit=2) == [(0, 2), (2, 4), (4, 6)]

  How many processes there are does not matter, so that the files do not
  depend on the machine: a set of less than 16 GiB has up to 16 shards.

  Args:
    sizes: of each item, in bytes.
    limit: of a shard, in bytes.

  Returns:
    (first, end) of each run; none is empty.
  """
  ends = np.cumsum(np.asarray(sizes, np.int64))
  if not len(ends):
    return []
  limit = min(limit, max(-(-ends[-1] // _SHARDS), _LEAST_BYTES))
  number = -(-int(ends[-1]) // max(1, int(limit)))
  marks = ends[-1] * np.arange(1, number) / max(1, number)
  inner = np.searchsorted(ends, marks, 'left') + 1
  edges = np.unique(np.concatenate([[0], inner, [len(ends)]])).tolist()
  return list(zip(edges, edges[1:]))


def by_hash(keys: Iterable[str], salt: str) -> list[int]:
  """Order of keys by a hash of them: random, but everywhere the same.

  It is the order in which TFDS writes records whose keys these are in the split
  `salt`. What is limited to the first records is then of all classes.
  """
  seed = hashlib.md5(salt.encode())

  def digest(key):
    hashed = seed.copy()
    hashed.update(key.encode('utf-8', 'surrogateescape'))
    return hashed.digest()

  digests = [digest(key) for key in keys]
  return sorted(range(len(digests)), key=digests.__getitem__)
