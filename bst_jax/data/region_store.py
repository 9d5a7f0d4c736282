"""Region features that an extractor made of pictures, in ArrayRecord files.

A folder of them holds features.json, what is known of all, and for every split
files of records, as train-00000-of-00012.array_record, each with the ids of its
pictures beside it, as train-00000-of-00012.json. Records are in the pictures'
order. One is a .npy file of a row for each region, the surest first:
  regions: float16[F] or float32[F].
  boxes: float32[4], x1 y1 x2 y2 as shares of the picture.
  found: int32, its class, a place in the list of features.json.
  score: float32, of the class.
"""
import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence
import dataclasses
import io
import itertools
import json
import os
import pathlib
from typing import Any

from bst_jax.data import shards
from bst_jax.elastic import check_name
from bst_jax.host import files
import numpy as np

FILE, SUFFIX = 'features.json', '.array_record'
PICTURES = 'pictures'  # The split of a folder of pictures.
DTYPES = 'float16', 'float32'
_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class About:
  """What is known of all features of a folder.

  Attributes:
    extractor: fingerprint of what made them, see `run.extractor`.
    feature_size: of a region.
    num_regions: of a picture at most.
    dtype: of `DTYPES`.
    classes: names of what was found.
    source: of which pictures they are.
    splits: name -> number of pictures.
    each: pictures of a file.
  """

  extractor: str
  feature_size: int
  num_regions: int
  dtype: str
  classes: tuple[str, ...]
  source: str
  splits: Mapping[str, int]
  each: int

  def save(self, folder: str | os.PathLike) -> None:
    """Writes features.json."""
    with files.beside(pathlib.Path(folder, FILE)) as place:
      place.write_text(json.dumps(
          {'format': _FORMAT} | dataclasses.asdict(self), indent=1), 'utf-8')

  def shards(self) -> Iterator[tuple[str, str, int, int]]:
    """(path without its ending, split, first picture, behind the last) of each.
    """
    for split, count in self.splits.items():
      total = -(-count // self.each)
      for i in range(total):
        yield (f'{split}-{i:05}-of-{total:05}', split, i * self.each,
               min(count, (i + 1) * self.each))


def about(folder: str | os.PathLike) -> About:
  """What is known of a folder's features.

  Raises:
    ValueError: it holds none, or of another form.
  """
  path = pathlib.Path(folder, FILE)
  try:
    found = json.loads(path.read_text('utf-8'))
    if found.pop('format') != _FORMAT:
      raise ValueError('it has another format')
    check_name(found['dtype'], DTYPES, 'number type of features')
    return About(**found | {'classes': tuple(found['classes'])})
  except FileNotFoundError as error:
    raise ValueError(
        f'Region features were to be read from {folder}, but it has no {FILE}. '
        'Give a folder that bst_jax.features wrote.') from error
  except (ValueError, TypeError, KeyError, AttributeError) as error:
    raise ValueError(f'{path} was to tell of region features, but it cannot be '
                     f'read ({error}). Make the features again.') from error


def encoded(regions: np.ndarray, boxes: np.ndarray, found: np.ndarray,
            scores: np.ndarray, dtype: str) -> bytes:
  """A picture's record of its regions.

  Args:
    regions: float[n, F].
    boxes: float[n, 4], shares of the picture.
    found: int[n], classes.
    scores: float[n].
    dtype: of `DTYPES`, that features are stored as.
  """
  rows = np.zeros(len(boxes), [
      ('regions', dtype, regions.shape[1:]), ('boxes', 'f4', (4,)),
      ('found', 'i4'), ('score', 'f4')])
  # What float16 cannot hold is brought to its largest number.
  most = np.finfo(dtype).max
  rows['regions'] = regions.clip(-most, most)
  rows['boxes'], rows['found'], rows['score'] = boxes, found, scores
  file = io.BytesIO()
  np.save(file, rows, allow_pickle=False)
  return file.getvalue()


def decoded(record: bytes) -> np.ndarray:
  """Structured rows of a record: regions, boxes, found and score."""
  return np.load(io.BytesIO(record), allow_pickle=False)


def tags(classes: Sequence[str], found: Iterable[int], scores: np.ndarray
         ) -> dict[str, Any]:
  """Classes of a picture's regions as the tags of a record.

  Args:
    classes: their names.
    found: int[n].
    scores: float32[n].

  Returns:
    `name`, bytes of each region's class in small letters, and `confidence`.
  """
  return {'name': [classes[kind].lower().encode() for kind in found],
          'confidence': scores}


def ids(stem: str | os.PathLike) -> list[str]:
  """Ids of the pictures of a file of records.

  Args:
    stem: its path without the ending.
  """
  return _beside(stem)['pictures']


def unreadable(stem: str | os.PathLike) -> dict[str, str]:
  """{id of a picture that could not be read: why} of a file of records."""
  return _beside(stem)['unreadable']


def _beside(stem):
  return json.loads(pathlib.Path(f'{stem}.json').read_text('utf-8'))


def save_ids(stem: str | os.PathLike, pictures: Sequence[str],
             bad: Mapping[str, str]) -> None:
  """Writes what `ids` and `unreadable` read, when the records are there."""
  with files.beside(f'{stem}.json') as place:
    place.write_text(json.dumps(
        {'pictures': [*pictures], 'unreadable': dict(bad)}), 'utf-8')


def is_whole(stem: str | os.PathLike) -> bool:
  """Whether a file of records and its ids are there."""
  return all(os.path.isfile(f'{stem}{end}') for end in (SUFFIX, '.json'))


class Store:
  """The features of a folder, by split and number of the picture.

  Attributes:
    about: what is known of all.
  """

  def __init__(self, folder: str | os.PathLike):
    """Opens the folder.

    Raises:
      ValueError: there are no features, or not all that there are to be.
    """
    self.folder, self.about = os.fspath(folder), about(folder)
    left = [f'{stem}{SUFFIX}' for stem, *_ in self.about.shards()
            if not is_whole(os.path.join(folder, stem))]
    if left:
      raise ValueError(
          f'Region features were to be read from {folder}, but {len(left)} of '
          f'its files are not there, as {left[0]}. Give bst_jax.features the same '
          'flags again: it goes on where it stopped.')
    self._shards = {}
    for stem, split, first, end in self.about.shards():
      paths, lengths = self._shards.setdefault(split, ([], []))
      paths.append(os.path.join(folder, stem + SUFFIX))
      lengths.append(end - first)
    self._shards = {split: shards.Shards(*both)
                    for split, both in self._shards.items()}

  def __call__(self, split: str, number: int) -> np.ndarray:
    """Structured rows of a picture's regions, see the top of this file."""
    check_name(split, self._shards, f'split of the features in {self.folder}')
    records = self._shards[split]
    try:
      return decoded(records[number])
    except (OSError, RuntimeError, ValueError) as error:
      raise ValueError(
          f'Regions of picture {number} of split {split} were to be read from '
          f'{records.path(number)}, but it is damaged or cut short ({error}). '
          'Remove it, and give bst_jax.features the same flags again.') from error


class WithRegions(Sequence):
  """Records of a split with the regions that an extractor found.

  Attributes:
    name: of the records, for errors.
  """

  def __init__(self, records: Any, store: Store, splits: Mapping[str, int],
               tagged: bool = False):
    """Joins both by the order of the pictures.

    Args:
      records: of a data set, see `records.Records`.
      store: of features of its pictures.
      splits: name -> pictures of those that `records` are joined of, in order.
      tagged: whether records without tags get the classes of their regions as
        tags.

    Raises:
      ValueError: the features are of other pictures.
    """
    for split, count in splits.items():
      check_name(split, store.about.splits,
                 f'split of the features in {store.folder}')
      there = store.about.splits[split]
      if there != count:
        raise ValueError(
            f'Split {split} of {records.name} has {count:,} pictures, but '
            f'{store.folder} has features of {there:,}: they are of other '
            'pictures. Make them again, of these.')
    self._records, self._store, self._tagged = records, store, tagged
    self.name, self._splits = records.name, [*splits]
    self._ends = list(itertools.accumulate(records.lengths))

  def __len__(self) -> int:
    return len(self._records)

  def __getitem__(self, i: int) -> dict:
    return self._joined(i, self._records[i])

  def __iter__(self) -> Iterator[dict]:
    return (self._joined(i, record) for i, record in enumerate(self._records))

  def _joined(self, i, record):
    which = bisect.bisect_right(self._ends, i)
    rows = self._store(self._splits[which],
                       i - (self._ends[which - 1] if which else 0))
    found = {'regions': rows['regions'], 'boxes': rows['boxes']}
    if self._tagged and not ('tags' in record and len(record['tags']['name'])):
      found['tags'] = tags(self._store.about.classes, rows['found'],
                           rows['score'])
    return record | found

  @property
  def lengths(self) -> list[int]:
    """As of the records."""
    return self._records.lengths

  def column(self, name: str) -> np.ndarray:
    """As of the records."""
    return self._records.column(name)

  def questions(self) -> Any:
    """As of the records."""
    return self._records.questions()


def places(folder: str | os.PathLike, names: Iterable[str]
           ) -> Iterator[tuple[str, str, int]]:
  """(picture, file of records, place in it) of all that lie below a folder.

  Args:
    folder: for errors.
    names: paths of its .array_record files.

  Raises:
    ValueError: the ids of a file are not beside it.
  """
  for path in sorted(names):
    try:
      pictures = ids(path.removesuffix(SUFFIX))
    except (OSError, ValueError) as error:
      raise ValueError(
          f'Regions below {folder} were to be read from {path}, but the ids of '
          f'its pictures, in the .json file beside it, cannot be ({error}). Copy '
          'both.') from error
    for i, picture in enumerate(pictures):
      yield picture, path, i
