"""DeiTForImageClassification in the names of files, see `hf_vit_4`."""
from bst_jax.interop.core import linear_rows
from bst_jax.interop.hf_vit import adapt, rows

TABLE = (*rows('deit', old=True), *linear_rows('classifier', 'head'))
IGNORED = (r'deit\.pooler\..*',)
RENAMES = ()
ADAPT = adapt('deit')
PARTIAL = False
