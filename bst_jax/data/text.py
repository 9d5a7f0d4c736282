"""Questions as numbers, and answers as scores."""
import collections
from collections.abc import Iterable, Iterator, Mapping, Sequence
import itertools
import json
import os
import pathlib

from bst_jax.host import files
import numpy as np

PAD, UNK, CLS = 0, 1, 2
SPECIAL = ('PAD', 'UNK', 'CLS')
SOFT = (0.0, 0.3, 0.6, 0.9, 1.0)  # Target of an answer given 0, 1, … times.
_DELETED = str.maketrans('', '', ".,'!?\"()*#:;")
_BETWEEN, _AT_ONCE = '\0', 4096  # Texts that are put into lower case together.
_SPACED = str.maketrans('-/', '  ')


def tokenize(question: str) -> list[str]:
  """Words of a question: lower case, without punctuation.

  Reference: OpenVQA and mcan-vqa, which BST builds on: `. , ' ! ? " ( ) * # :
    ;` are deleted, `-` and `/` become spaces.
  """
  return question.lower().translate(_DELETED).translate(_SPACED).split()


def tokenize_all(questions: Iterable[str]) -> Iterator[list[str]]:
  """`tokenize` of each of many questions, in a fraction of the time."""
  questions = list(questions)
  for start in range(0, len(questions), _AT_ONCE):
    some = questions[start:start + _AT_ONCE]
    whole = _BETWEEN.join(some)
    if whole.count(_BETWEEN) >= len(some):  # It is in a question, too.
      yield from map(tokenize, some)
      continue
    whole = whole.lower().translate(_DELETED).translate(_SPACED)
    yield from map(str.split, whole.split(_BETWEEN))


