"""A random choice of boxes to learn from, of a fixed number."""
from bst_jax.layers.detection.assignment import BACKGROUND
import jax
import jax.numpy as jnp


def chosen(found: jax.Array, key: jax.Array, count: int, share: float
           ) -> tuple[jax.Array, jax.Array]:
  """Boxes of objects, of which there are few, and background to fill up.

  Args:
    found: int32[N], as of `assignment.matched`.
    key: of what is drawn.
    count: of boxes, if there are as many.
    share: of it that objects have at most.

  Returns:
    bool[N] of the boxes of objects, and bool[N] of the background. Each of
    either kind is as likely.

  Reference: Ren et al., "Faster R-CNN", NeurIPS 2015, section 3.1.3.
  """
  draw = jax.random.uniform(key, found.shape)
  positive, negative = found >= 0, found == BACKGROUND
  most = jnp.minimum(positive.sum(), int(count * share))
  some = positive & (_rank(draw, positive) < most)
  rest = negative & (_rank(draw, negative) < count - most)
  return some, rest


def _rank(draw, some):
  """int[N], the place of each among `some` in the order of the draws."""
  order = jnp.argsort(jnp.where(some, draw, jnp.inf), stable=True)
  return jnp.zeros(len(draw), jnp.int32).at[order].set(
      jnp.arange(len(draw), dtype=jnp.int32))


def slots(taken: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
  """Places int32[count] of what is taken, bool[N], and bool[count]: which are
  real. They stand in order.
  """
  total = taken.shape[0]
  order = jnp.argsort(~taken, stable=True)[:count].astype(jnp.int32)
  found = jnp.zeros(count, jnp.int32).at[:min(count, total)].set(order)
  return found, jnp.arange(count) < taken.sum()
