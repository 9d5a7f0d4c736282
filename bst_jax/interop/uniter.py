"""UNITER fine-tuned for VQA <-> models/uniter.py."""
from bst_jax.interop import bert
from bst_jax.interop.core import linear_rows, norm_rows

_IMAGE = 'uniter.img_embeddings'

ENCODER = (
    *bert.text_rows('uniter.'),
    *linear_rows(f'{_IMAGE}.img_linear', 'feature'),
    *norm_rows(f'{_IMAGE}.img_layer_norm', 'feature_norm'),
    *linear_rows(f'{_IMAGE}.pos_linear', 'box'),
    *norm_rows(f'{_IMAGE}.pos_layer_norm', 'box_norm'),
    *norm_rows(f'{_IMAGE}.LayerNorm', 'image_norm'),
)
TABLE = (*ENCODER, *bert.head_rows('vqa_output'))
# Stands for masked regions in pre-training; answering does not use it.
IGNORED = (r'uniter\.img_embeddings\.mask_embedding\.weight',)
RENAMES = (
    *bert.OLD_SPELLINGS,
    # A prefix before everything, or in the place of the encoder's own name.
    (r'^bert\.(?=uniter\.|vqa_output\.)', ''), (r'^bert\.', 'uniter.'))
PARTIAL = False
