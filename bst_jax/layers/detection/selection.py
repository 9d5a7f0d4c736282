"""What a detector says of a picture: a few boxes, each of one class."""
from collections.abc import Sequence
from typing import NamedTuple

from bst_jax.layers.detection import boxes as boxes_lib
from bst_jax.layers.detection import nms
import jax
import jax.numpy as jnp

_FAINT = 0.01  # Share of the threshold below which a box is not looked at.
WEIGHTS = (10.0, 10.0, 5.0, 5.0)  # Of the second stage's boxes.


class Found(NamedTuple):
  """M boxes of a picture, the surest first.

  Attributes:
    boxes: float[M, 4], in pixels of the canvas; 0 where there are fewer.
    scores: float[M].
    classes: int32[M], from 0, without the background.
    valid: bool[M].
    place: int32[M], of the proposal, or anchor, that each was made of.
  """

  boxes: jax.Array
  scores: jax.Array
  classes: jax.Array
  valid: jax.Array
  place: jax.Array


def regions(proposals: jax.Array, valid: jax.Array, logits: jax.Array,
            deltas: jax.Array, extent: jax.Array, count: int = 100,
            threshold: float = 0.2, least: int = 10, overlap: float = 0.5,
            weights: Sequence[float] = WEIGHTS,
            convention: str = 'modern') -> Found:
  """Regions of a picture for a model that reads them: one class each.

  Args:
    proposals: float[R, 4].
    valid: bool[R].
    logits: float[R, C + 1], background first.
    deltas: float[R, 4], of a proposal whatever its class, see `boxes.decode`.
    extent: [2], height and width of the picture.
    count: M at most.
    threshold: of the probability of the best class; where fewer than `least`
      reach it, the best `least` are kept.
    least: see above.
    overlap: above which the less sure of two goes, whatever their classes.
    weights: of deltas.
    convention: of `boxes.CONVENTIONS`.

  Reference: Anderson et al., "Bottom-Up and Top-Down Attention", CVPR 2018,
    section 3.1; classes share one suppression as in the released extractor of
    VinVL (Zhang et al., CVPR 2021).
  """
  # Not `softmax`: for ONNX that is an operator, of a batch but not of a vmap.
  shares = jnp.exp(jax.nn.log_softmax(logits))[:, 1:]
  scores, classes = shares.max(-1), shares.argmax(-1).astype(jnp.int32)
  boxes = boxes_lib.clip(boxes_lib.decode(
      deltas, proposals, weights, convention), extent, convention)
  keep = nms.suppress(boxes, scores, valid & (scores > _FAINT * threshold),
                      overlap, convention=convention)
  place, there = nms.first(keep, scores, count)
  sure = (keep & (scores >= threshold)).sum()
  there &= jnp.arange(count) < jnp.maximum(sure, least)
  return _found(boxes, scores, classes, place, there)


def geometry(boxes: jax.Array, extent: jax.Array) -> jax.Array:
  """float[..., 6]: x1 y1 x2 y2, width and height, as shares of the picture.

  Args:
    boxes: float[..., 4], in pixels.
    extent: [2], height and width of the picture.

  Reference: Li et al., "Oscar: Object-Semantics Aligned Pre-training for
    Vision-Language Tasks", ECCV 2020, positions of regions.
  """
  sides = jnp.asarray(extent, boxes.dtype)[::-1]
  corners = boxes / jnp.concatenate([sides, sides])
  return jnp.concatenate(
      [corners, corners[..., 2:] - corners[..., :2]], -1)


def by_class(logits: Sequence[jax.Array], deltas: Sequence[jax.Array],
             anchors: Sequence[jax.Array], extent: jax.Array,
             count: int = 100, each: int = 1000, threshold: float = 0.05,
             overlap: float = 0.5) -> Found:
  """Objects of a picture, from what is said of every anchor and class.

  Args:
    logits: float[A, C] of every level.
    deltas: float[A, 4] of every level.
    anchors: float[A, 4] of every level.
    extent: [2], height and width of the picture.
    count: M at most.
    each: pairs of an anchor and a class of a level that are looked at.
    threshold: of probability.
    overlap: above which the less sure of two of a class goes.

  Reference: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017,
    section 4, inference.
  """
  parts, before = [], 0
  for said, moved, first in zip(logits, deltas, anchors, strict=True):
    classes = said.shape[1]
    scores, place = jax.lax.top_k(
        jax.nn.sigmoid(said).reshape(-1), min(each, said.size))
    anchor = jax.lax.div(place, classes)
    boxes = boxes_lib.clip(boxes_lib.decode(
        moved[anchor], jnp.asarray(first)[anchor]), extent)
    parts.append((boxes, scores, (place - anchor * classes).astype(jnp.int32),
                  anchor + before))
    before += said.shape[0]
  boxes, scores, classes, anchor = (jnp.concatenate(x) for x in zip(*parts))
  keep = nms.suppress(boxes, scores, scores > threshold, overlap, classes)
  place, there = nms.first(keep, scores, count)
  found = _found(boxes, scores, classes, place, there)
  return found._replace(place=anchor[place].astype(jnp.int32))


def _found(boxes, scores, classes, place, there):
  return Found(*map(jax.lax.stop_gradient, (
      jnp.where(there[:, None], boxes[place], 0),
      jnp.where(there, scores[place], 0),
      jnp.where(there, classes[place], 0), there, place)))
