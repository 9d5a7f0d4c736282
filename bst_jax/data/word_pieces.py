"""Questions as BERT reads them: pieces of words between [CLS] and [SEP]."""
from collections.abc import Sequence
import os
import pathlib

from bst_jax.data.pieces import Pieces
import tokenizers

PAD, UNK, CLS, SEP = '[PAD]', '[UNK]', '[CLS]', '[SEP]'


class WordPieces(Pieces):
  """The word pieces of a BERT checkpoint.

  A vocabulary without capitals is that of an uncased checkpoint, and questions
  are then put into lower case, without accents.

  Reference: Devlin et al., "BERT", NAACL 2019; by the library tokenizers.
  """

  SPECIAL = PAD, UNK, CLS, SEP
  MASK = '[MASK]'

  def __init__(self, pieces: Sequence[str]):
    """Takes the lines of a `vocab.txt`; [PAD] must be the first."""
    pieces = tuple(pieces)
    twice = [s for s in (*self.SPECIAL, self.MASK) if pieces.count(s) > 1]
    if twice or '' in pieces:
      what = f'has {", ".join(twice)} more than once' if twice else (
          f'has nothing in line {pieces.index("") + 1}')
      raise ValueError(
          f'a vocabulary of word pieces {what}, so that pieces behind it would '
          'get the numbers of others. Give the vocab.txt of the BERT checkpoint '
          'as it was published.')
    lacking = [s for s in self.SPECIAL if s not in pieces]
    if lacking or pieces[0] != PAD:
      raise ValueError(
          f'word pieces must start with {PAD} and have '
          f'{", ".join(self.SPECIAL)}; these start with {list(pieces[:3])}'
          + (f' and lack {", ".join(lacking)}' if lacking else '')
          + ". Give the vocab.txt of the BERT checkpoint.")
    lowercase = not any(p != p.lower() for p in pieces if not p.startswith('['))
    super().__init__(pieces, tokenizers.BertWordPieceTokenizer(
        {piece: i for i, piece in enumerate(pieces)}, lowercase=lowercase))

  @classmethod
  def read(cls, path: str | os.PathLike) -> 'WordPieces':
    """Reads a `vocab.txt`, one piece a line; empty lines at its end are left
    out, and line ends may be those of Windows.
    """
    path = pathlib.Path(path).expanduser()
    if not path.is_file():
      raise ValueError(
          f'config.data.word_pieces is {path}, but there is no such file; give '
          'the vocab.txt of the BERT checkpoint.')
    try:
      # Not by splitlines: Unicode's own line ends are pieces like others.
      return cls(path.read_text('utf-8').rstrip('\n').split('\n'))
    except UnicodeDecodeError as error:
      raise ValueError(f'{path} is no text file ({error}); give the vocab.txt '
                       'of the BERT checkpoint.') from error
