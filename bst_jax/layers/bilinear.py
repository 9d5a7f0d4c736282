"""Features of a grid at points between its cells."""
from bst_jax.layers.tokens import gather_tokens
import jax
import jax.numpy as jnp


def sample(grid: jax.Array, points: jax.Array) -> jax.Array:
  """Means of the four cells around each point, the nearer the heavier.

  What lies outside counts as zeros, cell by cell: a point half a cell beyond
  the border has half of the border's features.

  Args:
    grid: float[B, h, w, d].
    points: float32[B, n, 2], row and column, in cells; (0, 0) is the first
      cell itself. Gradients reach them.

  Returns:
    float[B, n, d] in the dtype of the grid.
  """
  batch, height, width, size = grid.shape
  cells = grid.reshape(batch, -1, size)
  low = jnp.floor(jax.lax.stop_gradient(points))
  share = points - low
  total = 0.0
  for down in (0, 1):
    for right in (0, 1):
      row, column = low[..., 0] + down, low[..., 1] + right
      inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
      near = jnp.abs(1 - down - share[..., 0]) * jnp.abs(
          1 - right - share[..., 1])
      index = (jnp.clip(row, 0, height - 1) * width
               + jnp.clip(column, 0, width - 1)).astype(jnp.int32)
      total += (jnp.where(inside, near, 0.0)[..., None]
                * gather_tokens(cells, index))
  return total.astype(grid.dtype)
