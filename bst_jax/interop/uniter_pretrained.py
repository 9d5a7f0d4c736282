"""Pre-trained UNITER -> models/uniter.py, whose answer head is its own."""
from bst_jax.interop import uniter

TABLE = uniter.ENCODER
IGNORED = (*uniter.IGNORED, r'cls\..*', r'feat_regress\..*',
           r'region_classifier\..*', r'itm_output\..*')
RENAMES = uniter.RENAMES
PARTIAL = True
