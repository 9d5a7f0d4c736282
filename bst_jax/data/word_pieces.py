"""Questions as BERT reads them: pieces of words between [CLS] and [SEP]."""
from collections.abc import Sequence
import os
import pathlib

from bst_jax.data import text
import numpy as np
import tokenizers

PAD, UNK, CLS, SEP = '[PAD]', '[UNK]', '[CLS]', '[SEP]'
_SPECIAL = (PAD, UNK, CLS, SEP)


class WordPieces:
  """The word pieces of a BERT checkpoint; used like `text.Vocabulary`.

  A vocabulary without capitals is that of an uncased checkpoint, and questions
  are then put into lower case, without accents.

  Reference: Devlin et al., "BERT", NAACL 2019; by the library tokenizers.
  """

  def __init__(self, pieces: Sequence[str]):
    """Takes the lines of a `vocab.txt`; [PAD] must be the first."""
    self.words = tuple(pieces)
    lacking = [s for s in _SPECIAL if s not in self.words]
    if lacking or self.words[0] != PAD:
      raise ValueError(
          f'word pieces must start with {PAD} and have {", ".join(_SPECIAL)}; '
          f'these start with {list(self.words[:3])}'
          + (f' and lack {", ".join(lacking)}' if lacking else '')
          + ". Give the vocab.txt of the BERT checkpoint.")
    ids = {piece: i for i, piece in enumerate(self.words)}
    self.unk, self._cls, self._sep = ids[UNK], ids[CLS], ids[SEP]
    lowercase = not any(p != p.lower() for p in self.words
                        if not p.startswith('['))
    self._split = tokenizers.BertWordPieceTokenizer(ids, lowercase=lowercase)

  def __len__(self) -> int:
    return len(self.words)

  def __eq__(self, other) -> bool:
    return isinstance(other, WordPieces) and self.words == other.words

  __hash__ = None

  def pieces(self, question: str) -> list[str]:
    """Pieces of a question, without [CLS] and [SEP]."""
    return self._split.encode(question, add_special_tokens=False).tokens

  def encode(self, question: str, length: int) -> np.ndarray:
    """int32[length]: [CLS], the first pieces, [SEP], then [PAD] = 0."""
    ids = self._split.encode(question, add_special_tokens=False).ids
    ids = [self._cls, *ids[:length - 2], self._sep]
    return np.pad(np.asarray(ids, np.int32), (0, length - len(ids)))

  def encode_all(self, texts: Sequence[str], length: int,
                 ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids, counts and what has unknown words, as of `text.Vocabulary`."""
    ids = np.zeros((len(texts), length), np.int32)
    counts = np.zeros(len(texts), np.int64)
    unknown = np.zeros(len(texts), bool)
    each = self._split.encode_batch(list(texts), add_special_tokens=False)
    for i, found in enumerate(each):
      pieces = found.ids
      counts[i], unknown[i] = len(pieces) + 2, self.unk in pieces
      pieces = [self._cls, *pieces[:length - 2], self._sep]
      ids[i, :len(pieces)] = pieces
    return ids, counts, unknown

  def count(self, question: str) -> int:
    """Tokens of a question that is not cut off."""
    return len(self.pieces(question)) + 2

  def unknown(self, question: str) -> list[str]:
    """Words of the question that have no pieces."""
    found = self._split.encode(question, add_special_tokens=False)
    return [question[a:b] for i, (a, b) in zip(found.ids, found.offsets)
            if i == self.unk]

  def decode(self, ids: Sequence[int]) -> str:
    """Words of the ids, without special tokens."""
    return self._split.decode([int(i) for i in ids])

  def save(self, path: str | os.PathLike):
    """Writes the pieces to a JSON file."""
    text.save_list(path, self.words)

  @classmethod
  def read(cls, path: str | os.PathLike) -> 'WordPieces':
    """Reads a `vocab.txt`, one piece a line."""
    path = pathlib.Path(path).expanduser()
    if not path.is_file():
      raise ValueError(
          f'config.data.word_pieces is {path}, but there is no such file; give '
          'the vocab.txt of the BERT checkpoint.')
    try:
      # Not by splitlines: Unicode's own line ends are pieces like others.
      return cls(path.read_text('utf-8').removesuffix('\n').split('\n'))
    except UnicodeDecodeError as error:
      raise ValueError(f'{path} is no text file ({error}); give the vocab.txt '
                       'of the BERT checkpoint.') from error


Words = text.Vocabulary | WordPieces


def load(path: str | os.PathLike) -> Words:
  """What `save` of either vocabulary wrote."""
  words = text.load_list(path)
  return WordPieces(words) if CLS in words else text.Vocabulary.load(path)
