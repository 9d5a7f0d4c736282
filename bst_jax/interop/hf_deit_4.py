"""DeiTForImageClassificationWithTeacher in the names of files, see `hf_vit_4`."""
from bst_jax.interop.hf_deit import HEADS
from bst_jax.interop.hf_vit import adapt, rows

TABLE = (*rows('deit', old=True), *HEADS)
IGNORED = (r'deit\.pooler\..*',)
RENAMES = ()
ADAPT = adapt('deit')
PARTIAL = False
