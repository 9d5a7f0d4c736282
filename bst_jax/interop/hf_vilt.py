"""ViLT of transformers, with any of four heads <-> models/vilt.py."""
from bst_jax.interop.core import (
  CONV,
  COPY,
  LINEAR,
  LINEAR_FROM_HEADS,
  linear_rows,
  lone,
  norm_rows,
)
from bst_jax.interop.vilt import (
  adapter_of,
  head_rows,
  ITM,
  RANK,
  text_rows,
  words_rows,
)

_OURS, _LAYER = 'encoder/layer_{i}', 'vilt.encoder.layer.{i}'
_INNER = 'vilt.embeddings'
_KINDS = f'{_INNER}.token_type_embeddings.weight'


def _head(paths):
  """The one head that files have, by what the model has."""
  paths = [f'{name}/' for name in HEAD] if paths is None else paths
  there = lambda name: any(path.startswith(f'{name}/') for path in paths)
  rows = ()
  if there('pair_head'):
    rows += head_rows('classifier', 'pair_head', LINEAR_FROM_HEADS)
  elif there('head'):
    rows += head_rows('classifier', 'head', LINEAR)
  if there('match_head'):
    rows += linear_rows(RANK, 'match_head')
  if there('words_head'):
    rows += words_rows('mlm_score.decoder.bias')
  return rows


def TABLE(paths):
  """All rows; two heads of different models have one name."""
  return (
      *text_rows(f'{_INNER}.text_embeddings'),
      (_KINDS, 'kinds/table', COPY),
      (f'{_INNER}.cls_token', 'class_token', lone(2)),
      (f'{_INNER}.position_embeddings', 'positions', lone(1)),
      *linear_rows(f'{_INNER}.patch_embeddings.projection', 'patches/proj',
                   CONV),
      *norm_rows(f'{_LAYER}.layernorm_before', f'{_OURS}/norm1'),
      *(row for name in ('query', 'key', 'value') for row in linear_rows(
          f'{_LAYER}.attention.attention.{name}', f'{_OURS}/attention/{name}')),
      *linear_rows(f'{_LAYER}.attention.output.dense',
                   f'{_OURS}/attention/out', LINEAR_FROM_HEADS),
      *norm_rows(f'{_LAYER}.layernorm_after', f'{_OURS}/norm2'),
      *linear_rows(f'{_LAYER}.intermediate.dense', f'{_OURS}/ffn/fc1'),
      *linear_rows(f'{_LAYER}.output.dense', f'{_OURS}/ffn/fc2'),
      *norm_rows('vilt.layernorm', 'norm'),
      *linear_rows('vilt.pooler.dense', 'pooler'),
      *_head(paths))


# The head of masked words; a buffer.
IGNORED = (r'mlm_score\..*', rf'{_INNER}\.text_embeddings\.position_ids')
# Files of the encoder alone lack the prefix.
RENAMES = ((r'^(embeddings|encoder|layernorm|pooler)\.', r'vilt.\1.'),)
ADAPT = adapter_of(_KINDS, ITM, RANK, 'kinds')
PARTIAL = False
HEAD = 'head', 'pair_head', 'match_head', 'words_head'
