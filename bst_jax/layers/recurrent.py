"""A long short-term memory written as one scan, which also exports to ONNX."""
from typing import Any

from bst_jax.elastic import Axis
from bst_jax.layers import products
from bst_jax.layers.linear import named, uniform
from flax import linen as nn
import jax
import jax.numpy as jnp


class Lstm(nn.Module):
  """One unidirectional LSTM layer, all steps returned, never narrowed.

  Two biases, as torch has: they act as their sum, but an optimiser that
  normalises gradients moves the sum twice as far, and parameter counts and
  checkpoints stay those of the original.

  Attributes:
    inp: input axis.
    size: number of units.
    dtype: of the activations.
  """

  inp: Axis
  size: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps float[B, T, D] to float[B, T, H]; gates in the order i, f, g, o."""
    units, gates = Axis('recurrent', self.size), Axis('gates', 4 * self.size)
    init = uniform(self.size)
    kernel = self.param('kernel', named(init, self.inp, gates))
    recurrent = self.param('recurrent', named(init, units, gates))
    bias = self.param('bias', named(init, gates))
    recurrent_bias = self.param('recurrent_bias', named(init, gates))

    x, kernel, recurrent, bias, recurrent_bias = nn.dtypes.promote_dtype(
        x, kernel, recurrent, bias, recurrent_bias, dtype=self.dtype)
    return unroll(x, kernel, recurrent, bias, recurrent_bias)


def unroll(x: jax.Array, kernel: jax.Array, recurrent: jax.Array,
           bias: jax.Array, recurrent_bias: jax.Array) -> jax.Array:
  """float[B, T, D], all steps of one layer -> float[B, T, H]."""
  # The inputs of all steps in one product, the states one by one.
  inputs = products.matmul(x, kernel) + bias + recurrent_bias  # [B, T, 4H]

  def step(carry, inputs):
    h, c = carry
    i, f, g, o = jnp.split(
        inputs + products.matmul(h, recurrent), 4, axis=-1)
    c = nn.sigmoid(f) * c + nn.sigmoid(i) * jnp.tanh(g)
    h = nn.sigmoid(o) * jnp.tanh(c)
    return (h, c), h

  zeros = jnp.zeros((x.shape[0], recurrent.shape[0]), inputs.dtype)
  _, hs = jax.lax.scan(step, (zeros, zeros), inputs.swapaxes(0, 1))
  return hs.swapaxes(0, 1)                                  # [B, T, H]
