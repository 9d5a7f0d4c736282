"""Grids at other sizes: max pools, and cells that are repeated."""
import jax
import jax.numpy as jnp
import numpy as np

# How zeros (or, in a pool, nothing) stand around a grid: as many on every side,
# or as TensorFlow does, the odd one at the end.
PADDINGS = ('symmetric', 'same')


def around(size: int, padding: str) -> str | int:
  """Padding of a convolution with `size` taps a side, see `convolve`."""
  return 'SAME' if padding == 'same' else (size - 1) // 2


def max_pool(x: jax.Array, size: int = 3, stride: int = 2,
             padding: str = 'symmetric') -> jax.Array:
  """The largest of every window, for each channel; nothing around counts.

  Rows first, then columns, as maxima of shifted grids: padding of a window's
  reduction goes wrong on the way to ONNX.

  Args:
    x: float[B, H, W, c].
    size, stride: cells along a side of a window, and from one to the next.
    padding: of `PADDINGS`.

  Returns:
    float[B, h, w, c], of ceil(H / stride) rows where the size is odd.
  """
  for axis in (1, 2):
    x = _max_along(x, axis, size, stride, padding)
  return x


def _max_along(x, axis, size, stride, padding):
  length = x.shape[axis]
  if padding == 'same':
    count = -(-length // stride)
    missing = max(0, (count - 1) * stride + size - length)
    before = missing // 2
  else:
    before = (size - 1) // 2
    count = (length + 2 * before - size) // stride + 1
  after = max(0, (count - 1) * stride + size - before - length)
  # The nearest cell is in the same window, so that it changes no maximum; what
  # pads by a number is not exported for batches of any size.
  first = jax.lax.slice_in_dim(x, 0, 1, axis=axis)
  final = jax.lax.slice_in_dim(x, length - 1, length, axis=axis)
  padded = jnp.concatenate([first] * before + [x] + [final] * after, axis)
  last = (count - 1) * stride + 1
  taps = [jax.lax.slice_in_dim(padded, i, i + last, stride, axis)
          for i in range(size)]
  result = taps[0]
  for tap in taps[1:]:
    result = jnp.maximum(result, tap)
  return result


def nearest(x: jax.Array, sides: tuple[int, int]) -> jax.Array:
  """A grid at another size: cell i of n is cell floor(i H / n).

  Args:
    x: float[B, H, W, c].
    sides: rows and columns of the result.

  Returns:
    float[B, *sides, c].
  """
  for axis, wanted in zip((1, 2), sides):
    length = x.shape[axis]
    if wanted == length:
      continue
    if wanted % length == 0:
      x = jnp.repeat(x, wanted // length, axis)
    else:
      x = jnp.take(x, np.arange(wanted) * length // wanted, axis=axis)
  return x
