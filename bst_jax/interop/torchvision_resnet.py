"""torchvision's ResNet with a pyramid <-> a detector's `trunk` and `fpn`.

`trunk` is layers/resnet.py's, `fpn` layers/fpn.py's: with top='p5' for the
first version of RetinaNet there, top='c5' for the second. The published weights of
the first version, of COCO, are run there with an eps of 0 in all normalisations.
"""
from bst_jax.interop.core import CONV, conv_norm_rows, linear_rows, Row

_STAGES = 4
# Grids that a pyramid may read, and the convolutions of a bottleneck.
_GRIDS, _CONVS = 4, 3


def trunk_rows(foreign: str = '', ours: str = '') -> tuple[Row, ...]:
  """The rows of ResNet-50, -101 and -152, without the head.

  Args:
    foreign: what stands before torchvision's names, as `backbone.body.`.
    ours: what stands before our paths, as `trunk/`.
  """
  rows = conv_norm_rows((f'{foreign}conv1', f'{foreign}bn1'),
                        (f'{ours}stem', f'{ours}stem_norm'))
  for stage in range(1, _STAGES + 1):
    theirs, block = f'{foreign}layer{stage}.{{i}}', f'{ours}stage{stage}_{{i}}'
    for n in range(1, _CONVS + 1):
      rows += conv_norm_rows((f'{theirs}.conv{n}', f'{theirs}.bn{n}'),
                             (f'{block}/conv{n}', f'{block}/norm{n}'))
    rows += conv_norm_rows(
        (f'{theirs}.downsample.0', f'{theirs}.downsample.1'),
        (f'{block}/shortcut', f'{block}/shortcut_norm'))
  return rows


def fpn_rows(foreign: str = '', ours: str = '') -> tuple[Row, ...]:
  """The rows of a pyramid and of the two levels on top.

  Args:
    foreign: what stands before torchvision's names, as `backbone.fpn.`.
    ours: what stands before our paths, as `fpn/`.
  """
  rows = ()
  for n in range(_GRIDS):
    rows += linear_rows(f'{foreign}inner_blocks.{n}.0', f'{ours}inner_{n}', CONV)
    rows += linear_rows(f'{foreign}layer_blocks.{n}.0', f'{ours}outer_{n}', CONV)
  for n, name in enumerate(('p6', 'p7')):
    rows += linear_rows(f'{foreign}extra_blocks.{name}', f'{ours}top_{n}', CONV)
  return rows


TABLE = (*trunk_rows('backbone.body.', 'trunk/'),
         *fpn_rows('backbone.fpn.', 'fpn/'))
IGNORED = (r'.*\.num_batches_tracked',)
# Versions before 0.13 named the convolutions of a pyramid without a number.
RENAMES = ((r'((?:inner|layer)_blocks\.\d+)\.(weight|bias)$', r'\1.0.\2'),)
PARTIAL = True
