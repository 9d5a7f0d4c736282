"""The questions of a split in columns, and their file beside the records."""
from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import itertools
import json
import os
from typing import Any

from bst_jax.data import buckets, coded
from bst_jax.data import kept as kept_lib
from bst_jax.data.builders import found as files
from bst_jax.data.coded import Coded, Lists, Packed
from etils import epath
import numpy as np

COLUMNS = ('question', 'type', 'answer', 'answers', 'question_id')
_FIELDS = ('texts', 'types', 'truths', 'answers', 'ids')


@dataclasses.dataclass
class Questions:
  """All questions of a split, those of a picture next to each other.

  Attributes:
    texts: the questions.
    types: their types.
    truths: the one answer that is held to be true.
    answers: what the annotators, ten in VQA-v2, said; empty where nobody was
      asked, as in a test split.
    ids: their ids, '' where the data set has none.
    start: int64[n + 1]; picture i has the questions start[i] to start[i+1]-1.
  """

  texts: Coded
  types: Coded
  truths: Coded
  answers: Coded
  ids: Coded
  start: np.ndarray
  pictures = None

  def __post_init__(self):
    for name in _FIELDS:  # Forms of a user's own may give lists.
      values = getattr(self, name)
      if not isinstance(values, Coded):
        setattr(self, name, Coded.of(values))
    said = self.answers
    if not isinstance(said.different, Lists):
      self.answers = Coded(Lists.of(said.different), said.numbers)

  @property
  def answered(self) -> np.ndarray:
    """bool[m], whether anybody was asked."""
    lists = self.answers.different.numbers
    return (lists >= 0).any(1)[self.answers.numbers]

  def first(self, pictures: int) -> 'Questions':
    """Those of the first pictures."""
    start = self.start[:pictures + 1]
    return Questions(*(getattr(self, name).first(int(start[-1]))
                       for name in _FIELDS), start=start)


def of(rows: Iterable[Sequence[str]], counts: Iterable[int]) -> Questions:
  """Questions by their values of `COLUMNS`, and how many each picture has.

  Annotators' answers are a line each. `counts` is gone over after `rows`.
  """
  columns = coded.Columns(len(COLUMNS))
  for row in rows:
    columns.add(row)
  found = columns.coded()
  said = found[_FIELDS.index('answers')]
  said.different = [tuple(one.split('\n')) if one else ()
                    for one in said.different]
  return Questions(*found, start=np.cumsum([0, *counts], dtype=np.int64))


def of_records(records: Iterable[Mapping[str, Any]]) -> Questions:
  """The questions of records."""
  counts = []

  def rows():
    for record in records:
      asked = record['questions']
      each = [[value.decode() for value in asked.get(name, ())]
              for name in COLUMNS]
      counts.append(max(map(len, each)))
      yield from itertools.zip_longest(*each, fillvalue='')
  return of(rows(), counts)


def joined(parts: Sequence[Questions]) -> Questions:
  """The questions of several splits, one behind the other."""
  if len(parts) == 1:
    return parts[0]
  columns = {name: Coded.joined([getattr(part, name) for part in parts])
             for name in _FIELDS}
  counts = [np.diff(part.start) for part in parts]
  return Questions(**columns, start=np.cumsum([0, *np.concatenate(counts)]))


def keep(folder: str | os.PathLike, split: str, count: int,
         mark: str = '') -> Questions | None:
  """The questions that lie in a file beside a split's records, kept encoded.

  Whoever makes records calls it when they are made; else the first opening of
  the split takes the seconds that it takes.

  Args:
    folder: of the data set.
    split: its name.
    count: how many pictures it has.
    mark: as of `kept.Kept`.

  Returns:
    The questions; None where there is no such file.

  Raises:
    ValueError: the file is damaged.
  """
  path = epath.Path(files.beside(folder, split))
  if not path.exists():
    return None
  kept, size = kept_lib.Kept(folder, mark), path.stat().length
  name = f'{split}.questions.npz'
  try:
    arrays = kept.arrays(name, size)
    if arrays is not None and len(arrays['start']) == count + 1:
      return _unpacked(arrays)
  except kept_lib.DAMAGED:
    pass  # Of an older version: made anew.
  rows = _of_lines(path, count, folder)
  kept.save(name, _packed(rows) | {'source': np.int64(size)})
  return rows


def _of_lines(path, count, folder):
  """The questions of a file with a line of them a picture."""
  counts = []

  def rows():
    with path.open('r', encoding='utf-8') as file:
      for line in itertools.islice(file, count):
        asked = json.loads(line)
        counts.append(len(asked))
        for question in asked:
          yield [question[name] for name in COLUMNS]
  try:
    found = of(rows(), counts)
  except (ValueError, KeyError, TypeError):
    found = None
  if found is None or len(counts) < count:
    raise ValueError(
        f'{path} was to be read, but it is damaged or cut short. '
        f'{buckets.again(folder)}')
  return found


def _packed(rows: Questions) -> dict[str, np.ndarray]:
  """As arrays that an .npz file may hold."""
  found = {'start': rows.start}
  for name in _FIELDS:
    column = getattr(rows, name)
    texts = column.different
    if name == 'answers':
      found['lists'], texts = texts.numbers, texts.words
    found[name] = column.numbers
    for key, array in Packed.of(texts).arrays.items():
      found[f'{name}_{key}'] = array
  return found


def _unpacked(arrays: Mapping[str, np.ndarray]) -> Questions:
  """The inverse of `_packed`."""
  columns = {name: Coded(Packed({
      key: arrays[f'{name}_{key}'] for key in ('bytes', 'ends')}), arrays[name])
             for name in _FIELDS}
  columns['answers'].different = Lists(columns['answers'].different,
                                       arrays['lists'])
  return Questions(**columns, start=arrays['start'])
