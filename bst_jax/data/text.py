"""Questions and answers as numbers: words, vocabularies, annotators' scores."""
from __future__ import annotations

import collections
from collections.abc import Iterable, Sequence
import dataclasses
import functools
import json
import os
import pathlib

import numpy as np

PAD, UNKNOWN, START = 'PAD', 'UNK', 'CLS'
_DELETED = str.maketrans('', '', '.,\'!?"()*#:;')


def tokenize(question: str) -> list[str]:
  """Words of a question: lower case, no punctuation, split at - and /.

  Reference: OpenVQA's preprocessing, as the released BST code has it.
  """
  plain = question.lower().translate(_DELETED)
  return plain.replace('-', ' ').replace('/', ' ').split()


@dataclasses.dataclass(frozen=True)
class Vocabulary:
  """Words by id; 0 is padding, 1 an unknown word, 2 a start that models use."""

  words: tuple[str, ...]

  @classmethod
  def build(cls, questions: Iterable[str]) -> Vocabulary:
    """Words of the questions in the order in which they first appear."""
    seen = dict.fromkeys((PAD, UNKNOWN, START))
    for question in questions:
      seen.update(dict.fromkeys(tokenize(question)))
    return cls(tuple(seen))

  def __len__(self) -> int:
    return len(self.words)

  @functools.cached_property
  def _ids(self) -> dict[str, int]:
    return {word: i for i, word in enumerate(self.words)}

  def encode(self, question: str, length: int) -> np.ndarray:
    """int32[length]: ids, cut at the length or padded with 0."""
    row = np.zeros(length, np.int32)
    found = [self._ids.get(word, 1) for word in tokenize(question)][:length]
    row[:len(found)] = found
    return row


def soft_scores(answers: Sequence[str]) -> dict[str, float]:
  """Score of every given answer by how many annotators gave it.

  0, 0.3, 0.6, 0.9 and 1 for none, one, two, three and more of them.
  """
  return {answer: min(1.0, 0.3 * count)
          for answer, count in collections.Counter(answers).items()}


def accuracies(answers: Sequence[str]) -> dict[str, float]:
  """Official VQA accuracy that predicting each of the given answers earns.

  For every annotator, min(1, matches among the others / 3), averaged.

  Reference: VQA (Antol et al., ICCV 2015), the evaluation metric.
  """
  count = len(answers)
  return {
      answer: (n * min(1.0, (n - 1) / 3) + (count - n) * min(1.0, n / 3))
      / count for answer, n in collections.Counter(answers).items()}


def save_list(path: str | pathlib.Path, words: Sequence[str]) -> None:
  """Writes a JSON list beside its place, then renames: never half a file."""
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  beside = path.with_name(f'{path.name}.{os.getpid()}.tmp')
  beside.write_text(json.dumps(list(words)), encoding='utf-8')
  os.replace(beside, path)


def load_list(path: str | pathlib.Path) -> tuple[str, ...]:
  """Reads `save_list`."""
  path = pathlib.Path(path)
  try:
    words = json.loads(path.read_text(encoding='utf-8'))
  except (json.JSONDecodeError, UnicodeDecodeError) as error:
    raise ValueError(f'{path} is not a JSON list ({error}); restore it from a '
                     'copy, or train in a new workdir.') from error
  return tuple(words)
