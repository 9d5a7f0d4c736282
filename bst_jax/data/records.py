"""Record files of a data set, read at random."""
import bisect
from collections.abc import Iterator, Sequence
import itertools
import os

from absl import logging
from bst_jax.data import asked, buckets, example, shards
from bst_jax.data import kept as kept_lib
from bst_jax.data.builders import found
from bst_jax.data.making import mending
from bst_jax.data.making.preparing import prepare as prepare
from bst_jax.elastic import check_name
from bst_jax.host import alive
import numpy as np
import tensorflow_datasets as tfds

_AT_ONCE = 64  # Records that are counted together.

def parts_of(builder: tfds.core.DatasetBuilder, split: str) -> list[str]:
  """The splits on disk that 'a+b' is, or a name that stands for several."""
  aliases = getattr(builder, 'ALIASES', {})
  known = [*builder.info.splits,
           *(a for a, of in aliases.items() if set(of) & set(
               builder.info.splits))]
  parts = []
  for name in split.split('+'):
    check_name(name, known, f'split of {builder.info.full_name}')
    parts += [part for part in aliases.get(name, (name,))
              if part in builder.info.splits]
  twice = sorted({p for p in parts if parts.count(p) > 1})
  if twice:
    raise ValueError(f'The split {split!r} was asked for, but {twice} would be '
                     'in it twice. Name each once.')
  return parts


def read(builder: tfds.core.DatasetBuilder, split: str, parts: Sequence[str],
         limit: int = 0) -> 'Records | Joined':
  """The records of a split, or of several as in 'a+b'; as `Records`."""
  opened = [Records(builder, part, parts, limit)
            for part in parts_of(builder, split)]
  return opened[0] if len(opened) == 1 else Joined(opened, limit)


class Records(Sequence):
  """The records of a split, as dicts; a damaged file is named in the error."""

  def __init__(self, builder: tfds.core.DatasetBuilder, split: str,
               parts: Sequence[str], limit: int = 0):
    """Opens a split.

    Args:
      builder: as `prepare` returns it.
      split: its name.
      parts: the features to read; pictures come as encoded bytes.
      limit: if positive, how many records at most.

    Raises:
      ValueError: a file is missing or cut short.
    """
    self.name = f'{builder.info.full_name} {split}'
    check_name(split, builder.info.splits, f'split of {builder.info.name}')
    info = builder.info.splits[split]
    self._builder, self._folder, self._split = builder, os.fspath(
        builder.data_dir), split
    self._shards = shards.Shards(
        [os.path.join(self._folder, name) for name in info.filenames],
        info.shard_lengths)
    self._mark = f'{info.filenames} {info.shard_lengths} {info.num_bytes}'
    self._length = min(info.num_examples, limit or info.num_examples)
    self._parse = example.Reader(builder.info.features, parts)
    for path, error in self._shards.check():
      raise self._damaged(path, error) from error

  def __len__(self) -> int:
    return self._length

  def __getitem__(self, i: int) -> dict:
    if not 0 <= i < self._length:  # Also ends a `for` over the records.
      raise IndexError(f'Record {i} of {self._length} of {self.name}.')
    try:
      return self._parse(self._shards[i])
    except Exception as error:
      raise self._damaged(self._shards.path(i), error, i) from error

  def __iter__(self) -> Iterator[dict]:
    records = iter(self._shards)
    for i in range(self._length):
      try:
        record = self._parse(next(records))
      except Exception as error:
        raise self._damaged(self._shards.path(i), error, i) from error
      yield record

  @property
  def lengths(self) -> list[int]:
    """Records of the splits that these are joined of."""
    return [self._length]

  def column(self, name: str) -> np.ndarray:
    """int64[n], a number that each record has.

    All columns lie beside the records once they were asked for, as records of
    videos and photographs take minutes to go through.
    """
    kept, total = kept_lib.Kept(self._folder, self._mark), len(self._shards)
    file = os.path.basename(found.column(self._folder, self._split, name))
    values = kept.array(file, total)
    if values is None:
      alone = Records(self._builder, self._split, [name])
      logging.info('%s of %s is not known apart: all %.1f GB are read through, '
                   'once.', name, self.name,
                   self._builder.info.splits[self._split].num_bytes / 1e9)
      values = np.fromiter((record[name] for record in progress(alone)),
                           np.int64, total)
      kept.save(file, values)
    return values[:self._length]

  def questions(self) -> asked.Questions | None:
    """Questions of each record where they also lie beside the records."""
    rows = asked.keep(self._folder, self._split, len(self._shards), self._mark)
    if rows is None or self._length == len(self._shards):
      return rows
    return rows.first(self._length)

  def _damaged(self, path, error, i=None):
    """The error that says which file cannot be read, and what would help."""
    what = f'Record {i} of {self.name}' if i is not None else self.name
    many = shards.advice(error)
    if many:
      return ValueError(f'{what} was to be read from {path}, but {many}')
    why = ('is not there' if isinstance(error, FileNotFoundError) else
           f'cannot be opened ({error.strerror})' if isinstance(error, OSError)
           and error.strerror else f'cannot be read ({error})'
           if buckets.is_remote(path) else f'is damaged or cut short ({error})')
    silent = isinstance(error, TimeoutError) and buckets.is_remote(path)
    return ValueError(
        f'{what} was to be read from {path}, but the file {why}. '
        + (buckets.REACH if silent else
           mending.remedy(self._folder, os.path.basename(path))))


class Joined(Sequence):
  """Records of several splits, one behind the other."""

  def __init__(self, splits: Sequence[Records], limit: int = 0):
    self._splits = splits
    self._ends = list(itertools.accumulate(map(len, splits)))
    self._length = min(self._ends[-1], limit or self._ends[-1])
    self.name = ' + '.join(s.name for s in splits)

  def __len__(self) -> int:
    return self._length

  def __getitem__(self, i: int) -> dict:
    if not 0 <= i < self._length:
      raise IndexError(f'Record {i} of {self._length} of {self.name}.')
    which = bisect.bisect_right(self._ends, i)
    return self._splits[which][i - (self._ends[which - 1] if which else 0)]

  def __iter__(self) -> Iterator[dict]:
    return itertools.islice(itertools.chain(*self._splits), self._length)

  @property
  def lengths(self) -> list[int]:
    """As of `Records`; the last may be longer than what is left of it."""
    return [len(split) for split in self._splits]

  def column(self, name: str) -> np.ndarray:
    """As of `Records`."""
    return np.concatenate(
        [split.column(name) for split in self._splits])[:self._length]

  def questions(self) -> asked.Questions | None:
    """As of `Records`; None unless all splits have them."""
    each = [split.questions() for split in self._splits]
    if any(rows is None for rows in each):
      return None
    return asked.joined(each).first(self._length)


def progress(records: Records | Joined) -> Iterator[dict]:
  """The records in order; says how far it is where that takes a while.

  That is a bar in a terminal, and else a line of the log now and then.
  """
  with alive.counted(f'reading {records.name}', len(records),
                     'records') as count:
    for i, record in enumerate(records, 1):
      yield record
      if not i % _AT_ONCE:
        count(_AT_ONCE)
