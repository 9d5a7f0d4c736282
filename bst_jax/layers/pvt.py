"""Layers of PVTv2: attention to a coarser grid, a convolution between neurons.

Reference: Wang et al., "PVT v2: Improved Baselines with Pyramid Vision
  Transformer", Computational Visual Media 2022, sections 3.1 to 3.3.
"""
from collections.abc import Callable
import math
from typing import Any

from bst_jax.elastic import Axis, FULL, Size, Submodel
from bst_jax.layers.activations import gelu
from bst_jax.layers.attention import Attention
from bst_jax.layers.dropout import Dropout
from bst_jax.layers.linear import Dense
from bst_jax.layers.stem import Conv
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

# Of convolutions: normal numbers of variance 2 / (taps x outputs).
CONV_INIT = nn.initializers.variance_scaling(2.0, 'fan_out', 'normal')
# Cells along a side that the linear variant attends to.
POOLED = 7


def pooled(x: jax.Array, size: int = POOLED) -> jax.Array:
  """Means of size x size windows that together cover a grid.

  Window i of n goes from floor(i H / n) to ceil((i + 1) H / n), so that windows
  overlap where n does not divide H, and repeat cells where the grid has fewer.

  Args:
    x: float[B, H, W, d].
    size: windows down and across.

  Returns:
    float[B, size, size, d].
  """
  down, across = (_windows(side, size) for side in x.shape[1:3])
  return jnp.einsum('iy,jx,byxd->bijd', down.astype(x.dtype),
                    across.astype(x.dtype), x)


def _windows(side, size):
  """float32[size, side], the share of every cell in every window."""
  places, cells = np.arange(size)[:, None], np.arange(side)
  first, last = places * side // size, -(-(places + 1) * side // size)
  inside = (cells >= first) & (cells < last)
  return (inside / inside.sum(1, keepdims=True)).astype(np.float32)


class Reduction(nn.Module):
  """The coarser grid that keys and values are of; it owns its channels.

  Attributes:
    embed: channels of the grid.
    reduced: channels of the coarser grid.
    ratio: cells along a side for one of the coarser grid.
    linear: the means of 7 x 7 windows in place of cells, for every grid.
    norm: makes the normalisation behind it.
  """

  embed: Axis
  reduced: Axis
  ratio: int
  linear: bool
  norm: Callable[..., nn.Module]
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, *, sub: Submodel = FULL) -> jax.Array:
    """float[B, H, W, d] -> float[B, M, r]."""
    reduced, size = self.reduced.here(self), self.ratio
    if self.linear:
      x, size = pooled(x), 1
    x = Conv(self.embed, reduced, self.dtype, size, size, 0,
             kernel_init=CONV_INIT, name='proj')(x, sub=sub)
    x = self.norm(reduced, name='norm')(
        x.reshape(x.shape[0], -1, x.shape[-1]), sub=sub)
    return gelu(x) if self.linear else x


class ConvFeedForward(nn.Module):
  """Two linear layers; between them every unit sees its neighbours.

  Attributes:
    hidden: its hidden units, of which it is the owner.
    rectified: of the linear variant, which cuts below zero before it looks.
  """

  embed: Axis
  hidden: Axis
  activation: Callable = gelu
  rectified: bool = False
  dropout: float = 0.0
  dtype: Any = jnp.float32
  kernel_init: Callable | None = None
  bias_init: Callable | None = None

  @nn.compact
  def __call__(self, x: jax.Array, grid: tuple[int, int], *,
               sub: Submodel = FULL, seed: jax.Array | None = None
               ) -> jax.Array:
    """float[B, H W, d] -> float[B, H W, d]; `grid` is H and W."""
    hidden = self.hidden.here(self)
    init = self.kernel_init, self.bias_init
    x = Dense((self.embed,), (hidden,), *init, dtype=self.dtype, name='fc1')(
        x, sub=sub)
    x = nn.relu(x) if self.rectified else x
    seen = Conv(hidden, hidden, self.dtype, 3, 1, 1, depthwise=True,
                kernel_init=nn.initializers.normal(math.sqrt(2 / 9)),
                name='conv')(x.reshape(x.shape[0], *grid, x.shape[-1]), sub=sub)
    x = self.activation(seen.reshape(x.shape))
    x = Dropout(self.dropout)(x, seed)
    return Dense((hidden,), (self.embed,), *init, dtype=self.dtype,
                 name='fc2')(x, sub=sub)


class Layer(nn.Module):
  """Attention to a coarser grid and a convolved feed-forward part.

  Attributes:
    grid: rows and columns of the tokens.
    ratio, linear: see `Reduction`; a ratio of 1 reduces nothing.
    reduced: its channels, see `Reduction`.
    norm: makes a normalisation from its axis and name.
    reduction_norm: makes that of the coarser grid.
    dropout, depth_dropout: of branches; chance to skip one.
    qkv_bias, head_dim: see `Attention`.
  """

  embed: Axis
  heads: Axis
  mlp: Axis
  reduced: Axis
  grid: tuple[int, int]
  ratio: int
  linear: bool
  norm: Callable[..., nn.Module]
  reduction_norm: Callable[..., nn.Module]
  activation: Callable = gelu
  dropout: float = 0.0
  depth_dropout: float = 0.0
  dtype: Any = jnp.float32
  kernel_init: Callable | None = None
  bias_init: Callable | None = None
  qkv_bias: bool = True
  head_dim: Size | None = None

  @nn.compact
  def __call__(self, x: jax.Array, *, sub: Submodel = FULL,
               seed: jax.Array | None = None) -> jax.Array:
    """float[B, H W, d] -> float[B, H W, d]."""
    part = dict(dtype=self.dtype, kernel_init=self.kernel_init,
                bias_init=self.bias_init)
    drop = lambda z: Dropout(self.depth_dropout, whole=True)(
        Dropout(self.dropout)(z, seed), seed)

    h = self.norm(self.embed, name='norm1')(x, sub=sub)
    source = axis = None
    if self.linear or self.ratio > 1:
      reduction = Reduction(self.embed, self.reduced, self.ratio, self.linear,
                            self.reduction_norm, self.dtype, name='reduction')
      cells = h.reshape(h.shape[0], *self.grid, h.shape[-1])
      source = reduction(cells, sub=sub)
      axis = self.reduced.here(reduction)
    z = Attention(self.embed, self.heads, **part, qkv_bias=self.qkv_bias,
                  head_dim=self.head_dim, source=axis, name='attention')(
                      h, source, sub=sub, seed=seed)
    x = x + drop(z)
    h = self.norm(self.embed, name='norm2')(x, sub=sub)
    z = ConvFeedForward(self.embed, self.mlp, self.activation, self.linear,
                        self.dropout, **part, name='ffn')(
                            h, self.grid, sub=sub, seed=seed)
    return x + drop(z)
