"""The official TimeSformer, divided space-time <-> models/timesformer.py.

Places in space and time are those of the model's clips: nothing is resized.
"""
from bst_jax.interop.core import (
  CONV,
  LINEAR,
  LINEAR_FROM_HEADS,
  linear_rows,
  lone,
  norm_rows,
  VECTOR,
)

_OURS = 'encoder/layer_{i}'
# Parts of a layer: official, of transformers, ours.
_NORMS = (
    ('temporal_norm1', 'temporal_layernorm', 'temporal_norm'),
    ('norm1', 'layernorm_before', 'norm1'),
    ('norm2', 'layernorm_after', 'norm2'),
)
_ATTENTIONS = (
    (('temporal_attn.qkv', 'temporal_attn.proj'),
     ('temporal_attention.attention.qkv', 'temporal_attention.output.dense'),
     'temporal_attention'),
    (('attn.qkv', 'attn.proj'),
     ('attention.attention.qkv', 'attention.output.dense'), 'attention'),
)
_LINEAR = (
    ('temporal_fc', 'temporal_dense', 'temporal_out'),
    ('mlp.fc1', 'intermediate.dense', 'ffn/fc1'),
    ('mlp.fc2', 'output.dense', 'ffn/fc2'),
)


def layer_rows(layer, spelling):
  """The rows of all layers.

  Args:
    layer: foreign name of a layer.
    spelling: 0 for the official names of its parts, 1 for transformers'.
  """
  table = ()
  for *names, ours in _NORMS:
    table += norm_rows(f'{layer}.{names[spelling]}', f'{_OURS}/{ours}')
  for *names, ours in _ATTENTIONS:
    fused, out = names[spelling]
    three = lambda leaf, ours=ours: tuple(
        f'{_OURS}/{ours}/{name}/{leaf}' for name in ('query', 'key', 'value'))
    table += ((f'{layer}.{fused}.weight', three('kernel'), LINEAR),
              (f'{layer}.{fused}.bias', three('bias'), VECTOR),
              *linear_rows(f'{layer}.{out}', f'{_OURS}/{ours}/out',
                           LINEAR_FROM_HEADS))
  for *names, ours in _LINEAR:
    table += linear_rows(f'{layer}.{names[spelling]}', f'{_OURS}/{ours}')
  return table


def frame_rows(token, places, times, patches, norm, head):
  """What stands around the layers, by its foreign names."""
  return ((token, 'class_token', lone(2)), (places, 'positions', lone(1)),
          (times, 'times', lone(1)),
          *linear_rows(patches, 'patches/proj', CONV),
          *norm_rows(norm, 'norm'), *linear_rows(head, 'head'))


TABLE = (
    *frame_rows('model.cls_token', 'model.pos_embed', 'model.time_embed',
                'model.patch_embed.proj', 'model.norm', 'model.head'),
    *layer_rows('model.blocks.{i}', 0),
)
IGNORED = ()
RENAMES = ((r'^module\.', ''),)
PARTIAL = False
