"""Texts as RoBERTa reads them: pairs of bytes between <s> and </s>."""
from collections.abc import Mapping, Sequence
import json
import os
import pathlib

from bst_jax.data import text
from bst_jax.data.pieces import Pieces
import tokenizers

PAD, UNK, FIRST, LAST = '<pad>', '<unk>', '<s>', '</s>'


class BytePairs(Pieces):
  """The byte pairs of a RoBERTa checkpoint; capitals and spaces count.

  Attributes:
    merges: pairs that become one, the first to be joined first.

  Reference: Liu et al., "RoBERTa", arXiv 1907.11692; by the library tokenizers.
  """

  SPECIAL = PAD, UNK, FIRST, LAST
  MASK = '<mask>'

  def __init__(self, words: Sequence[str], merges: Sequence[str]):
    """Takes pieces by number, and merges as 'left right'."""
    words, self.merges = tuple(words), tuple(merges)
    lacking = [s for s in self.SPECIAL if s not in words]
    if lacking:
      raise ValueError(
          f'byte pairs must have {", ".join(self.SPECIAL)}; these lack '
          f'{", ".join(lacking)}. Give vocab.json and merges.txt of the RoBERTa '
          'checkpoint.')
    super().__init__(words, tokenizers.ByteLevelBPETokenizer(
        {word: i for i, word in enumerate(words)},
        [tuple(merge.split(' ')) for merge in self.merges],
        add_prefix_space=False))

  def __eq__(self, other) -> bool:
    return super().__eq__(other) and self.merges == other.merges

  __hash__ = None

  def save(self, path: str | os.PathLike) -> None:
    """Writes the pieces, and behind them the merges, which have a space."""
    text.save_list(path, (*self.words, *self.merges))

  @classmethod
  def of_list(cls, items: Sequence[str]) -> 'BytePairs':
    """Takes what `save` wrote."""
    return cls([item for item in items if ' ' not in item],
               [item for item in items if ' ' in item])

  @classmethod
  def read(cls, path: str | os.PathLike) -> 'BytePairs':
    """Reads a `vocab.json`, and the `merges.txt` beside it."""
    path = pathlib.Path(path).expanduser()
    merges = path.with_name('merges.txt')
    for one in (path, merges):
      if not one.is_file():
        raise ValueError(
            f'config.data.word_pieces is {path}, but there is no {one}; give '
            'the vocab.json of the RoBERTa checkpoint, with its merges.txt '
            'beside it.')
    try:
      ids = json.loads(path.read_text('utf-8'))
      lines = merges.read_text('utf-8').split('\n')
    except ValueError as error:
      raise ValueError(f'{path} or {merges.name} cannot be read ({error}); copy '
                       'both from the checkpoint again.') from error
    return cls(_by_number(ids, path), [
        line.rstrip('\r') for line in lines
        if line.strip() and not line.startswith('#version')])


def _by_number(ids, path):
  """The pieces of {piece: number} in their order."""
  numbers = sorted(ids.values()) if isinstance(ids, Mapping) else None
  if numbers != list(range(len(ids))):
    raise ValueError(f'{path} does not number its pieces from 0 without a gap; '
                     'give the vocab.json of the RoBERTa checkpoint.')
  return sorted(ids, key=ids.get)
