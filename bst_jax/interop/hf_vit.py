"""ViTForImageClassification of transformers 5 in memory <-> models/vit.py.

Its files are in the names of transformers 4: table `hf_vit_4`.
"""
from bst_jax.interop.core import LINEAR_FROM_HEADS, linear_rows, norm_rows
from bst_jax.interop.timm_vit import adapter, frame_rows

_OURS = 'encoder/layer_{i}'
# Parts of a layer: transformers 5, transformers 4, ours.
_LINEAR = (
    ('attention.q_proj', 'attention.attention.query', 'attention/query'),
    ('attention.k_proj', 'attention.attention.key', 'attention/key'),
    ('attention.v_proj', 'attention.attention.value', 'attention/value'),
    ('mlp.fc1', 'intermediate.dense', 'ffn/fc1'),
    ('mlp.fc2', 'output.dense', 'ffn/fc2'),
)
_OUT = 'attention.o_proj', 'attention.output.dense'


def linear_layer_rows(layer, old):
  """The linear parts of a layer of this foreign name."""
  table = linear_rows(f'{layer}.{_OUT[old]}', f'{_OURS}/attention/out',
                      LINEAR_FROM_HEADS)
  for *names, ours in _LINEAR:
    table += linear_rows(f'{layer}.{names[old]}', f'{_OURS}/{ours}')
  return table


def headless(model):
  """Renames of files of the encoder alone, which lack the prefix."""
  return ((r'^(embeddings|encoder|layers|layernorm|pooler)\.',
           rf'{model}.\1.'),)


def rows(model, old=False):
  """All but the heads, under the prefix `vit` or `deit`."""
  layer = f'{model}.{"encoder.layer" if old else "layers"}.{{i}}'
  inner = f'{model}.embeddings.'
  table = frame_rows(
      f'{inner}cls_token', f'{inner}distillation_token',
      f'{inner}position_embeddings', f'{inner}patch_embeddings.projection',
      f'{model}.layernorm')
  table += linear_layer_rows(layer, old)
  return (*table, *norm_rows(f'{layer}.layernorm_before', f'{_OURS}/norm1'),
          *norm_rows(f'{layer}.layernorm_after', f'{_OURS}/norm2'))


def adapt(model):
  """`timm_vit.adapter` under the prefix `vit` or `deit`."""
  inner = f'{model}.embeddings'
  return adapter(f'{inner}.position_embeddings',
                 f'{inner}.patch_embeddings.projection.weight')


TABLE = (*rows('vit'), *linear_rows('classifier', 'head'))
IGNORED = ()
RENAMES = headless('vit')
ADAPT = adapt('vit')
PARTIAL = False
