"""Sequences of tokens with padding: masks and masked softmax."""
from bst_jax.elastic import check_name
from bst_jax.layers.linear import lean, wide
import jax
import jax.numpy as jnp
import numpy as np

# Finite, so that a row without any valid key attends evenly and stays finite.
FILL = -1e9


def masked_softmax(scores: jax.Array, mask: jax.Array | None,
                   axis: int = -1) -> jax.Array:
  """Softmax over the true places of a boolean mask, in float32 at least.

  Args:
    scores: float[...].
    mask: bool that broadcasts to scores, true = attend; None attends to all.
    axis: of the softmax.

  Returns:
    float[...] in the dtype of scores. A row without a true place is even.
  """
  def run(scores, mask):
    x = wide(scores)
    if mask is not None:
      x = jnp.where(mask, x, FILL)
    return jax.nn.softmax(x, axis).astype(scores.dtype)

  # What is kept is the scores as they are, not in float32.
  return lean(run)(scores, mask)


def gated_softmax(scores: jax.Array, gate: jax.Array,
                  eps: float = 0.0) -> jax.Array:
  """Softmax whose terms are multiplied by gates that gradients may pass.

  Args:
    scores: float[...].
    gate: float that broadcasts to scores, in 0..1; one of each row is not 0.
    eps: spread evenly over all places, masked or not, beside the sum.

  Returns:
    float[...] in the dtype of scores; with gates of 0 and 1 and no eps it is
    `masked_softmax`, in which a gate has no gradient.
  """
  x, real = wide(scores), gate > 0
  top = jax.lax.stop_gradient(
      jnp.where(real, x, -jnp.inf).max(-1, keepdims=True))
  # A masked score may lie above, where its exponential would overflow.
  x = jnp.where(real, x - top, jnp.minimum(x - top, 0.0))
  terms = jnp.exp(x) * gate
  total = terms.sum(-1, keepdims=True)
  return ((terms + eps / terms.shape[-1]) / (total + eps)).astype(scores.dtype)


def gather_tokens(x: jax.Array, index: jax.Array) -> jax.Array:
  """Rows int32[B, n] of float[B, N, ...] -> float[B, n, ...]."""
  index = index.reshape(index.shape + (1,) * (x.ndim - 2))
  return jnp.take_along_axis(x, index, axis=1)


# How the places of a grid come to another size, as torch names them:
# interpolate(mode='bilinear'), (mode='bicubic') and (mode='bicubic',
# antialias=True), all with align_corners=False.
RESIZES = ('bilinear', 'bicubic', 'bicubic_antialias')


def resize_positions(table: jax.Array, lead: int, old: tuple[int, int],
                     new: tuple[int, int], how: str = 'bilinear'
                     ) -> jax.Array:
  """Places of a grid of another size, with half-pixel centres.

  Args:
    table: float[lead + h * w, d], the places of `lead` tokens, which stay as
      they are, and of the cells of a grid, row by row.
    lead: tokens in front of the grid.
    old, new: height and width of the grid.
    how: of `RESIZES`. The two cubic ones differ in their kernels too: -0.75 is
      the parameter of the plain one, -0.5 that of the other, as in torch.

  Reference: DeiT's fine-tuning at a higher resolution. transformers resizes
    by `bicubic`, DINOv2 with registers and timm by `bicubic_antialias`.
  """
  check_name(how, RESIZES, 'way to resize places')
  cells = table.shape[0] - lead
  if old[0] * old[1] != cells:
    raise ValueError(f'{cells} places are no grid of {old[0]} x {old[1]}; give '
                     'the sides of the grid that they are of.')
  size = table.shape[1]
  grid = table[lead:].reshape(*old, size)
  if how == 'bicubic':
    down, across = map(_cubic, old, new)
    grid = jnp.einsum('ih,jw,hwd->ijd', down, across, grid,
                      precision=jax.lax.Precision.HIGHEST)
  else:
    method = 'bilinear' if how == 'bilinear' else 'cubic'
    grid = jax.image.resize(grid, (*new, size), method,
                            antialias=how == 'bicubic_antialias')
  return jnp.concatenate([table[:lead], grid.reshape(-1, size)])


def _cubic(old, new):
  """float32[new, old], the weights of Keys' cubic convolution, a = -0.75.

  Cells beyond the border count as the cell at it.
  """
  a = -0.75
  centres = (np.arange(new) + 0.5) * (old / new) - 0.5
  first = np.floor(centres).astype(int)
  weights = np.zeros((new, old))
  for tap in range(-1, 3):
    x = np.abs(centres - first - tap)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = a * (((x - 5) * x + 8) * x - 4)
    cell = np.clip(first + tap, 0, old - 1)
    np.add.at(weights, (np.arange(new), cell), np.where(x <= 1, near, far))
  return weights.astype(np.float32)


def nonzero_rows(features: jax.Array) -> jax.Array:
  """bool[..., N]: rows of float[..., N, F] that are not padding."""
  return (features != 0).any(-1)


def per_row(x: jax.Array, rows: int) -> jax.Array:
  """Each picture once for every text about it, or each text for its pictures.

  Args:
    x: [n, ...]; what belongs to one of them stands together in a batch.
    rows: of texts with their pictures; a multiple of n.
  """
  if x.shape[0] == rows:
    return x
  if rows % x.shape[0]:
    raise ValueError(
        f'{rows} texts, or pictures, do not split evenly over {x.shape[0]}; '
        'what belongs together stands together in a batch, as many for each.')
  return jnp.repeat(x, rows // x.shape[0], axis=0)
