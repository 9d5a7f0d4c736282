"""ResNet: bottlenecks, and the trunk of torchvision whose grids detectors read.

Reference: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016,
  table 1. A stride is that of the middle convolution, as in torchvision.
Differs: channels come last.
"""
from collections.abc import Callable
from typing import Any

from bst_jax.elastic import Axis, FULL, Submodel
from bst_jax.layers import resample
from bst_jax.layers.batch_norm import BatchNorm
from bst_jax.layers.convolution import Conv
from flax import linen as nn
import jax
import jax.numpy as jnp

# Bottlenecks of every stage.
BLOCKS = {'resnet50': (3, 4, 6, 3), 'resnet101': (3, 4, 23, 3)}
WIDTH = 64


class Bottleneck(nn.Module):
  """Three convolutions and a shortcut.

  Attributes:
    inp, hidden, out: channels; where the first and the last are the same and
      nothing is skipped, the shortcut is the input.
    stride: pixels along a side of the input for one of the output.
    pool: means of pixels stand where a stride would skip them, as in CLIP.
    batch_norm: makes the normalisation behind a convolution.
  """

  inp: Axis
  hidden: Axis
  out: Axis
  stride: int = 1
  dtype: Any = jnp.float32
  batch_norm: Callable[..., nn.Module] = BatchNorm
  pool: bool = True

  @nn.compact
  def __call__(self, x: jax.Array, *, sub: Submodel = FULL,
               train: bool = False) -> jax.Array:
    """float[P, H, W, c] -> float[P, H / stride, W / stride, f]."""
    def conv(name, norm, x, inp, out, size=1, stride=1,
             init=nn.initializers.ones):
      x = Conv(inp, out, self.dtype, size, stride, size // 2, use_bias=False,
               name=name)(x, sub=sub)
      return self.batch_norm(out, init, name=norm)(x, sub=sub, train=train)

    pooled, stride = ((self.stride, 1) if self.pool else (1, self.stride))
    y = nn.relu(conv('conv1', 'norm1', x, self.inp, self.hidden))
    y = nn.relu(conv('conv2', 'norm2', y, self.hidden, self.hidden, 3, stride))
    # A new block begins as its shortcut.
    y = conv('conv3', 'norm3', mean_pool(y, pooled), self.hidden, self.out,
             init=nn.initializers.zeros)
    if self.stride > 1 or self.inp != self.out:
      x = conv('shortcut', 'shortcut_norm', mean_pool(x, pooled), self.inp,
               self.out, stride=stride)
    return nn.relu(x + y)


class ResNet(nn.Module):
  """The trunk: from pixels to the grid of every stage. No width narrows it.

  Attributes:
    blocks: bottlenecks of each stage, see `BLOCKS`.
    width: channels of the stem; every stage but the first doubles them inside,
      and ends with four times those inside.
    batch_norm: makes the normalisation behind a convolution.
  """

  blocks: tuple[int, ...] = BLOCKS['resnet50']
  width: int = WIDTH
  dtype: Any = jnp.float32
  batch_norm: Callable[..., nn.Module] = BatchNorm

  @property
  def channels(self) -> tuple[Axis, ...]:
    """Of the grids that are handed on."""
    return tuple(Axis('tower', 4 * self.width * 2 ** i, f'stage_{i}')
                 for i in range(len(self.blocks)))

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False
               ) -> tuple[jax.Array, ...]:
    """float[B, H, W, 3], normalised, -> float[B, h, w, d] of every stage.

    Args:
      x: the pictures.
      train: normalises as in training.

    Returns:
      Grids with cells 4, 8, 16, … pixels wide.
    """
    inp = Axis('pixel', self.width)
    x = Conv(Axis('pixel', 3), inp, self.dtype, 7, 2, 3, use_bias=False,
             name='stem')(x)
    x = nn.relu(self.batch_norm(inp, name='stem_norm')(x, train=train))
    x, grids = resample.max_pool(x), []                     # [B, H / 4, W / 4]
    for stage, (count, out) in enumerate(zip(self.blocks, self.channels)):
      for block in range(count):
        name = f'stage{stage + 1}_{block}'
        hidden = Axis('tower_mlp', self.width * 2 ** stage, name)
        stride = 2 if stage and not block else 1
        x = Bottleneck(inp, hidden, out, stride, self.dtype, self.batch_norm,
                       pool=False, name=name)(x, train=train)
        inp = out
      grids.append(x)
    return tuple(grids)


def mean_pool(x: jax.Array, size: int) -> jax.Array:
  """Means of size x size pixels: float[P, H, W, c] -> float[P, h, w, c]."""
  return x if size == 1 else nn.avg_pool(x, (size, size), (size, size))
