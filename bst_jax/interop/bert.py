"""BERT, cased or uncased -> the text side of UNITER and CLIP-ViL.

Fills word pieces, positions, kinds, every layer and the pooler; what reads the
picture and what answers keeps the parameters that it starts from.
"""
from bst_jax.interop.core import COPY, LINEAR_FROM_HEADS, linear_rows, norm_rows

# Checkpoints saved by several processes, and those of the first years.
OLD_SPELLINGS = ((r'^module\.', ''), (r'\.gamma$', '.weight'),
                 (r'\.beta$', '.bias'))


def embedding_rows(foreign):
  """The text embeddings under a foreign prefix."""
  table = lambda name, ours: (f'{foreign}{name}_embeddings.weight', ours, COPY)
  return (table('word', 'text/words/table'),
          table('position', 'text/positions/table'),
          table('token_type', 'types/table'),
          *norm_rows(f'{foreign}LayerNorm', 'text/norm'))


def layer_rows(foreign, ours='encoder/layer_{i}'):
  """One layer of the transformer."""
  attention, projection = f'{foreign}.attention', f'{ours}/attention'
  return (
      *linear_rows(f'{attention}.self.query', f'{projection}/query'),
      *linear_rows(f'{attention}.self.key', f'{projection}/key'),
      *linear_rows(f'{attention}.self.value', f'{projection}/value'),
      *linear_rows(f'{attention}.output.dense', f'{projection}/out',
                   LINEAR_FROM_HEADS),
      *norm_rows(f'{attention}.output.LayerNorm', f'{ours}/norm1'),
      *linear_rows(f'{foreign}.intermediate.dense', f'{ours}/ffn/fc1'),
      *linear_rows(f'{foreign}.output.dense', f'{ours}/ffn/fc2'),
      *norm_rows(f'{foreign}.output.LayerNorm', f'{ours}/norm2'),
  )


def text_rows(foreign=''):
  """The whole of BERT under a foreign prefix."""
  return (*embedding_rows(f'{foreign}embeddings.'),
          *layer_rows(f'{foreign}encoder.layer.{{i}}'),
          *linear_rows(f'{foreign}pooler.dense', 'pooler'))


def head_rows(foreign):
  """The answer head, which both models have alike."""
  return (*linear_rows(f'{foreign}.0', 'head/fc1'),
          *norm_rows(f'{foreign}.2', 'head/norm'),
          *linear_rows(f'{foreign}.3', 'head/fc2'))


TABLE = text_rows()
# Heads of pre-training; a buffer of later files that counts from 0 to 511.
IGNORED = (r'cls\..*', r'embeddings\.position_ids')
RENAMES = (*OLD_SPELLINGS, (r'^bert\.', ''))
PARTIAL = True
