"""OSCAR and MiniVLM as released <-> models/minivlm.py.

Names are those of OSCAR's code, on which MiniVLM's was built: pre-trained with
words and matches, or fine-tuned to answer, to tell whether a text belongs to a
picture or to compare two pictures.
"""
from collections.abc import Collection, Mapping
from typing import Any

from bst_jax.interop import bert
from bst_jax.interop.core import (
  COPY,
  LINEAR,
  LINEAR_FROM_HEADS,
  linear_rows,
  norm_rows,
  Row,
)
import numpy as np

_WORDS, _MATCH = 'cls.predictions', 'cls.seq_relationship'
_CLASSES = 'classifier'
_DECODER = f'{_WORDS}.decoder.weight'
_INPUT = 'embeddings.word_embeddings.weight'

# The head of words, whose matrix is the table of those that go in, or its own.
WORDS = (
    *linear_rows(f'{_WORDS}.transform.dense', 'words_head/transform'),
    *norm_rows(f'{_WORDS}.transform.LayerNorm', 'words_head/norm'),
    (f'{_WORDS}.bias', 'words_head/bias', COPY),
    (_DECODER, 'words_head/decoder/kernel', LINEAR),
    (f'{_WORDS}.bias', 'words_head/decoder/bias', COPY),
)
ENCODER = (
    *bert.text_rows('bert.'),
    *linear_rows('bert.img_embedding', 'feature'),
    *norm_rows('bert.LayerNorm', 'feature_norm'),
)
PRETRAINED = (*ENCODER, *WORDS, *linear_rows(_MATCH, 'match_head'))
_NORMED = norm_rows(f'{_CLASSES}.2', 'pair_head/norm')


def TABLE(paths: Collection[str] | None) -> tuple[Row, ...]:
  """The rows for our parameters; of None, all that there may be.

  What compares two pictures has its last layer behind the normalisation, if
  there is one.
  """
  normed = paths is None or 'pair_head/norm/scale' in paths
  return (
      *PRETRAINED, *linear_rows(_CLASSES, 'head'),
      *linear_rows(f'{_CLASSES}.0', 'pair_head/fc1', LINEAR_FROM_HEADS),
      *(_NORMED if normed else ()),
      *linear_rows(f'{_CLASSES}.{3 if normed else 2}', 'pair_head/fc2'))


# What other tasks than ours were trained with; what is tied is written once.
IGNORED = (r'cls\..*', r'bert\.embeddings\.position_ids')
RENAMES = (*bert.OLD_SPELLINGS, (
    r'^(embeddings|encoder|pooler|img_embedding|LayerNorm)\.', r'bert.\1.'))
PARTIAL = False
HEAD = 'head', 'pair_head', 'match_head', 'words_head'


def ADAPT(foreign: Mapping[str, np.ndarray], target: Any
          ) -> dict[str, np.ndarray]:
  """Two classes that retrieval was fine-tuned for are those of a match.

  Raises:
    ValueError: words that come out have a matrix of their own, and the model
      has the table of those that go in in its place.
  """
  new = dict(foreign)
  if 'match_head' in target and f'{_MATCH}.weight' not in new:
    for part in ('weight', 'bias'):
      if f'{_CLASSES}.{part}' in new:
        new[f'{_MATCH}.{part}'] = new.pop(f'{_CLASSES}.{part}')
  check_tied(new, target)
  return new


def check_tied(foreign: Mapping[str, np.ndarray], target: Any) -> None:
  """Raises where our model ties what is not tied in a checkpoint."""
  table = next((value for name, value in foreign.items()
                if name.endswith(_INPUT)), None)
  decoder = foreign.get(_DECODER)
  if (decoder is None or table is None or
      'bias' not in target.get('words_head', {})):
    return
  if decoder.shape != table.shape or not np.array_equal(decoder, table):
    raise ValueError(
        f'{_DECODER} is another matrix than the word embeddings of the '
        'checkpoint, but the model scores words by the embeddings; set '
        'tied=False of the model.')
