"""timm's EfficientNet, b0 to b7 and lite <-> models/efficientnet.py.

Those whose names begin with tf_ have eps=1e-3 and padding='same', the others
eps=1e-5.
"""
from bst_jax.interop.core import (
  conv_norm_rows,
  linear_rows,
  POINTWISE,
  Row,
)

_STAGES = 7


def trunk_rows(foreign: str = '', ours: str = '') -> tuple[Row, ...]:
  """The rows of all but the last convolution and the head.

  Args:
    foreign: what stands before timm's names, as `backbone.`.
    ours: what stands before our paths, as `trunk/`.
  """
  rows = _convolved(f'{foreign}conv_stem', f'{foreign}bn1', f'{ours}stem')
  for stage in range(_STAGES):
    theirs = f'{foreign}blocks.{stage}.{{i}}'
    layer = f'{ours}stage_{stage}/layer_{{i}}'
    # Nothing is widened in the first stage, so that its names are others.
    parts = (
        (('conv_dw', 'bn1', 'depthwise'), ('conv_pw', 'bn2', 'project'))
        if not stage else
        (('conv_pw', 'bn1', 'expand'), ('conv_dw', 'bn2', 'depthwise'),
         ('conv_pwl', 'bn3', 'project')))
    for conv, norm, part in parts:
      rows += _convolved(f'{theirs}.{conv}', f'{theirs}.{norm}',
                         f'{layer}/{part}')
    for name in ('reduce', 'expand'):
      rows += linear_rows(f'{theirs}.se.conv_{name}', f'{layer}/gate/{name}',
                          POINTWISE)
  return rows


def _convolved(conv, norm, ours):
  """A convolution and what normalises it, which stands beside it here."""
  return conv_norm_rows((conv, norm), (ours, f'{ours}_norm'))


TABLE = (*trunk_rows(), *_convolved('conv_head', 'bn2', 'last'),
         *linear_rows('classifier', 'head'))
IGNORED = (r'.*\.num_batches_tracked',)
PARTIAL = False
