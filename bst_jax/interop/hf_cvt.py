"""CvtForImageClassification <-> models/cvt.py, with activation='gelu'.

Its code has the exact GELU, where the official model, whose weights its
published files hold, has QuickGELU.
"""
from bst_jax.interop.cvt import table

TABLE = table(hf=True)
IGNORED = (r'.*\.num_batches_tracked',)
# Files of the encoder alone lack the prefix, and the last normalisation too.
RENAMES = ((r'^encoder\.', 'cvt.encoder.'),)
HEAD = 'head', 'norm'
PARTIAL = False
