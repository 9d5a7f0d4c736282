"""What training carries from step to step."""
from collections.abc import Callable
from typing import Any, NamedTuple

from bst_jax.elastic import Submodel
from bst_jax.layers.batch_norm import WRITTEN
from bst_jax.learn import sharding, statistics
from flax import struct
import jax
import jax.numpy as jnp
import optax


@struct.dataclass
class TrainState:
  """Attributes:
    step: int32[], steps done.
    params: trained parameters, and the batch statistics among them.
    opt_state: the optimiser's, which knows nothing of batch statistics.
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
  return TrainState(jnp.zeros((), jnp.int32), params,
                    tx.init(statistics.without(params)), rng, **fields)


def forward(model: Any, params: Any, batch: Any, key: jax.Array,
            **options: Any) -> tuple[Any, Any]:
  """A model's outputs in training, and the batch statistics that it wrote.

  Args:
    model: a module called as model(batch, train=True).
    params: its parameters.
    batch: its inputs.
    key: of dropout.
    **options: of `model.apply`, as `method`.

  Returns:
    The outputs, and a nested dict of the next statistics for `update`, empty
    where the model has none or leaves them as they are.
  """
  outputs, sown = model.apply(
      {'params': params}, batch, train=True, rngs={'dropout': key},
      mutable=[WRITTEN], **options)
  return outputs, sown.get(WRITTEN, {})


def update(state: TrainState, grads: Any, tx: optax.GradientTransformation,
           metrics: dict[str, jax.Array], written: Any = None):
  """Applies the gradients and stores the batch statistics that were written.

  The metric grad_norm is that of all gradients, before clipping and with those
  of parts that the optimiser leaves alone; stats_max is the largest absolute
  value of the statistics, not finite where one of them is not.

  Args:
    state: before the step.
    grads: of all parameters; those of batch statistics are not looked at.
    tx: made by `optimizers.create`, initialised by `start`.
    metrics: of the step.
    written: nested dict of the statistics to store.

  Returns:
    The next state and its metrics.
  """
  owned, grads = statistics.without(state.params), statistics.without(grads)
  updates, opt_state = tx.update(grads, state.opt_state, owned)
  metrics = metrics | {'grad_norm': optax.tree.norm(grads)}
  params = statistics.put_over(state.params, optax.apply_updates(owned, updates))
  if written:
    params = statistics.put_over(params, written)
    metrics['stats_max'] = statistics.largest(written)
  return state.replace(
      step=state.step + 1, opt_state=opt_state, params=params), metrics


def accumulate(grads_of: Callable, state: TrainState, batch: Any, micro: int,
               mean: bool = False):
  """Sums `grads_of` over the parts of a batch, and over the mesh that is set.

  Every device works on its own rows with the whole parameters, part after part,
  and the devices meet once, when all sums are done: a step moves the bytes of
  its gradients a single time, however many submodels and parts it has.

  Args:
    grads_of: (state, batch, key) -> (grads, metrics, written), of a state
      without its optimiser; called with a fresh key for every part, so that
      each makes its own draws, the same on all devices. `written` is what
      `forward` returns, the same on all devices too.
    state: before the step. All keys derive from its rng and step.
    batch: arrays whose leading axes start with that of pictures or examples,
      which devices and `micro` divide.
    micro: number of parts, 1 = none.
    mean: average over parts and devices instead, as losses that are means need.

  Returns:
    The summed (or averaged) gradients and metrics, and the batch statistics:
    every part blends its own with those before the step, and their mean over
    the parts is what counts. So a step moves them as far as a whole batch
    would, whatever the number of parts.
  """
  key = jax.random.fold_in(state.rng, state.step)

  def of_device(state, key, batch):
    if micro == 1:
      *sums, written = grads_of(state, batch, key)
      return sums, written
    parts = _parts(batch, micro)
    keys = jax.random.split(key, micro)
    shapes = jax.eval_shape(
        grads_of, state, jax.tree.map(lambda x: x[0], parts), keys[0])
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

    def add(total, part):
      return jax.tree.map(jnp.add, total, grads_of(state, *part)), None

    *sums, written = jax.lax.scan(add, zeros, (parts, keys))[0]
    average = lambda tree: jax.tree.map(lambda x: x / micro, tree)
    return average(sums) if mean else sums, average(written)

  (grads, metrics), written = sharding.on_own_rows(of_device, mean)(
      state.replace(opt_state=None), key, batch)
  return grads, metrics, written


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
