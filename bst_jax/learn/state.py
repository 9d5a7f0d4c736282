"""What training carries from step to step."""
from collections.abc import Callable
from typing import Any, NamedTuple

from bst_jax.elastic import Submodel
from bst_jax.learn import sharding
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


class Pass(NamedTuple):
  """What a training step runs, by which its work is counted.

  Attributes:
    sub: a submodel.
    times: a step runs it, an expected value where it draws.
    learns: forward and backward, on what submodels share; else it is a teacher,
      forward alone, which makes what is shared itself.
  """

  sub: Submodel
  times: float = 1.0
  learns: bool = True


class Method(NamedTuple):
  """A way of training, as a pair of pure functions.

  Attributes:
    init: (rng, params) -> TrainState.
    step: (TrainState, batch) -> (TrainState, metrics).
    passes: that a step makes of every part of a batch.
    pretrained: it makes no sense from random parameters.
  """

  init: Callable[[jax.Array, Any], TrainState]
  step: Callable[[TrainState, Any], tuple[TrainState, dict[str, jax.Array]]]
  passes: tuple[Pass, ...]
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


def accumulate(grads_of: Callable, state: TrainState, batch: Any, micro: int,
               mean: bool = False):
  """Sums `grads_of` over the parts of a batch, and over the mesh that is set.

  Every device works on its own rows with the whole parameters, part after part,
  and the devices meet once, when all sums are done: a step moves the bytes of
  its gradients a single time, however many submodels and parts it has.

  Args:
    grads_of: (state, batch, key) -> (grads, metrics), of a state without its
      optimiser; called with a fresh key for every part, so that each makes its
      own draws, the same on all devices.
    state: before the step. All keys derive from its rng and step.
    batch: arrays whose leading axes start with that of pictures or examples,
      which devices and `micro` divide.
    micro: number of parts, 1 = none.
    mean: average over parts and devices instead, as losses that are means need.

  Returns:
    The summed (or averaged) gradients and metrics.
  """
  key = jax.random.fold_in(state.rng, state.step)

  def of_device(state, key, batch):
    if micro == 1:
      return grads_of(state, batch, key)
    parts = _parts(batch, micro)
    keys = jax.random.split(key, micro)
    shapes = jax.eval_shape(
        grads_of, state, jax.tree.map(lambda x: x[0], parts), keys[0])
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

    def add(total, part):
      return jax.tree.map(jnp.add, total, grads_of(state, *part)), None

    total = jax.lax.scan(add, zeros, (parts, keys))[0]
    return jax.tree.map(lambda x: x / micro, total) if mean else total

  return sharding.on_own_rows(of_device, mean)(
      state.replace(opt_state=None), key, batch)


def _parts(batch, micro):
  """Arrays [rows, …] as [micro, rows / micro, …].

  A part takes every `micro`-th picture with all its questions, so that it has
  the same ones on any number of devices.
  """
  pictures = min(x.shape[0] for x in batch.values())
  if pictures % micro:
    raise ValueError(
        f'{micro} micro-batches do not divide the {pictures} pictures or '
        'examples that a device has of a batch; choose config.micro_batches '
        'and data.batch so that they do.')

  def split(x):
    x = x.reshape(pictures // micro, micro, -1, *x.shape[1:])
    return x.swapaxes(0, 1).reshape(micro, -1, *x.shape[3:])

  return {name: split(x) for name, x in batch.items()}
