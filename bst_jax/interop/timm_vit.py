"""ViT and DeiT of timm, of the official DeiT and of the released ATS.

All <-> models/vit.py; distilled variants have rows of their own, which models
without a second token leave out.
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


def frame_rows(token, second, places, patches, norm):
  """What stands around the layers, by its foreign names."""
  return ((token, 'class_token', lone(2)),
          (second, 'distillation_token', lone(2)),
          (places, 'positions', lone(1)),
          *linear_rows(patches, 'patches/proj', CONV),
          *norm_rows(norm, 'norm'))


_BLOCK, _OURS = 'blocks.{i}', 'encoder/layer_{i}'
_FUSED = lambda leaf: tuple(
    f'{_OURS}/attention/{name}/{leaf}' for name in ('query', 'key', 'value'))

TABLE = (
    *frame_rows('cls_token', 'dist_token', 'pos_embed', 'patch_embed.proj',
                'norm'),
    *norm_rows(f'{_BLOCK}.norm1', f'{_OURS}/norm1'),
    (f'{_BLOCK}.attn.qkv.weight', _FUSED('kernel'), LINEAR),
    (f'{_BLOCK}.attn.qkv.bias', _FUSED('bias'), VECTOR),
    *linear_rows(f'{_BLOCK}.attn.proj', f'{_OURS}/attention/out',
                 LINEAR_FROM_HEADS),
    *norm_rows(f'{_BLOCK}.norm2', f'{_OURS}/norm2'),
    *linear_rows(f'{_BLOCK}.mlp.fc1', f'{_OURS}/ffn/fc1'),
    *linear_rows(f'{_BLOCK}.mlp.fc2', f'{_OURS}/ffn/fc2'),
    *linear_rows('head', 'head'),
    *linear_rows('head_dist', 'distilled_head'),
)
# A frozen buffer of zeros in the sampling blocks of the released ATS.
IGNORED = (r'blocks\.\d+\.attn\.out_zero_mask',)
RENAMES = ((r'^module\.', ''),)
PARTIAL = False
