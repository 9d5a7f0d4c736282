"""DeiTForImageClassificationWithTeacher of transformers 5 in memory: two heads.

Its files are in the names of transformers 4: table `hf_deit_4`. The model's distilled=True. With one head on the class token, distilled_head=
False, it is DeiTForImageClassification, whose table is `hf_deit_single`.
"""
from bst_jax.interop.core import linear_rows
from bst_jax.interop.hf_vit import adapt, rows

HEADS = (*linear_rows('cls_classifier', 'head'),
         *linear_rows('distillation_classifier', 'distilled_head'))

TABLE = (*rows('deit'), *HEADS)
IGNORED = RENAMES = ()
ADAPT = adapt('deit')
PARTIAL = False
