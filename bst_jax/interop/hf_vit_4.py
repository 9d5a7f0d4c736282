"""ViTForImageClassification in the names of transformers 4 and of files.

Version 5 still writes its files in these names; those of `hf_vit` are what its
state_dict() has.
"""
from bst_jax.interop.core import linear_rows
from bst_jax.interop.hf_vit import adapt, headless, rows

TABLE = (*rows('vit', old=True), *linear_rows('classifier', 'head'))
# A pooler that classification does not use.
IGNORED = (r'vit\.pooler\..*',)
RENAMES = headless('vit')
ADAPT = adapt('vit')
PARTIAL = False
