"""CLIPVisionModel of transformers -> the encoder of pictures of METER.

Fills the encoder, of which METER leaves the last layer out; all else keeps the
parameters that it starts from.
"""
from bst_jax.interop.core import (
  CONV,
  COPY,
  LINEAR_FROM_HEADS,
  linear_rows,
  norm_rows,
)
from bst_jax.interop.meter import IMAGE, shortened

_OURS, _LAYER = f'{IMAGE}/encoder/layer_{{i}}', 'encoder.layers.{i}'
_PLACES = 'embeddings.position_embedding.weight'

TABLE = (
    ('embeddings.class_embedding', f'{IMAGE}/class_token', COPY),
    (_PLACES, f'{IMAGE}/positions', COPY),
    ('embeddings.patch_embedding.weight', f'{IMAGE}/patches/proj/kernel', CONV),
    *norm_rows('pre_layrnorm', f'{IMAGE}/norm_before'),
    *norm_rows('post_layernorm', f'{IMAGE}/norm'),
    *norm_rows(f'{_LAYER}.layer_norm1', f'{_OURS}/norm1'),
    *norm_rows(f'{_LAYER}.layer_norm2', f'{_OURS}/norm2'),
    *(row for foreign, ours in (('q', 'query'), ('k', 'key'), ('v', 'value'))
      for row in linear_rows(f'{_LAYER}.self_attn.{foreign}_proj',
                             f'{_OURS}/attention/{ours}')),
    *linear_rows(f'{_LAYER}.self_attn.out_proj', f'{_OURS}/attention/out',
                 LINEAR_FROM_HEADS),
    *linear_rows(f'{_LAYER}.mlp.fc1', f'{_OURS}/ffn/fc1'),
    *linear_rows(f'{_LAYER}.mlp.fc2', f'{_OURS}/ffn/fc2'),
)
# A buffer; of files of both encoders the projections and the other one.
IGNORED = (r'embeddings\.position_ids', r'visual_projection\.weight',
           r'text_projection\.weight', r'logit_scale', r'text_model\..*')
# Both spellings: transformers 5 saves an encoder alone without the prefix.
RENAMES = ((r'^vision_model\.', ''),)
PARTIAL = True
ADAPT = shortened(_PLACES, r'encoder\.layers\.(\d+)\.')
