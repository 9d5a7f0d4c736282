"""Features of boxes from a pyramid: RoIAlign by gather, at a fixed shape.

Reference: He et al., "Mask R-CNN", ICCV 2017, section 3; levels as Lin et al.,
  "Feature Pyramid Networks for Object Detection", CVPR 2017, equation 1.
"""
from collections.abc import Sequence
import math

from bst_jax.layers.detection import boxes as boxes_lib
import jax
import jax.numpy as jnp
import numpy as np

# A box of this side lies on this level, where stride 2 ** level is meant.
_SIDE, _LEVEL = 224, 4
_TINY = 1e-6


def level_of(boxes: jax.Array, strides: Sequence[int],
             convention: str = 'modern') -> jax.Array:
  """int32[N], on which of a pyramid's levels each of float[N, 4] is looked up.

  Args:
    boxes: in pixels.
    strides: of the levels, powers of two, each twice the one before.
    convention: of `boxes.CONVENTIONS`.
  """
  low, high = (int(math.log2(strides[i])) for i in (0, -1))
  if list(strides) != [2 ** i for i in range(low, low + len(strides))]:
    raise ValueError(
        f'boxes were to find their levels by strides {tuple(strides)}, but '
        'levels follow from powers of two, each twice the one before; give such '
        'strides, or `levels` to `pooled`.')
  side = jnp.sqrt(boxes_lib.area(boxes, convention))
  found = jnp.floor(_LEVEL + jnp.log2(side / _SIDE + _TINY))
  return (jnp.clip(found, low, high) - low).astype(jnp.int32)


def pooled(pyramid: Sequence[jax.Array], boxes: jax.Array,
           strides: Sequence[int], size: int = 7, ratio: int = 2,
           aligned: bool = False, levels: jax.Array | None = None
           ) -> jax.Array:
  """Features of boxes: bilinear samples, averaged in size x size bins.

  Args:
    pyramid: float[h, w, c] of every level, the finest first.
    boxes: float[N, 4], in pixels. No gradient reaches them.
    strides: of the levels.
    size: bins along a side.
    ratio: samples along a side of a bin.
    aligned: boxes are shifted by half a place; else sides are at least one
      place long.
    levels: int[N], where each is looked up; None: see `level_of`.

  Returns:
    float[N, size, size, c]; samples that lie more than a place beside a map
    count as zeros.
  """
  if len(pyramid) != len(strides):
    raise ValueError(
        f'boxes were to be looked up on {len(pyramid)} maps, but '
        f'{len(strides)} strides were given; give one for each map.')
  boxes = jax.lax.stop_gradient(boxes)
  if levels is None:
    levels = level_of(boxes, strides)
  shapes = jnp.array([level.shape[:2] for level in pyramid], jnp.int32)
  areas = [level.shape[0] * level.shape[1] for level in pyramid]
  offsets = jnp.array([sum(areas[:i]) for i in range(len(areas))], jnp.int32)
  table = jnp.concatenate([
      level.reshape(-1, level.shape[-1]) for level in pyramid])
  scale = jnp.array([1 / stride for stride in strides], boxes.dtype)[levels]
  height, width = shapes[levels].T
  rows, columns = (
      _samples(boxes[:, i], boxes[:, i + 2], scale, sides, size, ratio, aligned)
      for i, sides in ((1, height), (0, width)))
  wide = lambda x: x[:, None, None, None, None]
  place = (wide(offsets[levels]) + rows[0][:, :, None, :, None] * wide(width)
           + columns[0][:, None, :, None])       # [N, size, size, 2 ratio, 2 ratio]
  weight = rows[1][:, :, None, :, None] * columns[1][:, None, :, None]
  shape, reads = (boxes.shape[0], size, size), 4 * ratio ** 2
  # A product of each bin's places: sums of whole grids of samples took three
  # times as long on a CPU.
  return jnp.matmul(
      weight.reshape(*shape, 1, reads).astype(table.dtype),
      table[place.reshape(*shape, reads)], precision='highest')[..., 0, :]


def _samples(low, high, scale, length, size, ratio, aligned):
  """Along one side, the places about every sample of a bin with their weights.

  Returns:
    int32[N, size, 2 ratio] and float[N, size, 2 ratio], whose sum is 1 where all
    samples lie on the map.
  """
  start = low * scale - (0.5 if aligned else 0.0)
  extent = (high - low) * scale
  if not aligned:
    extent = jnp.maximum(extent, 1)
  # Of numpy: of traced integers `//` and `%` cannot be exported.
  steps = np.arange(size * ratio)
  bin_ = (extent / size)[:, None]
  # In this order, as rounding far beside a map shows.
  at = start[:, None] + np.float32(steps // ratio) * bin_ + np.float32(
      steps % ratio + 0.5) * bin_ / ratio
  length = length[:, None]
  seen = (at >= -1) & (at <= length)
  at = jnp.maximum(at, 0)
  lower = jnp.floor(at).astype(jnp.int32)
  edge = lower >= length - 1
  lower = jnp.where(edge, length - 1, lower)
  upper = jnp.where(edge, length - 1, lower + 1)
  share = jnp.where(edge, 0, at - lower)
  zero = jnp.zeros_like(share)
  bins = lambda lower, upper: jnp.concatenate([
      each.reshape(-1, size, ratio) for each in (lower, upper)], -1)
  return bins(lower, upper), bins(
      jnp.where(seen, 1 - share, zero), jnp.where(seen, share, zero)) / ratio
