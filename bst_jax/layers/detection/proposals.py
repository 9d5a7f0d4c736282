"""Boxes that may hold an object, from what a network says of all anchors."""
from collections.abc import Sequence

from bst_jax.layers.detection import boxes as boxes_lib
from bst_jax.layers.detection import nms
import jax
import jax.numpy as jnp

LEAST = 1e-3  # Pixels that a side must have, as in torchvision.


def of_levels(objectness: Sequence[jax.Array], deltas: Sequence[jax.Array],
              anchors: Sequence[jax.Array], extent: jax.Array, each: int,
              count: int, threshold: float = 0.7, least: float = LEAST,
              convention: str = 'modern'
              ) -> tuple[jax.Array, jax.Array, jax.Array]:
  """The surest boxes of a picture, overlapping little within a level.

  Args:
    objectness: float[A] of every level, logits.
    deltas: float[A, 4] likewise, see `boxes.decode`.
    anchors: float[A, 4] likewise.
    extent: [2], height and width of the picture on its canvas.
    each: boxes of a level that are looked at, at most.
    count: R, boxes of all levels.
    threshold: overlap above which the less sure of two of a level goes.
    least: pixels that both sides must have, 0 in the 'legacy' convention.
    convention: of `boxes.CONVENTIONS`.

  Returns:
    float[R, 4], logits float[R] in falling order, and bool[R], false where
    there are fewer. No gradient reaches them.

  Reference: Ren et al., "Faster R-CNN", NeurIPS 2015, section 3.3; by level as
    Lin et al., "Feature Pyramid Networks", CVPR 2017, section 4.1.
  """
  found = []
  for logits, said, first in zip(objectness, deltas, anchors, strict=True):
    logits, place = jax.lax.top_k(logits, min(each, logits.shape[0]))
    boxes = boxes_lib.clip(boxes_lib.decode(
        said[place], jnp.asarray(first)[place], convention=convention), extent,
                           convention)
    there = (boxes_lib.sides(boxes, convention) >= least).all(-1)
    found.append((boxes, logits, nms.suppress(
        boxes, logits, there, threshold, convention=convention)))
  boxes, logits, keep = (jnp.concatenate(parts) for parts in zip(*found))
  place, valid = nms.first(keep, logits, count)
  return tuple(map(jax.lax.stop_gradient, (
      jnp.where(valid[:, None], boxes[place], 0),
      jnp.where(valid, logits[place], -jnp.inf), valid)))
