"""Dinov2ForImageClassification of transformers <-> models/vit.py.

With head_reads='class_mean' and LayerScale. Files are in these names; those
that transformers 5 has in memory are read too, as are files of the encoder
alone and of Dinov2WithRegisters.
"""
from bst_jax.interop.core import (
  linear,
  LINEAR_FROM_HEADS,
  linear_rows,
  lone,
  norm_rows,
)
from bst_jax.interop.hf_vit import adapt, headless
from bst_jax.interop.timm_vit import frame_rows, scale_rows

_LAYER, _OURS = 'dinov2.encoder.layer.{i}', 'encoder/layer_{i}'
_INNER = 'dinov2.embeddings'
_ATTENTION = f'{_LAYER}.attention'

TABLE = (
    *frame_rows(f'{_INNER}.cls_token', f'{_INNER}.distillation_token',
                f'{_INNER}.position_embeddings',
                f'{_INNER}.patch_embeddings.projection', 'dinov2.layernorm'),
    (f'{_INNER}.register_tokens', 'register_tokens', lone(1)),
    *norm_rows(f'{_LAYER}.norm1', f'{_OURS}/norm1'),
    *norm_rows(f'{_LAYER}.norm2', f'{_OURS}/norm2'),
    *(row for name in ('query', 'key', 'value') for row in linear_rows(
        f'{_ATTENTION}.attention.{name}', f'{_OURS}/attention/{name}')),
    *linear_rows(f'{_ATTENTION}.output.dense', f'{_OURS}/attention/out',
                 LINEAR_FROM_HEADS),
    *linear_rows(f'{_LAYER}.mlp.fc1', f'{_OURS}/ffn/fc1'),
    *linear_rows(f'{_LAYER}.mlp.fc2', f'{_OURS}/ffn/fc2'),
    *scale_rows(f'{_LAYER}.layer_scale1.lambda1',
                f'{_LAYER}.layer_scale2.lambda1'),
    # Of the class token and of the patches' mean, side by side.
    *linear_rows('classifier', 'head', linear(2)),
)
# Stands for masked patches in pre-training.
IGNORED = (r'dinov2\.embeddings\.mask_token',)
RENAMES = (
    (r'^dinov2_with_registers\.', 'dinov2.'), *headless('dinov2'),
    *((rf'\.attention\.{letter}_proj\.', f'.attention.attention.{name}.')
      for letter, name in (('q', 'query'), ('k', 'key'), ('v', 'value'))),
    (r'\.attention\.o_proj\.', '.attention.output.dense.'))
ADAPT = adapt('dinov2')
PARTIAL = False
