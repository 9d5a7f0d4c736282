"""DeiTForImageClassification of transformers 5 in memory: one head, two tokens."""
from bst_jax.interop.core import linear_rows
from bst_jax.interop.hf_vit import adapt, rows

TABLE = (*rows('deit'), *linear_rows('classifier', 'head'))
IGNORED = RENAMES = ()
ADAPT = adapt('deit')
PARTIAL = False
