"""The vocabulary of texts, whichever it is: words, word pieces, byte pairs."""
import os

from bst_jax.data import kinds, text
from bst_jax.data.byte_pairs import BytePairs, LAST
from bst_jax.data.word_pieces import CLS, WordPieces

Words = text.Vocabulary | WordPieces | BytePairs


def read(path: str | os.PathLike) -> WordPieces | BytePairs:
  """The pieces of a checkpoint: BERT's vocab.txt, or RoBERTa's vocab.json."""
  byte_pairs = kinds.pieces_of(path) == kinds.BYTE_PAIRS
  return (BytePairs if byte_pairs else WordPieces).read(path)


def load(path: str | os.PathLike) -> Words:
  """What `save` of any vocabulary wrote."""
  items = text.load_list(path)
  if CLS in items:
    return WordPieces(items)
  return BytePairs.of_list(items) if LAST in items else (
      text.Vocabulary.load(path))
