"""What training carries from step to step."""
from collections.abc import Callable, Mapping, Sequence
import types
from typing import Any, NamedTuple

from bst_jax.elastic import Choice, Submodel
from bst_jax.layers.batch_norm import WRITTEN
from bst_jax.learn import paths, sharding, statistics
from flax import struct
import jax
import jax.numpy as jnp
import optax


@struct.dataclass
class TrainState:
  """Attributes:
    step: int32[], steps done.
    params: the parameters, trained or not, and batch statistics among them.
    opt_state: the optimiser's, of what is trained.
    rng: a typed key; everything random comes from fold_in(rng, step).
    extra: the method's own, saved.
    frozen: never updated and never saved (a teacher).
    ema: running mean of the parameters that are trained; None: none is kept.
  """

  step: jax.Array
  params: Any
  opt_state: Any
  rng: jax.Array
  extra: Any = None
  frozen: Any = None
  ema: Any = None


class Pass(NamedTuple):
  """What a training step runs, by which its work is counted.

  Attributes:
    sub: a submodel.
    times: a step runs it, an expected value where it draws.
    learns: forward and backward, on what submodels share; else it is a teacher,
      forward alone, which makes what is shared itself.
    model: another model that runs, a teacher; None: that which is trained.
  """

  sub: Submodel
  times: float = 1.0
  learns: bool = True
  model: Any = None


class Method(NamedTuple):
  """A way of training, as a pair of pure functions.

  Attributes:
    init: (rng, params) -> TrainState; with a teacher of another model
      (rng, params, its parameters) -> TrainState.
    step: (TrainState, {stream: batch}) -> (TrainState, metrics).
    passes: that a step makes of every part of a batch.
    pretrained: it makes no sense from random parameters.
    streams: {name: steps that a batch serves}. The stream `train` reads
      config.data.train, any other the split that config.data names by it, as
      `held_out`.
    choice: TrainState -> what was found, written to choice.json at the end;
      None where the method searches nothing.
  """

  init: Callable[..., TrainState]
  step: Callable[[TrainState, Mapping[str, Any]],
                 tuple[TrainState, dict[str, jax.Array]]]
  passes: tuple[Pass, ...]
  pretrained: bool = False
  streams: Mapping[str, int] = types.MappingProxyType({'train': 1})
  choice: Callable[[TrainState], Choice] | None = None


def start(rng: jax.Array, params: Any, tx: optax.GradientTransformation,
          **fields: Any) -> TrainState:
  """The state before the first step."""
  learns = trained(params, tx)[0]
  return TrainState(
      jnp.zeros((), jnp.int32), params, tx.init(learns), rng,
      ema=learns if getattr(tx, 'ema', 0.0) else None, **fields)


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
  outputs, written, _ = forward_sown(model, params, batch, key, (), **options)
  return outputs, written


def forward_sown(model: Any, params: Any, batch: Any, key: jax.Array,
                 collections: Sequence[str], **options: Any
                 ) -> tuple[Any, Any, Any]:
  """As `forward`, with what the model sowed into collections besides."""
  outputs, sown = model.apply(
      {'params': params}, batch, train=True, rngs={'dropout': key},
      mutable=[WRITTEN, *collections], **options)
  return outputs, sown.get(WRITTEN, {}), sown


def trained(params: Any, tx: optax.GradientTransformation) -> tuple[Any, Any]:
  """The parameters that are trained, and the others.

  Gradients are taken of the former alone: nothing is kept, and no product
  made, for the sake of a parameter that no update will move. Batch statistics
  are among the others: a step writes them, and nothing learns them.

  Args:
    params: nested dict.
    tx: an `optimizers.Optimizer`; any other transformation freezes nothing.

  Returns:
    Two nested dicts, which `paths.join` makes one again.
  """
  apart = {*getattr(tx, 'frozen', ()), *statistics.paths_of(params)}
  return paths.split(params, apart) if apart else (params, {})


def update(state: TrainState, grads: Any, tx: optax.GradientTransformation,
           metrics: dict[str, jax.Array], written: Any = None):
  """Applies the gradients and stores the batch statistics that were written.

  The metric grad_norm is that of what is trained, before clipping; stats_max is
  the largest absolute value of the statistics, not finite where one is not.

  Args:
    state: before the step.
    grads: of the parameters that are trained, as `trained` gives them; those of
      others are not looked at.
    tx: the optimiser, which says how the running mean is kept, too.
    metrics: of the step.
    written: nested dict of the statistics to store; frozen ones stay.

  Returns:
    The next state and its metrics.
  """
  params, rest = trained(state.params, tx)
  grads = trained(grads, tx)[0]
  updates, opt_state = tx.update(grads, state.opt_state, params)
  params = optax.apply_updates(params, updates)
  if state.ema is not None:
    state = state.replace(ema=_mean(state.ema, params, tx.ema, state.step))
  params = paths.join(params, rest) if rest else params
  metrics = metrics | {'grad_norm': optax.tree.norm(grads)}
  written = paths.split(written or {}, getattr(tx, 'frozen', ()))[0]
  if written:
    params = statistics.put_over(params, written)
    metrics['stats_max'] = statistics.largest(written)
  return state.replace(
      step=state.step + 1, opt_state=opt_state, params=params), metrics


def averaged(state: TrainState) -> Any:
  """The parameters to judge a training by: running means where there are any.
  """
  return (state.params if state.ema is None else
          paths.join(state.params, state.ema))


def _mean(mean, params, decay, step):
  """The running mean after a step; the first steps count for more.

  Differs: a plain mean begins with the first parameters, which would stay in
    it for thousands of steps; its decay is (1 + step) / (10 + step) at first.
  """
  step = step.astype(jnp.float32)
  share = 1 - jnp.minimum(decay, (1 + step) / (10 + step))
  return jax.tree.map(lambda m, p: m + share * (p - m), mean, params)


def accumulate(grads_of: Callable, state: TrainState, batch: Any, micro: int,
               mean: bool = False):
  """Sums `grads_of` over the parts of a batch, and over the mesh that is set.

  Every device works on its own rows with the whole parameters, part after part,
  and the devices meet once, when all sums are done: a step moves the bytes of
  its gradients a single time, however many submodels and parts it has.

  Args:
    grads_of: (state, batch, key) -> (grads, metrics, written), of a state
      without its optimiser and running means; called with a fresh key for every part, so that
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
      state.replace(opt_state=None, ema=None), key, batch)
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
