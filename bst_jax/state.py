"""What training carries from step to step."""
from collections.abc import Callable
from typing import Any, NamedTuple

from flax import struct
import jax
import jax.numpy as jnp
import optax


@struct.dataclass
class TrainState:
  """Attributes:
    step: int32[], steps done.
    params: trained parameters.
    opt_state: the optimiser's.
    rng: a typed key; everything random comes from fold_in(rng, step).
    extra: the method's own, saved.
    frozen: never updated and never saved (a teacher).
  """

  step: jax.Array
  params: Any
  opt_state: Any
  rng: jax.Array
  extra: Any = None
  frozen: Any = None


class Method(NamedTuple):
  """A way of training, as a pair of pure functions.

  Attributes:
    init: (rng, params) -> TrainState.
    step: (TrainState, batch) -> (TrainState, metrics).
    pretrained: it makes no sense from random parameters.
  """

  init: Callable[[jax.Array, Any], TrainState]
  step: Callable[[TrainState, Any], tuple[TrainState, dict[str, jax.Array]]]
  pretrained: bool = False


def start(rng: jax.Array, params: Any, tx: optax.GradientTransformation,
          **fields: Any) -> TrainState:
  """The state before the first step."""
  return TrainState(jnp.zeros((), jnp.int32), params, tx.init(params), rng,
                    **fields)


def update(state: TrainState, grads: Any, tx: optax.GradientTransformation,
           metrics: dict[str, jax.Array]):
  """Applies the gradients; returns the next state and its metrics.

  The metric grad_norm is that of all gradients, before clipping and with those
  of parts that the optimiser leaves alone.
  """
  updates, opt_state = tx.update(grads, state.opt_state, state.params)
  metrics = metrics | {'grad_norm': optax.tree.norm(grads)}
  return state.replace(
      step=state.step + 1, opt_state=opt_state,
      params=optax.apply_updates(state.params, updates)), metrics


def accumulate(grads_of: Callable, batch: Any, micro: int, rng: jax.Array,
               mean: bool = False):
  """Sums `grads_of(micro_batch, key)` over `micro` equal parts of a batch.

  Args:
    grads_of: (batch, key) -> (grads, metrics); called with a fresh key for
      every part, so that each makes its own draws.
    batch: arrays whose leading axes `micro` divides.
    micro: number of parts, 1 = none.
    rng: key of the step.
    mean: average over the parts instead, as losses that are means need.

  Returns:
    The summed (or averaged) gradients and metrics.
  """
  if micro == 1:
    return grads_of(batch, rng)

  def split(name, x):
    if x.shape[0] % micro:
      raise ValueError(
          f'{micro} micro-batches do not divide the {x.shape[0]} rows of '
          f'{name!r}; choose config.micro_batches and data.batch so that both '
          'questions and pictures are multiples of it.')
    return x.reshape(micro, -1, *x.shape[1:])

  parts = {name: split(name, x) for name, x in batch.items()}
  keys = jax.random.split(rng, micro)
  shapes = jax.eval_shape(
      grads_of, jax.tree.map(lambda x: x[0], parts), keys[0])
  zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

  def add(total, part):
    return jax.tree.map(jnp.add, total, grads_of(*part)), None

  total = jax.lax.scan(add, zeros, (parts, keys))[0]
  return jax.tree.map(lambda x: x / micro, total) if mean else total
