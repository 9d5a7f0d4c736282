"""The official CvT <-> models/cvt.py, with activation='quick_gelu'.

Its batch statistics are parameters of ours; torch counts the batches that they
were taken from, and nothing reads that.
"""
from collections.abc import Callable, Collection

from bst_jax.interop.core import (
  CONV,
  conv_norm_rows,
  LINEAR_FROM_HEADS,
  linear_rows,
  lone,
  norm_rows,
  Row,
)

# The published ones have three.
_MOST = 4
# Parts of a layer: official, Hugging Face, ours.
_NORMS = (('norm1', 'layernorm_before', 'norm1'),
          ('norm2', 'layernorm_after', 'norm2'))
_LINEAR = (
    ('attn.proj_q', 'attention.attention.projection_query', 'attention/query'),
    ('attn.proj_k', 'attention.attention.projection_key', 'attention/key'),
    ('attn.proj_v', 'attention.attention.projection_value', 'attention/value'),
    ('mlp.fc1', 'intermediate.dense', 'ffn/fc1'),
    ('mlp.fc2', 'output.dense', 'ffn/fc2'),
)
_OUT = 'attn.proj', 'attention.output.dense', 'attention/out'
_CONVOLVED = 'query', 'key', 'value'


def _convolved(layer, name, hf):
  """A depth-wise convolution and what normalises it, by their foreign names."""
  if hf:
    place = (f'{layer}.attention.attention.convolution_projection_{name}.'
             'convolution_projection')
    return f'{place}.convolution', f'{place}.normalization'
  place = f'{layer}.attn.conv_proj_{name[0]}'
  return f'{place}.conv', f'{place}.bn'


def table(hf: bool) -> Callable[[Collection[str] | None], tuple[Row, ...]]:
  """The rows for a model's paths, by the official or Hugging Face's names.

  The class's token is of the last stage, so that its name depends on how many
  there are; without paths the rows are those of any.
  """
  def rows(paths=None):
    if paths is None:
      return tuple(row for last in range(_MOST) for row in _rows(last + 1, hf))
    return _rows(sum(f'embed_{s}/proj/kernel' in paths for s in range(_MOST)),
                 hf)
  return rows


def _rows(stages, hf):
  """The rows of a model of so many stages."""
  table, stage = (), ''
  for s in range(stages):
    stage = f'cvt.encoder.stages.{s}' if hf else f'stage{s}'
    embed = (f'{stage}.embedding.convolution_embeddings' if hf else
             f'{stage}.patch_embed')
    layer = f'{stage}.layers.{{i}}' if hf else f'{stage}.blocks.{{i}}'
    mine = f'stage_{s}/layer_{{i}}'
    table += (
        *linear_rows(f'{embed}.{"projection" if hf else "proj"}',
                     f'embed_{s}/proj', CONV),
        *norm_rows(f'{embed}.{"normalization" if hf else "norm"}',
                   f'embed_{s}/norm'))
    for *names, ours in _NORMS:
      table += norm_rows(f'{layer}.{names[hf]}', f'{mine}/{ours}')
    for name in _CONVOLVED:
      ours = f'{mine}/attention/{name}'
      table += conv_norm_rows(_convolved(layer, name, hf),
                              (f'{ours}_conv', f'{ours}_norm'))
    for *names, ours in _LINEAR:
      table += linear_rows(f'{layer}.{names[hf]}', f'{mine}/{ours}')
    table += linear_rows(f'{layer}.{_OUT[hf]}', f'{mine}/{_OUT[2]}',
                         LINEAR_FROM_HEADS)
  return (*table,
          (f'{stage}.cls_token', 'class_token', lone(2)),
          *norm_rows('layernorm' if hf else 'norm', 'norm'),
          *linear_rows('classifier' if hf else 'head', 'head'))


TABLE = table(hf=False)
IGNORED = (r'.*\.num_batches_tracked',)
RENAMES = ((r'^module\.', ''),)
PARTIAL = False
