"""The names of efficientnet_pytorch <-> models/efficientnet.py, padding='same'.

Its layers are numbered through all stages. Forks whose convolutions pad by
themselves have a `.conv` behind the names of these; they are read as well.
"""
from collections.abc import Collection

from bst_jax.interop.core import (
  conv_norm_rows,
  linear_rows,
  POINTWISE,
  Row,
)

# b0 to b7 have as many.
_STAGES = 7
_PARTS = (('_expand_conv', '_bn0', 'expand'),
          ('_depthwise_conv', '_bn1', 'depthwise'),
          ('_project_conv', '_bn2', 'project'))


def trunk_rows(paths: Collection[str] | None = None, foreign: str = '',
               ours: str = '') -> tuple[Row, ...]:
  """The rows of all but the last convolution and the head.

  Args:
    paths: of our parameters, which tell how many layers the stages have; None
      for the names of any.
    foreign: what stands before foreign names.
    ours: what stands before our paths, as `trunk/`.
  """
  rows, number = _convolved(f'{foreign}_conv_stem', f'{foreign}_bn0',
                            f'{ours}stem'), 0
  if paths is None:
    return rows + _layer_rows(f'{foreign}_blocks.{{i}}',
                              f'{ours}stage_0/layer_{{i}}')
  for stage in range(_STAGES):
    inside = f'{ours}stage_{stage}/layer_'
    layers = {int(path.removeprefix(inside).partition('/')[0])
              for path in paths if path.startswith(inside)}
    for layer in sorted(layers):
      rows += _layer_rows(f'{foreign}_blocks.{number}', f'{inside}{layer}')
      number += 1
  return rows


def _layer_rows(theirs, ours):
  rows = ()
  for conv, norm, part in _PARTS:
    rows += _convolved(f'{theirs}.{conv}', f'{theirs}.{norm}', f'{ours}/{part}')
  for name in ('reduce', 'expand'):
    rows += linear_rows(f'{theirs}._se_{name}', f'{ours}/gate/{name}', POINTWISE)
  return rows


def _convolved(conv, norm, ours):
  """A convolution and what normalises it, which stands beside it here."""
  return conv_norm_rows((conv, norm), (ours, f'{ours}_norm'))


def TABLE(paths: Collection[str] | None = None) -> tuple[Row, ...]:
  """The rows of a classifier with these parameters."""
  return (*trunk_rows(paths), *_convolved('_conv_head', '_bn1', 'last'),
          *linear_rows('_fc', 'head'))


IGNORED = (r'.*\.num_batches_tracked',)
RENAMES = ((r'(_conv|_conv_stem|_conv_head|_se_reduce|_se_expand)\.conv\.',
            r'\1.'),)
PARTIAL = False
