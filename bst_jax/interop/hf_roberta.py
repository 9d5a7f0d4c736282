"""RoBERTa of transformers -> the text encoder of METER.

Fills the encoder; all else keeps the parameters that it starts from.
"""
from bst_jax.interop import bert
from bst_jax.interop.meter import roberta_rows

TABLE = roberta_rows('roberta.')
# Heads of pre-training, the pooler, a buffer.
IGNORED = (r'lm_head\..*', r'classifier\..*', r'roberta\.pooler\..*',
           r'.*\.position_ids')
# Files of the encoder alone lack the prefix.
RENAMES = (*bert.OLD_SPELLINGS, (r'^(embeddings|encoder|pooler)\.',
                                 r'roberta.\1.'))
PARTIAL = True
