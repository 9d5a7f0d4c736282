"""Normalisation of the channels of a picture, group by group."""
from typing import Any

from bst_jax.elastic import Axis
from bst_jax.layers.linear import named, wide
from flax import linen as nn
import jax
import jax.numpy as jnp


class GroupNorm(nn.Module):
  """Each group of channels of each picture has mean 0 and variance 1.

  Attributes:
    inp: the axis of the channels.
    groups: must divide the channels.
    eps: added to the variance.
    dtype: of the result.

  Reference: Wu and He, "Group Normalization", ECCV 2018, equations 1 to 4.
  """

  inp: Axis
  groups: int = 32
  eps: float = 1e-5
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """float[B, H, W, c] -> float[B, H, W, c], computed in at least float32."""
    size = self.inp.size
    if size % self.groups:
      raise ValueError(
          f'{size} channels were to be normalised in {self.groups} groups, which '
          'do not divide them; choose a divisor of the channels.')
    scale = self.param('scale', named(nn.initializers.ones, self.inp))
    bias = self.param('bias', named(nn.initializers.zeros, self.inp))
    y = wide(x).reshape(*x.shape[:3], self.groups, size // self.groups)
    y -= y.mean((1, 2, 4), keepdims=True)
    y *= jax.lax.rsqrt(jnp.square(y).mean((1, 2, 4), keepdims=True) + self.eps)
    return (y.reshape(x.shape) * scale + bias).astype(self.dtype)
