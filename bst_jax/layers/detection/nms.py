"""Suppression of overlapping boxes, the sequential one at a fixed shape."""
from bst_jax.layers.detection import boxes as boxes_lib
import jax
import jax.numpy as jnp
import numpy as np


def suppress(boxes: jax.Array, scores: jax.Array, valid: jax.Array,
             threshold: float, classes: jax.Array | None = None,
             convention: str = 'modern') -> jax.Array:
  """Which boxes are left when each removes what overlaps it and is less sure.

  A box goes if its overlap with a box that stays, and that comes first, is
  above the threshold. Of equal scores the first of the list comes first.

  Args:
    boxes: float[N, 4].
    scores: float[N].
    valid: bool[N]; others neither stay nor remove.
    threshold: of intersection over union; one that is equal to it removes none.
    classes: int[N]: boxes remove those of their own class alone; None: all are
      of one.
    convention: of `boxes.CONVENTIONS`.

  Returns:
    bool[N], in the order of `boxes`.

  Whether a box stays depends on those before it alone. So what this repeats
  ends, after as many rounds as the longest chain of boxes that remove one
  another, at the one answer that the sequential algorithm has. Three boxes in a
  row, of which the middle overlaps both others, with falling scores: all stay;
  the first removes the second and that the third; without the second, the third
  is back.

  Reference: Girshick et al., "Rich feature hierarchies for accurate object
    detection and semantic segmentation", CVPR 2014, section 2.2.
  Differs: the threshold is float32 as overlaps are; torchvision's is a double,
    above which lies an overlap of 2 / 5 if it is 0.4.
  """
  boxes, scores = map(jax.lax.stop_gradient, (boxes, scores))
  place = np.arange(boxes.shape[0])
  removes = boxes_lib.iou(boxes, boxes, convention) > threshold
  if classes is not None:
    removes &= classes[:, None] == classes
  # Compared, not sorted: scatters back from an order are not exported to ONNX.
  before = (scores[:, None] > scores) | (
      (scores[:, None] == scores) & (place[:, None] < place))
  removes &= before

  def round_(state):
    stays, _ = state
    gone = (removes & (stays > 0)[:, None]).any(0)
    return (valid & ~gone).astype(jnp.int32), stays

  # Integers: under vmap the loop chooses by `where`, which ONNX Runtime lacks for
  # booleans.
  start = valid.astype(jnp.int32)
  stays, _ = jax.lax.while_loop(
      lambda state: (state[0] != state[1]).any(), round_, (start, 1 - start))
  return stays > 0


def first(keep: jax.Array, scores: jax.Array,
          count: int) -> tuple[jax.Array, jax.Array]:
  """The surest of what is kept, at a fixed number.

  Args:
    keep: bool[N].
    scores: float[N].
    count: M; more than N are filled up.

  Returns:
    int32[M], places in falling order of scores, and bool[M], false behind the
    last. Of equal scores the first of the list comes first.
  """
  total = keep.shape[0]
  _, ranked = jax.lax.top_k(jnp.where(keep, scores, -jnp.inf),
                            min(count, total))
  found = ranked.astype(jnp.int32)
  if count > total:
    # Concatenated: a `pad` of a batch of any size is not exported to ONNX.
    found = jnp.concatenate([found, jnp.zeros(count - total, jnp.int32)])
  return found, jnp.arange(count) < keep.sum()
