"""Convolutions, and how they and their gradients are computed on a CPU.

XLA brings a convolution into the form that is fast on CPUs only where it stands
in the outermost program. Within a loop or a branch, as micro-batches and the
drawn submodels of a sandwich are, the gradient of a kernel was 20 to 40 times
slower. Here every gradient is in that form already, or is a matrix product. A
convolution of each channel by itself is slow on CPUs wherever it stands: there
it is a sum of shifted products.
"""
from collections.abc import Callable
import functools
from typing import Any

from bst_jax.elastic import Axis, FULL, Submodel
from bst_jax.layers import platforms
from bst_jax.layers.linear import named, wide
from flax import linen as nn
import jax
import jax.numpy as jnp

_CHANNELS_LAST = ('NHWC', 'HWIO', 'NHWC')
_SIDES = (1, 2)  # The axes of height and width.


class Conv(nn.Module):
  """A square convolution, narrowed where the names of its axes say so.

  Attributes:
    size: taps along a side.
    padding: `SAME`, or zeros added on every side.
    depthwise: every channel by itself, so that `out` is the input's axis too.
    kernel_init: He's where None.
    bias_init: of the bias, if it has one.
  """

  inp: Axis
  out: Axis
  dtype: Any = jnp.float32
  size: int = 3
  stride: int = 2
  padding: str | int = 'SAME'
  use_bias: bool = True
  depthwise: bool = False
  kernel_init: Callable | None = None
  bias_init: Callable = nn.initializers.zeros

  @nn.compact
  def __call__(self, x: jax.Array, *, sub: Submodel = FULL) -> jax.Array:
    """float[B, H, W, c] -> float[B, h, w, f]."""
    window = Axis('window', self.size)
    inp = Axis('pixel', 1) if self.depthwise else self.inp
    kernel = self.param('kernel', named(
        self.kernel_init or nn.initializers.he_normal(), window, window, inp,
        self.out))
    c, f = sub.units(inp), sub.units(self.out)
    kernel = kernel[:, :, :c, :f]
    y = convolve(x.astype(self.dtype), kernel.astype(self.dtype), self.stride,
                 self.padding, self.depthwise)
    if not self.use_bias:
      return y
    bias = self.param('bias', named(self.bias_init, self.out))[:f]
    return y + bias.astype(self.dtype)


