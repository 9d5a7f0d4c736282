"""ViTForImageClassification in the names of transformers 4."""
from bst_jax.interop.core import linear_rows
from bst_jax.interop.hf_vit import rows

TABLE = (*rows('vit', old=True), *linear_rows('classifier', 'head'))
# A pooler that classification does not use.
IGNORED = (r'vit\.pooler\..*',)
RENAMES = ()
PARTIAL = False
