"""Batch normalisation with the statistics of a checkpoint."""
from typing import Any

from bst_jax.elastic import Axis, FULL, Submodel
from bst_jax.layers.linear import named
from flax import linen as nn
import jax
import jax.numpy as jnp


class BatchNorm(nn.Module):
  """Normalisation by stored statistics, which no gradient reaches.

  Mean and variance are parameters, so that checkpoints hold them and convert
  back; their gradients are zeros and weight decay spares vectors, so that no
  optimiser moves them. Those of a submodel are a prefix, as they are.
  """

  inp: Axis
  init: Any = nn.initializers.ones
  eps: float = 1e-5

  @nn.compact
  def __call__(self, x: jax.Array, *, sub: Submodel = FULL) -> jax.Array:
    """float[..., c], in float32 whatever the input."""
    zeros, ones = nn.initializers.zeros, nn.initializers.ones
    vector = lambda name, init: self.param(
        name, named(init, self.inp))[:sub.units(self.inp)]
    scale, bias = vector('scale', self.init), vector('bias', zeros)
    mean, var = (jax.lax.stop_gradient(v) for v in (
        vector('mean', zeros), vector('var', ones)))
    y = (x.astype(jnp.float32) - mean) * (scale * jax.lax.rsqrt(var + self.eps))
    return (y + bias).astype(x.dtype)