def convolve(x: jax.Array, kernel: jax.Array, stride: int, padding: str | int,
             depthwise: bool = False) -> jax.Array:
  """float[B, H, W, c] and float[k, k, c, f] -> float[B, h, w, f].

  Args:
    x: what is convolved.
    kernel: its taps; [k, k, 1, c] if `depthwise`.
    stride: places from one window to the next.
    padding: `SAME`, or zeros added on every side.
    depthwise: every channel by itself.
  """
  if not isinstance(padding, str):
    padding = [(padding, padding)] * 2
  if platforms.traced_for() != 'cpu':
    return jax.lax.conv_general_dilated(
        x, kernel, (stride,) * 2, padding, dimension_numbers=_CHANNELS_LAST,
        feature_group_count=x.shape[-1] if depthwise else 1)
  if isinstance(padding, str):
    padding = jax.lax.padtype_to_pads(
        [x.shape[i] for i in _SIDES], kernel.shape[:2], (stride,) * 2, padding)
  padding = tuple(map(tuple, padding))
  if depthwise:
    return _shifted(stride, padding, x, kernel)
  if kernel.shape[:2] == (1, 1) and not any(map(any, padding)):
    return x[:, ::stride, ::stride] @ kernel[0, 0]
  return _convolved(stride, padding, x, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _convolved(stride, padding, x, kernel):
  """A convolution whose gradients are fast on CPUs wherever they stand."""
  return jax.lax.conv_general_dilated(
      x, kernel, (stride,) * 2, padding, dimension_numbers=_CHANNELS_LAST)


def _convolved_forward(stride, padding, x, kernel):
  return _convolved(stride, padding, x, kernel), (x, kernel)


def _convolved_backward(stride, padding, inputs, dy):
  x, kernel = inputs
  taps = kernel.shape[0]
  # What lands beside the map is left out: places that no window reads get none.
  around = [(taps - 1 - low, x.shape[i] + low - 1 - (dy.shape[i] - 1) * stride)
            for i, (low, _) in zip(_SIDES, padding)]
  dx = jax.lax.conv_general_dilated(
      dy, kernel[::-1, ::-1].swapaxes(2, 3), (1, 1), around,
      lhs_dilation=(stride,) * 2, dimension_numbers=_CHANNELS_LAST)

  # One product for every row of taps: one for each tap would read dy as often,
  # one for all would write the map as often as there are taps.
  padded = _padded(stride, padding, x, taps, dy.shape)
  behind = dy.reshape(-1, dy.shape[-1])
  rows = []
  for i in range(taps):
    seen = jnp.concatenate([_tap(stride, padded, i, j, dy.shape)
                            for j in range(taps)], -1)
    rows.append(seen.reshape(behind.shape[0], -1).T @ behind)
  return dx, jnp.stack(rows).reshape(kernel.shape)


_convolved.defvjp(_convolved_forward, _convolved_backward)


def _sum_of_shifted(stride, padding, x, kernel):
  """A convolution of every channel by itself, as a sum of shifted products."""
  taps = kernel.shape[0]
  shape = [x.shape[0], *((x.shape[i] + sum(pad) - taps) // stride + 1
                         for i, pad in zip(_SIDES, padding)), x.shape[-1]]
  padded = _padded(stride, padding, x, taps, shape)
  if stride == 1:  # Else XLA would compute what is convolved anew for each tap.
    padded = jax.lax.optimization_barrier(padded)
  return sum(_tap(stride, padded, i, j, shape) * kernel[i, j, 0]
             for i in range(taps) for j in range(taps))


# Its gradient of x is as jax makes it, that of the kernel is not.
_shifted = jax.custom_vjp(_sum_of_shifted, nondiff_argnums=(0, 1))


def _shifted_forward(stride, padding, x, kernel):
  return _shifted(stride, padding, x, kernel), (x, kernel)


def _shifted_backward(stride, padding, inputs, dy):
  x, kernel = inputs
  taps = kernel.shape[0]
  _, pull = jax.vjp(lambda x: _sum_of_shifted(stride, padding, x, kernel), x)
  dx, = pull(dy)

  # Row after row of the map, so that the sums of all taps stay in the cache.
  padded = wide(_padded(stride, padding, x, taps, dy.shape))
  columns = (dy.shape[2] - 1) * stride + 1

  def add(sums, row):
    behind = wide(jax.lax.dynamic_index_in_dim(dy, row, 1, keepdims=False))
    result = []
    for i in range(taps):
      seen = jax.lax.dynamic_index_in_dim(padded, row * stride + i, 1,
                                          keepdims=False)
      result += [sums[i * taps + j] + seen[:, j:j + columns:stride] * behind
                 for j in range(taps)]
    return result, None

  zeros = jnp.zeros((dy.shape[0], *dy.shape[2:]), padded.dtype)
  sums, _ = jax.lax.scan(add, [zeros] * taps ** 2, jnp.arange(dy.shape[1]))
  return dx, jnp.stack([total.sum((0, 1)) for total in sums]).reshape(
      kernel.shape).astype(kernel.dtype)


_shifted.defvjp(_shifted_forward, _shifted_backward)


def _padded(stride, padding, x, taps, shape):
  """x with zeros around it, as far as windows for an output of `shape` read."""
  last = [(shape[i] - 1) * stride + taps for i in _SIDES]
  sides = [(low, size - x.shape[i] - low, 0)
           for i, (low, _), size in zip(_SIDES, padding, last)]
  none = (0, 0, 0)
  return jax.lax.pad(x, jnp.zeros((), x.dtype), (none, *sides, none))


def _tap(stride, padded, i, j, shape):
  """What tap (i, j) of every window sees: float[B, h, w, c]."""
  rows, columns = ((shape[axis] - 1) * stride + 1 for axis in _SIDES)
  return padded[:, i:i + rows:stride, j:j + columns:stride]
