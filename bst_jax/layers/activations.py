"""Activations by name, most of whose backward passes keep their input alone.

Of the GELU in its forms and of x sigmoid(1.702 x) the usual rule keeps up to
four arrays of the size of a feed-forward layer's hidden units.
"""
from flax import linen as nn
import jax


def gelu(x: jax.Array) -> jax.Array:
  """The exact GELU."""
  # A function made anew: what an export puts for jax.nn.gelu is not remembered.
  return jax.checkpoint(lambda x: jax.nn.gelu(x, approximate=False))(x)


def gelu_tanh(x: jax.Array) -> jax.Array:
  """The GELU's approximation by tanh."""
  return jax.checkpoint(lambda x: jax.nn.gelu(x, approximate=True))(x)


@jax.checkpoint
def quick_gelu(x: jax.Array) -> jax.Array:
  """x sigmoid(1.702 x), of CLIP and of the official CvT."""
  return x * jax.nn.sigmoid(1.702 * x)


# The exact GELU, its approximation by tanh, and others.
ACTIVATIONS = {'gelu': gelu, 'gelu_tanh': gelu_tanh, 'quick_gelu': quick_gelu,
               'relu': nn.relu, 'silu': nn.silu}
