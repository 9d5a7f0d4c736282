"""The first author's detector of MiniVLM <-> models/tee.py.

The names are those of a fork of maskrcnn-benchmark, whose trunk is
efficientnet_pytorch's with a `.conv` behind the names of convolutions. No weights
of it are published: the table follows its code. Its levels are numbered from 3
on, whether the finest has cells of 4 pixels or of 8. Its features of a region
stand before the embedding of its class where attributes are read.

Reference: Wang et al., "MiniVLM: A Smaller and Faster Vision-Language Model",
  arXiv 2012.06946, section 3.1.
"""
from collections.abc import Collection

from bst_jax.interop import efficientnet_pytorch
from bst_jax.interop.core import (
  CONV,
  conv_norm_rows,
  COPY,
  linear_rows,
  Op,
  Row,
  VECTOR,
)

_TRUNK = 'backbone.backbone_net.model.'
_FINEST = 3  # What the finest level is called.
_DOWN, _UP = (3, 2, 1, 0), (1, 2, 3, 4)
# Of the first cell: the way, the level and what stands behind the level's name.
_LATERALS = (*(('down', level, '_down_channel') for level in range(4)),
             *(('up', level, '_down_channel_2') for level in (1, 2)))
# What a pooled region is flattened to: channels, then bins, in one axis.
_POOLED = Op(
    lambda x, ours: CONV.read(x.reshape(CONV.shape(ours)), ours),
    lambda x: CONV.write(x).reshape(x.shape[-1], -1),
    lambda ours: (ours[3], ours[0] * ours[1] * ours[2]))


def bifpn_rows(foreign: str = 'backbone.bifpn.', ours: str = 'bifpn/'
               ) -> tuple[Row, ...]:
  """The rows of a BiFPN, which begins at either level.

  Args:
    foreign: what stands before the foreign names.
    ours: what stands before our paths.
  """
  rows = _lateral(f'{foreign}0.p5_to_p6', f'{ours}above_2')
  for way, level, ending in _LATERALS:
    rows += _lateral(f'{foreign}0.p{_FINEST + level}{ending}',
                     f'{ours}{way}_{level}')
  for way, levels, weights in (('down', _DOWN, 'w1'), ('up', _UP, 'w2')):
    theirs = 'up' if way == 'down' else 'down'  # Finer is up there.
    for level in levels:
      number, mine = _FINEST + level, f'{ours}cell_{{i}}/{way}_{level}'
      node = f'{foreign}{{i}}.conv{number}_{theirs}'
      rows += (
          (f'{foreign}{{i}}.p{number}_{weights}', f'{mine}/weights', COPY),
          (f'{node}.depthwise_conv.conv.weight', f'{mine}/depthwise/kernel', CONV),
          *conv_norm_rows((f'{node}.pointwise_conv.conv', f'{node}.bn'),
                          (f'{mine}/pointwise', f'{mine}/norm')),
          (f'{node}.pointwise_conv.conv.bias', f'{mine}/pointwise/bias', VECTOR))
  return rows


def _lateral(theirs, ours):
  return (*conv_norm_rows((f'{theirs}.0.conv', f'{theirs}.1'),
                          (f'{ours}/conv', f'{ours}/norm')),
          (f'{theirs}.0.conv.bias', f'{ours}/conv/bias', VECTOR))


def TABLE(paths: Collection[str] | None = None) -> tuple[Row, ...]:
  """The rows of a detector with these parameters."""
  heads = 'roi_heads.'
  return (
      *efficientnet_pytorch.trunk_rows(paths, _TRUNK, 'trunk/'), *bifpn_rows(),
      *linear_rows('rpn.head.cls_logits', 'objectness', CONV),
      *linear_rows('rpn.head.bbox_pred', 'deltas', CONV),
      *linear_rows(f'{heads}box.feature_extractor.fc6', 'fc6', _POOLED),
      *linear_rows(f'{heads}box.feature_extractor.fc7', 'fc7'),
      *linear_rows(f'{heads}box.predictor.cls_score', 'classes'),
      *linear_rows(f'{heads}box.predictor.bbox_pred', 'boxes'),
      (f'{heads}attribute.predictor.cls_embedding.weight',
       'class_embedding/table', COPY),
      *linear_rows(f'{heads}attribute.predictor.fc_attr', 'attribute_fc'),
      *linear_rows(f'{heads}attribute.predictor.attr_score', 'attributes'))


# The convolution behind the trunk is no part of the detector.
IGNORED = (r'.*\.num_batches_tracked',
           r'backbone\.backbone_net\.model\.(_conv_head|_bn1|_fc)\..*')
RENAMES = ((r'^(backbone\.backbone_net\.model\..*'
            r'_(?:conv|conv_stem|conv_head|se_reduce|se_expand))\.conv\.', r'\1.'),)
