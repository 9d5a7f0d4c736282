"""Record files of a data set, read at random."""
import bisect
from collections.abc import Iterator, Sequence
import contextlib
import itertools
import json
import os

from bst_jax.data.builders import found
from bst_jax.data.making.preparing import prepare as prepare
from bst_jax.elastic import check_name
from bst_jax.host import files
import numpy as np
import tensorflow_datasets as tfds
import tqdm


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
    """
    self.name = f'{builder.info.full_name} {split}'
    check_name(split, builder.info.splits, f'split of {builder.info.name}')
    info = builder.info.splits[split]
    self._folder, self._split = builder.data_dir, split
    self._files = list(zip(info.filenames, info.shard_lengths))
    self._length = min(info.num_examples, limit or info.num_examples)
    # Only these are parsed: TFDS's own partial decoding needs TensorFlow.
    self._features = tfds.features.FeaturesDict(
        {k: builder.info.features[k] for k in parts})
    self._raw = {k: tfds.decode.SkipDecoding() for k in parts
                 if k in ('image', 'strip')}
    with self._explained(0):
      self._source = builder.as_data_source(
          split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)

  def __len__(self) -> int:
    return self._length

  def __getitem__(self, i: int) -> dict:
    if not 0 <= i < self._length:  # Also ends a `for` over the records.
      raise IndexError(f'Record {i} of {self._length} of {self.name}.')
    with self._explained(i):
      return self._features.deserialize_example_np(
          self._source[i], decoders=self._raw)

  @property
  def lengths(self) -> list[int]:
    """Records of the splits that these are joined of."""
    return [self._length]

  def column(self, name: str) -> np.ndarray:
    """int64[n], a number that each record has.

    All columns lie beside the records once they were asked for, as records of
    videos and photographs take minutes to go through.
    """
    path = found.column(self._folder, self._split, name)
    try:
      kept = np.load(path)
      if kept.shape == (sum(length for _, length in self._files),):
        return kept[:self._length]
    except (OSError, ValueError, EOFError):
      pass  # Not there, or damaged: read anew.
    values = np.array([record[name] for record in progress(self)], np.int64)
    if self._length == sum(length for _, length in self._files):
      with contextlib.suppress(OSError), files.beside(path) as place:
        np.save(place, values)
    return values

  def questions(self) -> list[list[dict]] | None:
    """Questions of each record where they also lie beside the records."""
    path = found.beside(self._folder, self._split)
    if not os.path.exists(path):
      return None
    try:
      with open(path, encoding='utf-8') as file:
        lines = [json.loads(x) for x in itertools.islice(file, self._length)]
    except ValueError as error:
      lines = error
    if not isinstance(lines, list) or len(lines) < self._length:
      raise ValueError(
          f'{path} was to be read, but it is damaged or cut short. Delete the '
          f'folder {self._folder}; the data set is then made anew.')
    return lines

  @contextlib.contextmanager
  def _explained(self, i: int):
    """Names the file in whatever a reader of record i raises."""
    try:
      yield
    except Exception as error:
      ends = itertools.accumulate(length for _, length in self._files)
      file = next((name for (name, _), end in zip(self._files, ends)
                   if i < end), '')
      raise ValueError(
          f'Record {i} of {self.name} was to be read from '
          f'{os.path.join(self._folder, file)}, but the file is damaged or cut '
          f'short ({error}). Delete the folder {self._folder}; the data set is '
          'then made anew.') from error


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

  @property
  def lengths(self) -> list[int]:
    """As of `Records`; the last may be longer than what is left of it."""
    return [len(split) for split in self._splits]

  def column(self, name: str) -> np.ndarray:
    """As of `Records`."""
    return np.concatenate(
        [split.column(name) for split in self._splits])[:self._length]

  def questions(self) -> list[list[dict]] | None:
    """As of `Records`; None unless all splits have them."""
    each = [split.questions() for split in self._splits]
    if any(lines is None for lines in each):
      return None
    return list(itertools.chain(*each))[:self._length]


def progress(records: Records | Joined) -> Iterator[dict]:
  """The records in order, behind a progress bar where it takes a while."""
  return tqdm.tqdm(records, desc=f'reading {records.name}', leave=False,
                   delay=2, disable=None)
