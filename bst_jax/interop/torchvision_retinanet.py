"""torchvision's RetinaNet <-> models/retinanet_resnet.py.

Its first version has top='p5', and norm_eps=0 for the published weights; its
second top='c5' and groups=32. Their 91 classes are COCO's numbers, of which 11
name nothing: a model of 80 classes takes the others, in their order.
"""
from collections.abc import Mapping
from typing import Any

from bst_jax.elastic import flatten
from bst_jax.interop.core import CONV, linear_rows, norm_rows, Row
from bst_jax.interop.torchvision_resnet import fpn_rows, trunk_rows
from bst_jax.interop.torchvision_resnet import RENAMES as _PYRAMID
import numpy as np

# Where each tower lies there, what it ends with there, and its name here.
_TOWERS = (('head.classification_head', 'cls_logits', 'classes'),
           ('head.regression_head', 'bbox_reg', 'boxes'))
_DEPTH = 4
_LAST = ('head.classification_head.cls_logits.weight',
         'head.classification_head.cls_logits.bias')
# COCO's numbers, with 0 for the background, and those that no class has.
_NUMBERS, _NONE = 91, (0, 12, 26, 29, 30, 45, 66, 68, 69, 71, 83)


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


def ADAPT(foreign: Mapping[str, np.ndarray], target: Any
          ) -> dict[str, np.ndarray]:
  """COCO's 91 numbers as the 80 classes that there are, if ours are 80.

  Args:
    foreign: tensors by name.
    target: shapes of our parameters.
  """
  new, (weight, bias) = dict(foreign), _LAST
  flat = flatten(target)
  wanted = flat['head/classes/out/bias'].shape[0]
  anchors = flat['head/boxes/out/bias'].shape[0] // 4
  classes = _NUMBERS - len(_NONE)
  if (wanted != anchors * classes or weight not in new or bias not in new
      or len(new[bias]) != anchors * _NUMBERS):
    return new
  for name in _LAST:
    each = new[name].reshape(anchors, _NUMBERS, *new[name].shape[1:])
    new[name] = np.delete(each, _NONE, 1).reshape(wanted, *each.shape[2:])
  return new
