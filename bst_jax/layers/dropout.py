"""Dropout whose noise is a few integer operations, fused into its consumer.

A counter-based hash takes the place of jax.random: on a CPU its threefry masks
were a third of the time and two thirds of the compilation of a sandwich step.
"""
import functools
import math
import zlib

from bst_jax.layers import platforms
from flax import linen as nn
import jax
import jax.numpy as jnp


class Dropout(nn.Module):
  """Zeroes a share of the elements and scales the rest up.

  Attributes:
    rate: share of the elements that are dropped.
    whole: drop an example, an entry of the first axis, as a whole: the
      stochastic depth of a residual branch.
  """

  rate: float
  whole: bool = False

  @nn.compact
  def __call__(self, x: jax.Array, seed: jax.Array | None) -> jax.Array:
    """float[...] -> float[...]; `seed` uint32[], None for evaluation.

    Every place in a model has a noise of its own; the same seed gives the same
    noise, on any mesh.
    """
    if seed is None or not self.rate:
      return x
    key = reseed(seed, '/'.join(self.path))
    shape = (x.shape[0], *[1] * (x.ndim - 1)) if self.whole else x.shape
    threshold = min(round(self.rate * 2 ** 32), 2 ** 32 - 1)
    keep = _kept(key, shape, threshold)
    return jnp.where(keep, x / (1 - self.rate), 0)


def seed_of(key: jax.Array) -> jax.Array:
  """uint32[] seed of a model's dropout from a jax.random key."""
  return jax.random.bits(key, dtype=jnp.uint32)


def reseed(seed: jax.Array, place: str) -> jax.Array:
  """uint32[] seed of a place in a model, whatever the order of calls."""
  return _mix(seed ^ jnp.uint32(zlib.crc32(place.encode())))


def keys_of_rows(key: jax.Array, rows: int) -> jax.Array:
  """A jax.random key for each row, by its number in the whole batch.

  So a row draws the same on however many devices the batch lies.

  Args:
    key: of the batch, the same on all devices.
    rows: of this device, where it works on its own (sharding.on_own_rows).
  """
  numbers = _first_row(rows) + jnp.arange(rows, dtype=jnp.uint32)
  return jax.vmap(lambda number: jax.random.fold_in(key, number))(numbers)


def _kept(key, shape, threshold):
  """bool[*shape], by a hash of each element's number in the whole batch."""
  size = math.prod(shape[1:])
  if platforms.traced_for() == 'cpu' and size > 1:
    return _kept_by_rows(key, shape[0], size, threshold).reshape(shape)
  number = jnp.zeros(shape, jnp.uint32)
  stride = 1
  for axis in reversed(range(len(shape))):
    place = jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
    if not axis:
      place += _first_row(shape[0])
    number += place * jnp.uint32(stride)
    stride *= shape[axis]
  return _is_kept(number, key, threshold)


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _kept_by_rows(key, rows, size, threshold):
  """bool[rows, size]: the same noise, in a loop that no fusion takes apart.

  Without one, all that reads the noise makes it again: half of the compilation
  of a sandwich step were its copies.
  """
  def row(first):
    return _is_kept(jax.lax.iota(jnp.uint32, size) + first, key, threshold)

  rows = jax.lax.iota(jnp.uint32, rows) + _first_row(rows)
  return jax.lax.map(row, rows * jnp.uint32(size))


def _is_kept(number, key, threshold):
  """Whether the element of that number in the whole batch stays."""
  return _mix(_mix(number + key) ^ key) >= jnp.uint32(threshold)


def _first_row(rows):
  """Number in the whole batch of the first of a device's `rows`.

  Zero, unless the step works on every device's own rows (sharding.on_own_rows).
  """
  axes = jax.sharding.get_abstract_mesh().manual_axes
  first = jax.lax.axis_index(tuple(axes)) * rows if axes else 0
  return jnp.uint32(first)


def _mix(x):
  """MurmurHash3's 32-bit finaliser: every bit of x moves every bit."""
  x = (x ^ (x >> 16)) * jnp.uint32(0x85ebca6b)
  x = (x ^ (x >> 13)) * jnp.uint32(0xc2b2ae35)
  return x ^ (x >> 16)
