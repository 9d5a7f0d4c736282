"""A small convolutional stem: from pixels to a grid of features."""
from typing import Any

from bst_jax.elastic import Axis
from bst_jax.layers.convolution import Conv
from flax import linen as nn
import jax
import jax.numpy as jnp


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
