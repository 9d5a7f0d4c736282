"""Questions of a split as flat arrays, and pictures by number."""
from collections.abc import Collection, Sequence
import dataclasses
import itertools

from absl import logging
from bst_jax.data import answers as answers_lib
from bst_jax.data import image as image_lib
from bst_jax.data import records as records_lib
from bst_jax.data import word_pieces
import numpy as np

_SMALL = 2 << 30  # bytes
Readable = records_lib.Records | records_lib.Joined


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

  texts: list[str]
  types: list[str]
  truths: list[str]
  answers: list[tuple[str, ...]]
  ids: list[str]
  start: np.ndarray


@dataclasses.dataclass
class Rows:
  """Questions as numbers; answers are sparse, as most score 0.

  Attributes:
    start: int64[n + 1], as in `Questions`.
    tokens: int32[m, T].
    type: int32[m].
    given: int32[m, K] ids of the answers given; A, one too high, fills up.
    target: float32[m, K] soft scores of the answers given.
    score: float32[m, K] official accuracies of the answers given.
    num_answers: A.
  """

  start: np.ndarray
  tokens: np.ndarray
  type: np.ndarray
  given: np.ndarray
  target: np.ndarray
  score: np.ndarray
  num_answers: int

  def dense(self, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """float32[B, A] of target or score, for int[B] rows."""
    full = np.zeros((len(rows), self.num_answers + 1), np.float32)
    full[np.arange(len(rows))[:, None], self.given[rows]] = values[rows]
    return full[:, :-1]


def encode(questions: Questions, vocab: word_pieces.Words,
           answers: Sequence[str], types: Sequence[str],
           max_tokens: int, rule: str = 'exact') -> Rows:
  """Questions as numbers.

  An answer that is not among `answers` cannot be trained or predicted and
  scores nothing. `rule`, a name in `answers.RULES`, says how they compare.
  """
  scorer = answers_lib.Scorer(rule, answers)
  type_ids = {t: i for i, t in enumerate(types)}
  unknown = set(questions.types) - type_ids.keys()
  if unknown:
    raise ValueError(
        f'Questions of type {sorted(unknown)} were to be read, but training '
        f'had only {sorted(type_ids)}. Use a split of the data set that the '
        'vocabulary was made from.')
  scored = {said: scorer(said) for said in dict.fromkeys(questions.answers)}
  widest = max(map(len, scored.values()), default=0) or 1
  shape = (len(questions.texts), widest)
  given = np.full(shape, len(answers), np.int32)
  target, score = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
  for i, said in enumerate(questions.answers):
    for j, row in enumerate(scored[said]):
      given[i, j], target[i, j], score[i, j] = row
  tokens = {}
  for question in questions.texts:
    if question not in tokens:
      tokens[question] = vocab.encode(question, max_tokens)
  _tell_of_words(tokens, vocab, max_tokens)
  return Rows(
      start=questions.start,
      tokens=np.array([tokens[q] for q in questions.texts], np.int32).reshape(
          -1, max_tokens),
      type=np.array([type_ids[t] for t in questions.types], np.int32),
      given=given, target=target, score=score, num_answers=len(answers))


def _tell_of_words(questions: Collection[str], vocab: word_pieces.Words,
                   max_tokens: int):
  """Logs how many different questions a model reads less of than they say."""
  unknown = sum(bool(vocab.unknown(q)) for q in questions)
  long = sum(vocab.count(q) > max_tokens for q in questions)
  if unknown or long:
    logging.info('Of %d different questions %d have words that training lacks, '
                 'and %d have more than %d words and are cut off.',
                 len(questions), unknown, long, max_tokens)


@dataclasses.dataclass(frozen=True)
class Decoder:
  """Turns a record into the arrays of one picture.

  Attributes:
    inputs: which of 'regions' (with boxes) and 'image'.
    num_regions: N; fewer are filled up with zero rows, more are cut off.
    image_size: height and width, or one number for a square.
    name: of the split, for errors.
    blank: fill up with features of -1 in place of zeros. Models leave rows of
      zeros out, and attention, which averages, then cannot tell how many
      regions there were; blank ones stay in.
    fit: how pictures come to their size, a name in `image.FITS`.
  """

  inputs: tuple[str, ...]
  num_regions: int
  image_size: int | tuple[int, int]
  name: str
  blank: bool = False
  fit: str = 'stretch'

  def __call__(self, record: dict) -> dict[str, np.ndarray]:
    arrays = {}
    if 'regions' in self.inputs:
      for key in ('regions', 'boxes'):
        rows = record[key][:self.num_regions]
        fill = -1 if self.blank and key == 'regions' else 0
        arrays[key] = np.full((self.num_regions, rows.shape[1]), fill,
                              np.float32)
        arrays[key][:len(rows)] = rows
    if 'image' in self.inputs:
      arrays['image'] = image_lib.decode(
          record['image'], self.image_size, f'A picture of {self.name}',
          self.fit)
    return arrays


class Memory:
  """Pictures that were all decoded once, by number."""

  def __init__(self, arrays: dict[str, np.ndarray]):
    self._arrays = arrays

  def __call__(self, pictures: np.ndarray) -> dict[str, np.ndarray]:
    """Arrays of int[P] pictures; zeros where the number is negative."""
    found = {k: a[pictures] for k, a in self._arrays.items()}
    if (pictures < 0).any():
      for array in found.values():
        array[pictures < 0] = 0
    return found


class Disk:
  """Pictures that are read and decoded when they are asked for."""

  def __init__(self, records: Readable, decoder: Decoder):
    self._records, self._decoder = records, decoder

  def __call__(self, pictures: np.ndarray) -> dict[str, np.ndarray]:
    """Arrays of int[P] pictures; zeros where the number is negative."""
    # The first picture stands in for padding, whose shapes it gives.
    wanted = np.maximum(pictures, 0)
    kept = {i: self._decoder(self._records[i])
            for i in np.unique(wanted).tolist()}
    found = {k: np.stack([kept[i][k] for i in wanted.tolist()])
             for k in next(iter(kept.values()))}
    for array in found.values():
      array[pictures < 0] = 0
    return found


@dataclasses.dataclass(frozen=True)
class Split:
  """Questions and pictures of a split; `pictures` is a Memory or a Disk."""

  questions: Questions
  pictures: Memory | Disk


def read(records: Readable, decoder: Decoder, cache: bool | str) -> Split:
  """Reads all questions of a split, and its pictures where `cache` says so.

  Args:
    records: with the parts that the decoder takes, and 'questions'.
    decoder: of pictures.
    cache: True, False, or 'auto': whether they take less than 2 GiB.
  """
  first = decoder(records[0])
  if cache == 'auto':
    cache = len(records) * sum(a.nbytes for a in first.values()) < _SMALL
  arrays = {k: np.zeros((len(records), *a.shape), a.dtype)
            for k, a in first.items()} if cache else {}
  if not cache:
    return Split(questions(records), Disk(records, decoder))
  asked = []
  for i, record in enumerate(records_lib.progress(records)):
    asked.append(_questions(record))
    for key, array in decoder(record).items():
      arrays[key][i] = array
  return Split(_joined(asked), Memory(arrays))


def questions(records: Readable) -> Questions:
  """Reads only the questions of a split."""
  beside = records.questions()
  if beside is not None:
    return _joined([[_row(*(q[k] for k in _COLUMNS)) for q in asked]
                    for asked in beside])
  return _joined([_questions(r) for r in records_lib.progress(records)])


def _joined(asked: list[list[tuple]]) -> Questions:
  columns = [list(c) for c in zip(*(q for one in asked for q in one))]
  return Questions(*(columns or ([], [], [], [], [])),
                   start=np.cumsum([0, *map(len, asked)]))


_COLUMNS = ('question', 'type', 'answer', 'answers', 'question_id')


def _questions(record: dict) -> list[tuple]:
  """The questions of a record as rows."""
  asked = record['questions']
  columns = [[v.decode() for v in asked.get(k, ())] for k in _COLUMNS]
  return [_row(*row) for row in itertools.zip_longest(*columns, fillvalue='')]


def _row(question, kind, truth, said, name) -> tuple:
  """(text, type, truth, answers, id): a line of `said` an annotator."""
  return question, kind, truth, tuple(said.split('\n')) if said else (), name
