"""torchvision's RetinaNet <-> models/retinanet_resnet.py.

Its first version has top='p5', and norm_eps=0 for the published weights; its
second top='c5' and groups=32. Classes have the numbers of its files: those of
COCO's weights are 91, of which the first is none.
"""
from bst_jax.interop.core import CONV, linear_rows, norm_rows, Row
from bst_jax.interop.torchvision_resnet import fpn_rows, trunk_rows
from bst_jax.interop.torchvision_resnet import RENAMES as _PYRAMID

# Where each tower lies there, what it ends with there, and its name here.
_TOWERS = (('head.classification_head', 'cls_logits', 'classes'),
           ('head.regression_head', 'bbox_reg', 'boxes'))
_DEPTH = 4


def head_rows() -> tuple[Row, ...]:
  """The rows of both towers; with normalisations, convolutions have no bias."""
  rows = ()
  for foreign, last, name in _TOWERS:
    rows += (
        *linear_rows(f'{foreign}.conv.{{i}}.0', f'head/{name}/conv_{{i}}', CONV),
        *norm_rows(f'{foreign}.conv.{{i}}.1', f'head/{name}/norm_{{i}}'),
        *linear_rows(f'{foreign}.{last}', f'head/{name}/out', CONV))
  return rows


TABLE = (*trunk_rows('backbone.body.', 'trunk/'),
         *fpn_rows('backbone.fpn.', 'fpn/'), *head_rows())
IGNORED = (r'.*\.num_batches_tracked',)
# Versions before 0.13 counted the activations between the convolutions, too.
RENAMES = (*_PYRAMID, *(
    (rf'(_head\.conv)\.{2 * i}\.(weight|bias)$', rf'\1.{i}.0.\2')
    for i in range(_DEPTH)))
PARTIAL = False
