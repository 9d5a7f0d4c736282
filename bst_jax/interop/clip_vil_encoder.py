"""CLIP-ViL-p, files of the encoder alone -> models/clip_vil.py.

The answer head keeps the parameters that it starts from.
"""
from bst_jax.interop import clip_vil

TABLE = clip_vil.encoder_rows('')
IGNORED = (
    *clip_vil.IGNORED,
    r'cls\..*', r'answer_head\..*', r'obj_predict_head\..*')
RENAMES = clip_vil.RENAMES
PARTIAL = True
