"""Texts as pieces of words that a checkpoint knows: what both kinds share."""
from collections.abc import Sequence
import os
from typing import Any, ClassVar

from bst_jax.data import text
import numpy as np


class Pieces:
  """Pieces between a first and a last token; used like `text.Vocabulary`.

  Attributes:
    words: the pieces, by number.
    unk: number of what no piece stands for.
    pad: number of what fills up.
  """

  # Names of what fills up, is unknown, begins and ends a text.
  SPECIAL: ClassVar[tuple[str, str, str, str]]
  MASK: ClassVar[str]  # Name of what hides a piece.

  def __init__(self, words: Sequence[str], split: Any):
    """Takes all pieces, the special ones among them, and their tokenizer."""
    self.words, self._split = tuple(words), split
    ids = {piece: i for i, piece in enumerate(self.words)}
    self.pad, self.unk, self._first, self._last = (
        ids[name] for name in self.SPECIAL)

  def __len__(self) -> int:
    return len(self.words)

  def __eq__(self, other) -> bool:
    return type(self) is type(other) and self.words == other.words

  __hash__ = None

  @property
  def special(self) -> tuple[int, ...]:
    """Numbers of what fills up, begins and ends a text."""
    return self.pad, self._first, self._last

  @property
  def mask(self) -> int:
    """Number of what hides a piece.

    Raises:
      ValueError: there is none, or there are several.
    """
    if self.words.count(self.MASK) != 1:
      raise ValueError(
          f'words were to be masked, but the vocabulary has {self.MASK} '
          f'{self.words.count(self.MASK)} times; give that of a checkpoint '
          'that was trained with masked words, where it stands once.')
    return self.words.index(self.MASK)

  def pieces(self, question: str) -> list[str]:
    """Pieces of a text, without the first and the last token."""
    return self._split.encode(question, add_special_tokens=False).tokens

  def encode(self, question: str, length: int) -> np.ndarray:
    """int32[length]: the first token, pieces, the last one, then padding."""
    return self.encode_all([question], length)[0][0]

  def encode_all(self, texts: Sequence[str], length: int,
                 ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids, counts and what has unknown words, as of `text.Vocabulary`."""
    ids = np.full((len(texts), length), self.pad, np.int32)
    counts = np.zeros(len(texts), np.int64)
    unknown = np.zeros(len(texts), bool)
    each = self._split.encode_batch(list(texts), add_special_tokens=False)
    for i, found in enumerate(each):
      pieces = found.ids
      counts[i], unknown[i] = len(pieces) + 2, self.unk in pieces
      pieces = [self._first, *pieces[:length - 2], self._last]
      ids[i, :len(pieces)] = pieces
    return ids, counts, unknown

  def count(self, question: str) -> int:
    """Tokens of a text that is not cut off."""
    return len(self.pieces(question)) + 2

  def unknown(self, question: str) -> list[str]:
    """Words of the text that have no pieces."""
    found = self._split.encode(question, add_special_tokens=False)
    return [question[a:b] for i, (a, b) in zip(found.ids, found.offsets)
            if i == self.unk]

  def decode(self, ids: Sequence[int]) -> str:
    """Words of the ids, without special tokens."""
    return self._split.decode([int(i) for i in ids])

  def save(self, path: str | os.PathLike) -> None:
    """Writes the pieces to a JSON file."""
    text.save_list(path, self.words)
