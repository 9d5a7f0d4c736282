"""A small convolutional stem: from pixels to a grid of features."""
from collections.abc import Callable
from typing import Any

from bst_jax.elastic import Axis, FULL, Submodel
from bst_jax.layers.linear import named
from flax import linen as nn
import jax
import jax.numpy as jnp


class Conv(nn.Module):
  """A square convolution, narrowed where the names of its axes say so.

  Attributes:
    size: taps along a side.
    padding: `SAME`, or zeros added on every side.
    depthwise: every channel by itself, so that `out` is the input's axis too.
    kernel_init: He's where None.
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
    padding = (self.padding if isinstance(self.padding, str)
               else [(self.padding, self.padding)] * 2)
    y = jax.lax.conv_general_dilated(
        x.astype(self.dtype), kernel.astype(self.dtype), (self.stride,) * 2,
        padding, dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
        feature_group_count=f if self.depthwise else 1)
    if not self.use_bias:
      return y
    bias = self.param('bias', named(nn.initializers.zeros, self.out))[:f]
    return y + bias.astype(self.dtype)


class ConvStem(nn.Module):
  """Convolutions that each halve the sides of a picture.

  Attributes:
    channels: of each convolution; the last ones are the features.
  """

  channels: tuple[int, ...]
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, image: jax.Array) -> jax.Array:
    """uint8[B, H, W, 3] -> float[B, h, w, channels[-1]]."""
    x = image.astype(self.dtype) / 127.5 - 1.0
    last = len(self.channels) - 1
    for i, size in enumerate(self.channels):
      out = Axis('feat' if i == last else 'pixel', size)
      x = Conv(Axis('pixel', x.shape[-1]), out, self.dtype, name=f'conv_{i}')(x)
      x = nn.relu(x) if i < last else x
    return x


def cell_boxes(shape: tuple[int, ...]) -> jax.Array:
  """Boxes float32[B, h * w, 4] of the cells of a map of shape [B, h, w, F]."""
  batch, rows, columns = shape[:3]
  y, x = jnp.mgrid[:rows, :columns]
  corners = jnp.stack([x / columns, y / rows, (x + 1) / columns,
                       (y + 1) / rows], axis=-1)
  return jnp.broadcast_to(corners.reshape(1, -1, 4),
                          (batch, rows * columns, 4)).astype(jnp.float32)
