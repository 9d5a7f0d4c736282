"""Boxes as x1 y1 x2 y2 in pixels, and as what a network says of others.

Reference: Girshick et al., "Rich feature hierarchies for accurate object
  detection and semantic segmentation", CVPR 2014, appendix C.
"""
from collections.abc import Sequence
import math

from bst_jax.elastic import check_name
import jax
import jax.numpy as jnp

# Pixels that a side has beyond the difference of its ends: 'modern', a box from
# 0 to 3 is three pixels wide; 'legacy', four, as its last pixel counts.
_EXTRA = {'modern': 0, 'legacy': 1}
CONVENTIONS = tuple(_EXTRA)
# What a network says grows a side by no more than this.
_MOST = math.log(1000 / 16)
_LEAST = 1e-6  # Pixels of a side whose logarithm is taken.


def _extra(convention: str) -> int:
  check_name(convention, CONVENTIONS, 'convention of boxes')
  return _EXTRA[convention]


def sides(boxes: jax.Array, convention: str = 'modern') -> jax.Array:
  """float[..., 2], width and height of boxes float[..., 4], in pixels."""
  return boxes[..., 2:] - boxes[..., :2] + _extra(convention)


def area(boxes: jax.Array, convention: str = 'modern') -> jax.Array:
  """float[...], in square pixels, of boxes float[..., 4].

  A box that is turned inside out has none.
  """
  width, height = jnp.moveaxis(jnp.maximum(sides(boxes, convention), 0), -1, 0)
  return width * height


def _common(one, other, convention):
  """float[N, M], the area that each two boxes share."""
  extra, shared = _extra(convention), 1.0
  # Axis by axis, not as float[N, M, 2]: XLA then writes no matrix in between,
  # and suppression of 5,000 boxes takes 48 MiB instead of 119.
  for axis in (0, 1):
    low = jnp.maximum(one[:, None, axis], other[:, axis])
    high = jnp.minimum(one[:, None, 2 + axis], other[:, 2 + axis])
    shared *= jnp.maximum(high - low + extra, 0)
  return shared


def iou(one: jax.Array, other: jax.Array,
        convention: str = 'modern') -> jax.Array:
  """Intersection over union of float[N, 4] and float[M, 4]: float[N, M].

  Boxes without area share nothing.
  """
  common = _common(one, other, convention)
  union = area(one, convention)[:, None] + area(other, convention) - common
  return jnp.where(union > 0, common / jnp.where(union > 0, union, 1), 0)


def inside(one: jax.Array, other: jax.Array,
           convention: str = 'modern') -> jax.Array:
  """float[N, M], how much of the area of float[N, 4] lies in float[M, 4].

  A share, from 0 to 1; of a box without area it is 0.
  """
  own = area(one, convention)[:, None]
  return jnp.where(own > 0, _common(one, other, convention)
                   / jnp.where(own > 0, own, 1), 0)


def clip(boxes: jax.Array, extent: jax.Array,
         convention: str = 'modern') -> jax.Array:
  """Boxes float[..., 4] within a picture of height and width `extent`, [2]."""
  last = jnp.asarray(extent, boxes.dtype)[::-1] - _extra(convention)
  return jnp.clip(boxes, 0, jnp.concatenate([last, last]))


def _centred(boxes, convention):
  """Centres and sides, float[..., 2] each."""
  extent = sides(boxes, convention)
  return boxes[..., :2] + extent / 2, extent


def encode(boxes: jax.Array, anchors: jax.Array,
           weights: Sequence[float] = (1, 1, 1, 1),
           convention: str = 'modern') -> jax.Array:
  """What a network is to say of anchors, so that they become these boxes.

  Args:
    boxes: float[..., 4].
    anchors: float[..., 4], with sides above 0.
    weights: of x, y, width and height.
    convention: of `CONVENTIONS`.

  Returns:
    float[..., 4]: shifts as shares of the anchor's sides, and logarithms of the
    ratios of sides. Of a box without area they mean nothing, but are finite.
  """
  (centre, extent), (at, own) = (_centred(x, convention)
                                 for x in (boxes, anchors))
  return jnp.concatenate([
      (centre - at) / own, jnp.log(jnp.maximum(extent, _LEAST) / own)],
      -1) * jnp.array(weights, boxes.dtype)


def decode(deltas: jax.Array, anchors: jax.Array,
           weights: Sequence[float] = (1, 1, 1, 1),
           convention: str = 'modern') -> jax.Array:
  """Boxes float[..., 4] of what a network says of anchors, see `encode`.

  A side grows to 62.5 times at most, whatever is said.
  """
  at, own = _centred(anchors, convention)
  deltas = deltas / jnp.array(weights, deltas.dtype)
  centre = at + deltas[..., :2] * own
  extent = own * jnp.exp(jnp.minimum(deltas[..., 2:], _MOST))
  low = centre - extent / 2
  return jnp.concatenate([low, low + extent - _extra(convention)], -1)