class Vocabulary:
  """Words and their ids, in the order in which they first appeared.

  Ids 0, 1 and 2 are PAD, UNK and CLS; they match no word of a question, as
  those are in lower case. A masked word is one that is not known.

  Attributes:
    mask: id of a masked word.
    special: ids that stand for no word.
  """

  mask, special = UNK, (PAD, CLS)

  def __init__(self, words: Iterable[str]):
    """Takes the words after the special ones."""
    self.words = (*SPECIAL, *words)
    self._ids = {word: i for i, word in enumerate(self.words)}
    if len(self._ids) < len(self.words):
      twice = [w for w, n in collections.Counter(self.words).items() if n > 1]
      raise ValueError(
          f'A vocabulary was asked for with {twice[:5]} more than once; a word '
          'has one id. Give every word once and leave out the special '
          f'{SPECIAL}.')

  @classmethod
  def build(cls, questions: Iterable[str]) -> 'Vocabulary':
    """Vocabulary of all words of the questions."""
    seen = dict.fromkeys(itertools.chain.from_iterable(
        tokenize_all(questions)))
    return cls(seen)

  def longer(self, texts: Iterable[str]) -> 'Vocabulary':
    """This vocabulary with the words of more texts behind its own."""
    more = itertools.chain.from_iterable(tokenize_all(texts))
    return Vocabulary(dict.fromkeys([*self.words[len(SPECIAL):], *more]))

  def __len__(self) -> int:
    return len(self.words)

  def __eq__(self, other) -> bool:
    return isinstance(other, Vocabulary) and self.words == other.words

  __hash__ = None

  def encode(self, text: str, length: int) -> np.ndarray:
    """int32[length] ids of the first words, PAD to the right."""
    ids = np.full(length, PAD, np.int32)
    for i, word in enumerate(tokenize(text)[:length]):
      ids[i] = self._ids.get(word, UNK)
    return ids

  def encode_all(self, texts: Sequence[str], length: int,
                 ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """int32[m, length] of m texts, how many words each has, int64[m], and
    whether it has words that the vocabulary lacks, bool[m].
    """
    ids = np.full((len(texts), length), PAD, np.int32)
    unknown = np.zeros(len(texts), bool)
    each = list(tokenize_all(texts))
    counts = np.array([len(words) for words in each], np.int64)
    flat = np.array([self._ids.get(word, UNK) for words in each
                     for word in words], np.int32)
    row = np.repeat(np.arange(len(each)), counts)
    nth = np.arange(len(flat)) - np.repeat(np.cumsum(counts) - counts, counts)
    unknown[row[flat == UNK]] = True
    kept = nth < length
    ids[row[kept], nth[kept]] = flat[kept]
    return ids, counts, unknown

  def count(self, question: str) -> int:
    """Words of a question that is not cut off."""
    return len(tokenize(question))

  def unknown(self, question: str) -> list[str]:
    """Words of the question that the vocabulary lacks."""
    return [w for w in tokenize(question) if w not in self._ids]

  def decode(self, ids: Sequence[int]) -> str:
    """Words of the ids, without padding."""
    return ' '.join(self.words[i] for i in ids if i != PAD)

  def save(self, path: str | os.PathLike):
    """Writes the words to a JSON file."""
    save_list(path, self.words)

  @classmethod
  def load(cls, path: str | os.PathLike) -> 'Vocabulary':
    """Reads what `save` wrote."""
    words = load_list(path)
    if tuple(words[:len(SPECIAL)]) != SPECIAL:
      raise ValueError(
          f'{path} was to be read as a vocabulary, but it starts with '
          f'{words[:len(SPECIAL)]}; ids 0 to 2 must be {SPECIAL}. A file that '
          'Vocabulary.save wrote would work.')
    return cls(words[len(SPECIAL):])


def save_list(path: str | os.PathLike, items: Iterable[str]):
  """Writes text items to a JSON file, whole or not at all."""
  with files.beside(path) as place:
    place.write_text(
        json.dumps(list(items), ensure_ascii=False, indent=0), 'utf-8')


def load_list(path: str | os.PathLike) -> list[str]:
  """Reads what `save_list` wrote."""
  try:
    items = json.loads(pathlib.Path(path).read_text('utf-8-sig'))
  except ValueError as error:  # Not JSON, or not UTF-8.
    items = error
  if not isinstance(items, list) or not all(isinstance(i, str) for i in items):
    raise ValueError(
        f'{path} was to be read as a list of words, but it is not a JSON list '
        'of strings. Copy the file from the workdir of the training, or train '
        'again to write it anew.')
  return items


def rank_answers(answers: Iterable[str], least: int = 1) -> tuple[str, ...]:
  """Answers given at least `least` times, the most frequent first."""
  return ranked(collections.Counter(answers), least)


def ranked(counts: Mapping[str, int], least: int = 1) -> tuple[str, ...]:
  """The same of {answer: how often it is given}; ties by the alphabet."""
  kept = [a for a, n in counts.items() if n >= least]
  return tuple(sorted(kept, key=lambda a: (-counts[a], a)))


def soft_scores(answers: Sequence[str]) -> dict[str, float]:
  """Training target of each answer given: 0.3, 0.6, 0.9 or 1.

  Args:
    answers: what the annotators, ten in VQA-v2, said.

  Returns:
    answer -> 0.3 a time, and 1 from four times on; all others have 0.
  """
  counts = collections.Counter(answers)
  return {a: SOFT[min(n, len(SOFT) - 1)] for a, n in counts.items()}


def vqa_accuracies(answers: Sequence[str]) -> dict[str, float]:
  """Official VQA accuracy, 0 to 1, of each answer that was given.

  Each annotator in turn is left out; a prediction then scores a third for
  each of the others who gave it, at most 1, and the mean over annotators
  counts. Answers that nobody gave score 0.

  Reference: Antol et al., ICCV 2015, and the published evaluation code.
  """
  return {answer: float(accuracy(n, len(answers)))
          for answer, n in collections.Counter(answers).items()}


def accuracy(times: np.ndarray, total: np.ndarray) -> np.ndarray:
  """Official VQA accuracy of an answer that so many of all annotators gave."""
  # Kept in thirds, so that a full score is 1 exactly.
  thirds = times * np.minimum(3, times - 1) + (
      total - times) * np.minimum(3, times)
  return thirds / (3 * total)
