"""The official X-ViT with its temporal head <-> models/xvit.py.

Places in space and time are those of the model's clips: nothing is resized.
"""
from bst_jax.interop.core import (
  CONV,
  LINEAR,
  LINEAR_FROM_HEADS,
  linear_rows,
  lone,
  norm_rows,
  Op,
  VECTOR,
)

# (1, segment, 1, d) of ours [segment, d]: the frames' rows get them.
_TIMES = Op(lambda x, ours: x.reshape(ours), lambda x: x[None, :, None],
            lambda ours: (1, ours[0], 1, ours[1]))


def _rows(block, ours, bias):
  fused = lambda leaf: tuple(
      f'{ours}/attention/{name}/{leaf}' for name in ('query', 'key', 'value'))
  biases = ((f'{block}.attn.qkv.bias', fused('bias'), VECTOR),)
  return (*norm_rows(f'{block}.norm1', f'{ours}/norm1'),
          (f'{block}.attn.qkv.weight', fused('kernel'), LINEAR),
          *(biases if bias else ()),
          *linear_rows(f'{block}.attn.proj', f'{ours}/attention/out',
                       LINEAR_FROM_HEADS),
          *norm_rows(f'{block}.norm2', f'{ours}/norm2'),
          *linear_rows(f'{block}.mlp.fc1', f'{ours}/ffn/fc1'),
          *linear_rows(f'{block}.mlp.fc2', f'{ours}/ffn/fc2'))


TABLE = (
    ('base_model.cls_token', 'class_token', lone(2)),
    ('base_model.pos_embed', 'positions', lone(1)),
    ('base_model.temp_embed', 'times', _TIMES),
    *linear_rows('base_model.patch_embed.proj', 'patches/proj', CONV),
    *_rows('base_model.blocks.{i}', 'encoder/layer_{i}', True),
    *norm_rows('base_model.norm', 'norm'),
    ('consensus.cls_token', 'temporal_token', lone(2)),
    *_rows('consensus.temporal_encoder.0', 'temporal', False),
    *norm_rows('consensus.mlp_head.0', 'head_norm'),
    *linear_rows('consensus.mlp_head.1', 'head/fc1'),
    *linear_rows('consensus.mlp_head.4', 'head/fc2'),
)
# A classifier of single frames, which the temporal head takes the place of.
IGNORED = (r'new_fc\..*',)
RENAMES = ((r'^module\.', ''),)
PARTIAL = False
