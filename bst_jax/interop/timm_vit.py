"""ViT and DeiT of timm, of the official DeiT and of the released ATS.

All <-> models/vit.py; distilled variants have rows of their own, which models
without a second token leave out.
"""
import math

from absl import logging
from bst_jax.interop.core import (
  CONV,
  COPY,
  LINEAR,
  LINEAR_FROM_HEADS,
  linear_rows,
  lone,
  norm_rows,
  VECTOR,
)
from bst_jax.layers.tokens import resize_positions
import numpy as np

_OURS = 'encoder/layer_{i}'


def frame_rows(token, second, places, patches, norm):
  """What stands around the layers, by its foreign names."""
  return ((token, 'class_token', lone(2)),
          (second, 'distillation_token', lone(2)),
          (places, 'positions', lone(1)),
          *linear_rows(patches, 'patches/proj', CONV),
          *norm_rows(norm, 'norm'))


def scale_rows(first, second):
  """LayerScale's gains of a layer, by their foreign names."""
  return ((first, f'{_OURS}/layer_scale1', COPY),
          (second, f'{_OURS}/layer_scale2', COPY))


def adapter(places, kernel):
  """What brings old and smaller checkpoints to our sizes; see `core`.

  A flattened patch kernel is unfolded; places of another grid are resized to
  ours, where both are known or square. Where the tokens in front have none,
  theirs are zero.

  Args:
    places, kernel: foreign names of the positions and of the patches' weights.
  """
  def adapt(foreign, target, resize='bilinear', grids=None):
    new = dict(foreign)
    shape = target['patches']['proj']['kernel'].shape       # [p, p, 3, D]
    if kernel in new and new[kernel].ndim == 2:
      new[kernel] = new[kernel].reshape(
          -1, shape[2], *shape[:2])
    if places not in new:
      return new
    lead = 1 + ('distillation_token' in target)
    want = target['positions'].shape[0] - lead
    # As many as there are cells: the tokens in front have none.
    count, cells = new[places].shape[1], math.prod(grids[0]) if grids else want
    if count - lead != cells and count in (cells, want):
      new[places] = np.pad(new[places], ((0, 0), (lead, 0), (0, 0)))
    have = new[places].shape[1] - lead
    grids = _grids(grids, have, want)
    if grids and grids[0] != grids[1]:
      logging.info('The places of %d x %d patches are resized to %d x %d, %s.',
                   *grids[0], *grids[1], resize)
      new[places] = np.asarray(resize_positions(
          new[places][0], lead, *grids, resize))[None]
    return new

  return adapt


def _grids(known, have, want):
  """Rows and columns of so many places, theirs and ours; None if not known."""
  if known and tuple(map(math.prod, known)) == (have, want):
    return known
  sides = tuple(math.isqrt(max(cells, 0)) for cells in (have, want))
  square = all(side > 0 and side ** 2 == cells
               for side, cells in zip(sides, (have, want)))
  return tuple((side, side) for side in sides) if square else None


_BLOCK = 'blocks.{i}'
_FUSED = lambda leaf: tuple(
    f'{_OURS}/attention/{name}/{leaf}' for name in ('query', 'key', 'value'))

TABLE = (
    *scale_rows(f'{_BLOCK}.ls1.gamma', f'{_BLOCK}.ls2.gamma'),
    ('reg_token', 'register_tokens', lone(1)),
    *frame_rows('cls_token', 'dist_token', 'pos_embed', 'patch_embed.proj',
                'norm'),
    *norm_rows(f'{_BLOCK}.norm1', f'{_OURS}/norm1'),
    (f'{_BLOCK}.attn.qkv.weight', _FUSED('kernel'), LINEAR),
    (f'{_BLOCK}.attn.qkv.bias', _FUSED('bias'), VECTOR),
    *linear_rows(f'{_BLOCK}.attn.proj', f'{_OURS}/attention/out',
                 LINEAR_FROM_HEADS),
    *norm_rows(f'{_BLOCK}.norm2', f'{_OURS}/norm2'),
    *linear_rows(f'{_BLOCK}.mlp.fc1', f'{_OURS}/ffn/fc1'),
    *linear_rows(f'{_BLOCK}.mlp.fc2', f'{_OURS}/ffn/fc2'),
    *linear_rows('head', 'head'),
    *linear_rows('head_dist', 'distilled_head'),
)
# A frozen buffer of zeros in the sampling blocks of the released ATS.
IGNORED = (r'blocks\.\d+\.attn\.out_zero_mask',)
RENAMES = ((r'^module\.', ''),)
ADAPT = adapter('pos_embed', 'patch_embed.proj.weight')
PARTIAL = False
