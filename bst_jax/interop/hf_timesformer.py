"""TimesformerForVideoClassification of transformers <-> models/timesformer.py.

In memory and in files its names are these, divided space-time alone.
"""
from bst_jax.interop.hf_vit import headless
from bst_jax.interop.timesformer import frame_rows, layer_rows

_INNER = 'timesformer.embeddings'

TABLE = (
    *frame_rows(
        f'{_INNER}.cls_token', f'{_INNER}.position_embeddings',
        f'{_INNER}.time_embeddings', f'{_INNER}.patch_embeddings.projection',
        'timesformer.layernorm', 'classifier'),
    *layer_rows('timesformer.encoder.layer.{i}', 1),
)
IGNORED = ()
RENAMES = headless('timesformer')
PARTIAL = False
