"""Questions as numbers, and answers as scores."""
import collections
from collections.abc import Iterable, Sequence
import json
import os
import pathlib

from bst_jax.host import files
import numpy as np

PAD, UNK, CLS = 0, 1, 2
SPECIAL = ('PAD', 'UNK', 'CLS')
_DELETED = str.maketrans('', '', ".,'!?\"()*#:;")
_SPACED = str.maketrans('-/', '  ')


def tokenize(question: str) -> list[str]:
  """Words of a question: lower case, without punctuation.

  Reference: OpenVQA and mcan-vqa, which BST builds on: `. , ' ! ? " ( ) * # :
    ;` are deleted, `-` and `/` become spaces.
  """
  return question.lower().translate(_DELETED).translate(_SPACED).split()


class Vocabulary:
  """Words and their ids, in the order in which they first appeared.

  Ids 0, 1 and 2 are PAD, UNK and CLS; they match no word of a question, as
  those are in lower case.
  """

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
    seen = dict.fromkeys(w for text in questions for w in tokenize(text))
    return cls(seen)

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
    items = json.loads(pathlib.Path(path).read_text('utf-8'))
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
  counts = collections.Counter(answers)
  kept = [a for a, n in counts.items() if n >= least]
  return tuple(sorted(kept, key=lambda a: (-counts[a], a)))


def soft_scores(answers: Sequence[str]) -> dict[str, float]:
  """Training target of each answer given: 0.3, 0.6, 0.9 or 1.

  Args:
    answers: what the annotators, ten in VQA-v2, said.

  Returns:
    answer -> 0.3 a time, and 1 from four times on; all others have 0.
  """
  steps = (0.0, 0.3, 0.6, 0.9, 1.0)
  counts = collections.Counter(answers)
  return {a: steps[min(n, 4)] for a, n in counts.items()}


def vqa_accuracies(answers: Sequence[str]) -> dict[str, float]:
  """Official VQA accuracy, 0 to 1, of each answer that was given.

  Each annotator in turn is left out; a prediction then scores a third for
  each of the others who gave it, at most 1, and the mean over annotators
  counts. Answers that nobody gave score 0.

  Reference: Antol et al., ICCV 2015, and the published evaluation code.
  """
  total = len(answers)
  scores = {}
  for answer, n in collections.Counter(answers).items():
    # Kept in thirds, so that a full score is 1 exactly.
    thirds = n * min(3, n - 1) + (total - n) * min(3, n)
    scores[answer] = thirds / (3 * total)
  return scores
