"""Pre-trained OSCAR and MiniVLM -> models/minivlm.py; other heads are its own.

Heads of words and of matches are filled where the model has them.
"""
from bst_jax.interop import minivlm

TABLE = minivlm.PRETRAINED
IGNORED = (*minivlm.IGNORED, r'classifier\..*')
RENAMES = minivlm.RENAMES
ADAPT = minivlm.ADAPT
PARTIAL = True
