"""MCAN of OpenVQA and of mcan-vqa -> models/mcan.py, as a warm start only.

These models lack the question's adapter and, in the VQA-v2 form, the image's
normalisation: both keep the parameters that they start from, so that the
answers are not those of the source.
"""
from bst_jax.interop import mcan_bst

_NEW = ('question_adapter/', 'question_norm/', 'image_norm/')

TABLE = tuple(row for row in mcan_bst.TABLE if not row[1].startswith(_NEW))
IGNORED = (r'adapter\.grid_linear\..*',)  # Ours reads regions.
RENAMES = (
    (r'\.a_2$', '.weight'), (r'\.b_2$', '.bias'),
    (r'^adapter\.(frcn|bbox)_linear\.', r'img_adapter.\1_linear.'),
    (r'^img_feat_linear\.', 'img_adapter.frcn_linear.'),
    (r'^(attflat_(?:img|lang))\.mlp\.', r'\1.'))
PARTIAL = True
