"""Non-maximum suppression at a fixed shape, equal to the sequential algorithm."""
from bst_jax.layers.detection import boxes as boxes_lib
import jax
import jax.numpy as jnp


def suppress(boxes: jax.Array, scores: jax.Array, valid: jax.Array,
             threshold: float, classes: jax.Array | None = None,
             convention: str = 'modern') -> jax.Array:
  """Which boxes are left when each removes what overlaps it and is less sure.

  A box goes if its overlap with a box that stays, and that comes first, is above
  the threshold. Of equal scores the first of the list comes first.

  Args:
    boxes: float[N, 4].
    scores: float[N].
    valid: bool[N]; others neither stay nor remove.
    threshold: of intersection over union.
    classes: int[N]: boxes remove those of their own class alone; None: all are
      of one.
    convention: of `boxes.CONVENTIONS`.

  Returns:
    bool[N], in the order of `boxes`.

  Whether a box stays depends on those before it alone. So what this repeats ends,
  after as many rounds as the longest chain of boxes that remove one another, at
  the one answer that the sequential algorithm has.
  """
  boxes, scores = map(jax.lax.stop_gradient, (boxes, scores))
  order = jnp.argsort(jnp.where(valid, -scores, jnp.inf), stable=True)
  boxes, valid = boxes[order], valid[order]
  count = boxes.shape[0]
  removes = boxes_lib.iou(boxes, boxes, convention) > threshold
  if classes is not None:
    same = classes[order]
    removes &= same[:, None] == same
  place = jnp.arange(count)
  removes &= (place[:, None] < place) & valid[:, None]

  def round_(state):
    stays, _ = state
    new = valid & ~(removes & stays[:, None]).any(0)
    return new, (new != stays).any()

  stays, _ = jax.lax.while_loop(
      lambda state: state[1], round_, (valid, jnp.array(True)))
  return jnp.zeros(count, bool).at[order].set(stays)


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
  ranked = jnp.argsort(jnp.where(keep, -scores, jnp.inf), stable=True)
  found = jnp.zeros(count, jnp.int32).at[:min(count, total)].set(
      ranked[:count].astype(jnp.int32))
  return found, jnp.arange(count) < keep.sum()
