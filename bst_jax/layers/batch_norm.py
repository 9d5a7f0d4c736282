"""Batch normalisation, by the statistics of a checkpoint or of the batch."""
from collections.abc import Callable
import functools
import math
from typing import Any

from bst_jax.elastic import Axis, check_name, FULL, Submodel
from bst_jax.layers.linear import named
from flax import linen as nn
import jax
import jax.numpy as jnp

# The module that holds the statistics, below its `BatchNorm`, and the
# collection that training writes the next ones to.
STATS, WRITTEN = 'stats', 'written'
# What training normalises by; a model's field `batch_stats`.
SOURCES = ('stored', 'batch')
# Share of the batch in the next statistics, torch's default.
MOMENTUM = 0.1


class Statistics(nn.Module):
  """Mean and variance of each channel, which no gradient reaches.

  They are parameters, so that slicing, checkpoints and converters treat them
  as they treat all others. Those of a submodel are a prefix.
  """

  inp: Axis
  momentum: float = MOMENTUM

  @nn.compact
  def __call__(self, measured: tuple[jax.Array, jax.Array] | None = None, *,
               sub: Submodel = FULL) -> tuple[jax.Array, jax.Array]:
    """The stored mean and variance, float32[c] each.

    Args:
      measured: mean and variance of a batch. Blended with the stored ones they
        are sown into the collection `written`, for a step to store.
      sub: the part to run.
    """
    inits = dict(mean=nn.initializers.zeros, var=nn.initializers.ones)
    stored = {name: jax.lax.stop_gradient(
        self.param(name, named(init, self.inp))[:sub.units(self.inp)])
              for name, init in inits.items()}
    if measured is not None:
      for (name, old), new in zip(stored.items(), measured):
        new = jax.lax.stop_gradient(new).astype(old.dtype)
        self.sow(WRITTEN, name, old + self.momentum * (new - old),
                 init_fn=lambda: None, reduce_fn=lambda _, value: value)
    return tuple(stored.values())


class BatchNorm(nn.Module):
  """Normalisation of each channel over a batch and its places.

  Evaluation normalises by the stored statistics. So does training if `frozen`;
  else it normalises by those of the batch: of all its rows, on whatever
  devices they are.

  Attributes:
    inp: the axis of the channels.
    scale_init: of the gains.
    frozen: training uses the stored statistics too, and leaves them alone.
    momentum: share of a batch in the next statistics.

  Reference: Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network
    Training by Reducing Internal Covariate Shift", ICML 2015. As in torch, the
    stored variance is the unbiased one and the batch is normalised by the
    biased one.
  """

  inp: Axis
  scale_init: Any = nn.initializers.ones
  eps: float = 1e-5
  frozen: bool = True
  momentum: float = MOMENTUM

  @nn.compact
  def __call__(self, x: jax.Array, *, sub: Submodel = FULL,
               train: bool = False) -> jax.Array:
    """float[..., c], in at least float32 whatever the input."""
    vector = lambda name, init: self.param(
        name, named(init, self.inp))[:sub.units(self.inp)]
    scale = vector('scale', self.scale_init)
    bias = vector('bias', nn.initializers.zeros)
    stats = Statistics(self.inp, self.momentum, name=STATS)
    y = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    if train and not self.frozen:
      mean, var, count = _measured(y)
      stats((mean, var * (count / (count - 1))), sub=sub)
    else:
      mean, var = stats(sub=sub)
    y = (y - mean) * (scale * jax.lax.rsqrt(var + self.eps))
    return (y + bias).astype(x.dtype)


def of(source: str | None) -> Callable[..., BatchNorm]:
  """Makes normalisations that train by `source`, one of `SOURCES`.

  None, as of a config without a value, is `stored`.
  """
  source = source or 'stored'
  check_name(source, SOURCES, 'source of batch statistics (batch_stats)')
  return functools.partial(BatchNorm, frozen=source == 'stored')


def _measured(x: jax.Array) -> tuple[jax.Array, jax.Array, int]:
  """Mean, biased variance and number of values of each channel.

  Where every device works on its own rows (`sharding.on_own_rows`), they are
  those of all rows, and so are the gradients through them.
  """
  devices = tuple(jax.sharding.get_abstract_mesh().manual_axes)
  count = math.prod(x.shape[:-1])
  over = lambda z: z
  if devices:
    count *= jax.lax.axis_size(devices)
    over = functools.partial(jax.lax.pmean, axis_name=devices)
  if count < 2:
    raise ValueError(
        'a batch of one value a channel has no variance to normalise by; '
        "train on more examples at once, or set batch_stats='stored'.")
  places = tuple(range(x.ndim - 1))
  mean = over(x.mean(places))
  return mean, over(jnp.square(x - mean).mean(places)), count
