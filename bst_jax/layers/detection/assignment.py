"""Which object each box is to be of, if any.

A number of an object, or one of the two below it.
"""
from bst_jax.layers.detection import boxes as boxes_lib
import jax
import jax.numpy as jnp

BACKGROUND, IGNORED = -1, -2
_CROWD = 0.5  # of a box's area in a region that is left out


def matched(overlaps: jax.Array, valid: jax.Array, high: float, low: float,
            best: bool = False) -> jax.Array:
  """The object of every box, by overlaps.

  Args:
    overlaps: float[N, G], of boxes and objects.
    valid: bool[G], false for objects that are none.
    high: overlap from which a box is of the object that it overlaps most.
    low: below it a box is background; between the two it is left out.
    best: the boxes that overlap an object most are of an object too, however
      little that is: ties count, and each goes to what it overlaps most.

  Returns:
    int32[N], numbers of objects, `BACKGROUND` or `IGNORED`.

  Reference: Ren et al., "Faster R-CNN", NeurIPS 2015, section 3.1.2.
  """
  if not overlaps.shape[1]:
    return jnp.full(overlaps.shape[0], BACKGROUND, jnp.int32)
  overlaps = jax.lax.stop_gradient(jnp.where(valid, overlaps, -1.0))
  most, own = overlaps.max(1), overlaps.argmax(1).astype(jnp.int32)
  found = jnp.where(most >= high, own,
                    jnp.where(most < low, BACKGROUND, IGNORED))
  if best:
    of_object = overlaps.max(0)
    closest = (overlaps == of_object) & valid & (of_object > 0)
    found = jnp.where(closest.any(1), own, found)
  return found


def without_crowds(found: jax.Array, boxes: jax.Array, crowds: jax.Array,
                   valid: jax.Array) -> jax.Array:
  """Background that lies in a crowd is left out: it is neither right nor wrong.

  Args:
    found: int32[N], as of `matched`.
    boxes: float[N, 4].
    crowds: float[C, 4], regions in which objects were not told apart.
    valid: bool[C].

  Returns:
    int32[N]: `IGNORED` where a box was background and one crowd has more than
    half of its area. Boxes of objects stay so, wherever they lie.

  Reference: Lin et al., "Microsoft COCO", ECCV 2014, and its evaluator, which
    measures overlap with a crowd by the area of the box alone.
  """
  if not crowds.shape[0]:
    return found
  share = jnp.where(valid, boxes_lib.inside(boxes, crowds), 0).max(1)
  return jnp.where((found == BACKGROUND) & (share > _CROWD), IGNORED, found)


def within(found: jax.Array, boxes: jax.Array, extent: jax.Array,
           beyond: float = 0.0) -> jax.Array:
  """Boxes that reach beyond the picture are left out.

  Args:
    found: int32[N], as of `matched`.
    boxes: float[N, 4].
    extent: [2], height and width of the picture.
    beyond: pixels that do no harm.
  """
  last = jnp.asarray(extent, boxes.dtype)[::-1] + beyond
  there = (boxes[:, :2] >= -beyond).all(1) & (boxes[:, 2:] <= last).all(1)
  return jnp.where(there, found, IGNORED)
