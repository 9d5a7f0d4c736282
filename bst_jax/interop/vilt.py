"""ViLT as released, with the adapters of DAS or without <-> models/vilt.py."""
from collections.abc import Mapping

from bst_jax.interop import bert
from bst_jax.interop.core import (
  CONV,
  COPY,
  LINEAR,
  LINEAR_FROM_HEADS,
  linear_rows,
  lone,
  norm_rows,
  VECTOR,
)
import numpy as np

_OURS, _BLOCK = 'encoder/layer_{i}', 'transformer.blocks.{i}'
KINDS, ITM, RANK = 'token_type_embeddings.weight', 'itm_score.fc', 'rank_output'


def adapter_rows(foreign, ours):
  """An adapter's normalisation and two linear layers."""
  return (*norm_rows(f'{foreign}.adapter_layer_norm_before', f'{ours}/norm'),
          *linear_rows(f'{foreign}.down_proj', f'{ours}/ffn/fc1'),
          *linear_rows(f'{foreign}.up_proj', f'{ours}/ffn/fc2'))


def head_rows(foreign, ours, op):
  """A head of two linear layers, the first of which reads `op`'s axes."""
  return (*linear_rows(f'{foreign}.0', f'{ours}/fc1', op),
          *norm_rows(f'{foreign}.1', f'{ours}/norm'),
          *linear_rows(f'{foreign}.3', f'{ours}/fc2'))


def words_rows(bias):
  """The head of masked words, whose bias has different names."""
  return (*linear_rows('mlm_score.transform.dense', 'words_head/transform'),
          *norm_rows('mlm_score.transform.LayerNorm', 'words_head/norm'),
          ('mlm_score.decoder.weight', 'words_head/decoder/kernel', LINEAR),
          (bias, 'words_head/decoder/bias', COPY))


def text_rows(foreign):
  """Word, position and type tables of BERT, under a foreign prefix."""
  table = lambda name, ours: (f'{foreign}.{name}_embeddings.weight', ours, COPY)
  return (table('word', 'text/words/table'),
          table('position', 'text/positions/table'),
          table('token_type', 'text_types/table'),
          *norm_rows(f'{foreign}.LayerNorm', 'text/norm'))


def adapter_of(kinds, itm, rank, table):
  """What fills in what only fine-tuned models have; see `core`.

  The second picture of a pair has a kind of its own, which starts as the first
  one's; the score of retrieval starts as that of a match in pre-training.

  Args:
    kinds, itm, rank: foreign names of the kinds, and of two linear layers.
    table: our name of the kinds.
  """
  def adapt(foreign: Mapping[str, np.ndarray], target) -> dict[str, np.ndarray]:
    new = dict(foreign)
    rows = target[table]['table'].shape[0]
    if kinds in new and len(new[kinds]) < rows:
      new[kinds] = np.concatenate([new[kinds], new[kinds][1:2]])
    for part in ('weight', 'bias'):
      if 'match_head' in target and f'{rank}.{part}' not in new and (
          f'{itm}.{part}' in new):
        new[f'{rank}.{part}'] = new[f'{itm}.{part}'][1:]
    return new

  return adapt


_FUSED = lambda leaf: tuple(
    f'{_OURS}/attention/{name}/{leaf}' for name in ('query', 'key', 'value'))

TABLE = (
    *text_rows('text_embeddings'),
    (KINDS, 'kinds/table', COPY),
    ('transformer.cls_token', 'class_token', lone(2)),
    ('transformer.pos_embed', 'positions', lone(1)),
    *linear_rows('transformer.patch_embed.proj', 'patches/proj', CONV),
    *norm_rows(f'{_BLOCK}.norm1', f'{_OURS}/norm1'),
    (f'{_BLOCK}.attn.qkv.weight', _FUSED('kernel'), LINEAR),
    (f'{_BLOCK}.attn.qkv.bias', _FUSED('bias'), VECTOR),
    *linear_rows(f'{_BLOCK}.attn.proj', f'{_OURS}/attention/out',
                 LINEAR_FROM_HEADS),
    *norm_rows(f'{_BLOCK}.norm2', f'{_OURS}/norm2'),
    *linear_rows(f'{_BLOCK}.mlp.fc1', f'{_OURS}/ffn/fc1'),
    *linear_rows(f'{_BLOCK}.mlp.fc2', f'{_OURS}/ffn/fc2'),
    *adapter_rows(f'{_BLOCK}.adapter0', f'{_OURS}/adapter_attention'),
    *adapter_rows(f'{_BLOCK}.adapter1', f'{_OURS}/adapter_ffn'),
    *adapter_rows('adapter_list.{i}.0', 'encoder/skip_layer_{i}'),
    *norm_rows('transformer.norm', 'norm'),
    *linear_rows('pooler.dense', 'pooler'),
    *head_rows('vqa_classifier', 'head', LINEAR),
    *head_rows('nlvr2_classifier', 'pair_head', LINEAR_FROM_HEADS),
    *linear_rows(RANK, 'match_head'),
    *words_rows('mlm_score.bias'),
)
# Heads of pre-training; a buffer; what a search keeps of its gates.
IGNORED = (r'mlm_score\..*', r'itm_score\..*', r'text_embeddings\.position_ids',
           r'skip_num', r'das_gate')
RENAMES = bert.OLD_SPELLINGS
ADAPT = adapter_of(KINDS, ITM, RANK, 'kinds')
PARTIAL = False
HEAD = 'head', 'pair_head', 'match_head', 'words_head'
