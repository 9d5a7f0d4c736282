"""effdet's backbone and BiFPN <-> a detector's `trunk` and `bifpn`.

`trunk` is layers/efficientnet.py's, `bifpn` layers/bifpn.py's with
style='effdet'. The heads of its detector have no counterpart and are left out.
Checkpoints whose names begin with tf_ have padding='same' in both and biases;
the others have neither.
"""
from bst_jax.interop import timm_efficientnet
from bst_jax.interop.core import (
  CONV,
  conv_norm_rows,
  COPY,
  linear_rows,
  Row,
  VECTOR,
)

_LEVELS = 5
# Nodes of a cell, numbered as they are made: levels on the way down and up.
_DOWN, _UP = (3, 2, 1, 0), (1, 2, 3, 4)


def bifpn_rows(foreign: str = 'fpn.', ours: str = 'bifpn/') -> tuple[Row, ...]:
  """The rows of a BiFPN of three or four grids.

  Args:
    foreign: what stands before effdet's names.
    ours: what stands before our paths.
  """
  rows = ()
  for raw in (_LEVELS - 2, _LEVELS - 1):
    rows += _lateral(f'{foreign}resample.{raw}', f'{ours}above_{raw - 1}')
  for way, levels in (('down', _DOWN), ('up', _UP)):
    for number, level in enumerate(levels, start=0 if way == 'down' else 4):
      # Of the grids that a trunk hands on, so in the first cell alone.
      rows += _lateral(
          f'{foreign}cell.0.fnode.{number}.combine.resample.{level}',
          f'{ours}{way}_{level}')
      node, mine = (f'{foreign}cell.{{i}}.fnode.{number}',
                    f'{ours}cell_{{i}}/{way}_{level}')
      conv = f'{node}.after_combine.conv'
      rows += (
          (f'{node}.combine.edge_weights', f'{mine}/weights', COPY),
          (f'{conv}.conv_dw.weight', f'{mine}/depthwise/kernel', CONV),
          *conv_norm_rows((f'{conv}.conv_pw', f'{conv}.bn'),
                          (f'{mine}/pointwise', f'{mine}/norm')),
          (f'{conv}.conv_pw.bias', f'{mine}/pointwise/bias', VECTOR))
  return rows


def _lateral(theirs, ours):
  return (*linear_rows(f'{theirs}.conv.conv', f'{ours}/conv', CONV),
          *conv_norm_rows((f'{theirs}.conv.conv', f'{theirs}.conv.bn'),
                          (f'{ours}/conv', f'{ours}/norm'))[1:])


TABLE = (*timm_efficientnet.trunk_rows('backbone.', 'trunk/'), *bifpn_rows())
IGNORED = (r'.*\.num_batches_tracked', r'class_net\..*', r'box_net\..*')
PARTIAL = True
