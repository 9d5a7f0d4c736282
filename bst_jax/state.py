"""What training carries from step to step, and what moves it."""
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from bst_jax import elastic
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
  """Applies the gradients; returns the next state and its metrics."""
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


# --- optimiser and schedule ---------------------------------------------------

OPTIMIZERS = {
    'adam': optax.adam, 'adamw': optax.adamw, 'sgd': optax.sgd,
}


def optimizer(config: Mapping[str, Any], schedule: optax.Schedule,
              ) -> optax.GradientTransformation:
  """An optax optimiser from `{'name': …, 'clip': …, …}`.

  Args:
    config: `name` of an optimiser, `clip` = largest global gradient norm (0 =
      none), the rest goes to optax. Weight decay spares vectors.
    schedule: learning rate by step.
  """
  options = dict(config)
  name, clip = options.pop('name'), options.pop('clip', 0)
  options.pop('lr', None)
  elastic.check_name(name, OPTIMIZERS, 'optimiser')
  if options.get('weight_decay'):
    options['mask'] = lambda params: jax.tree.map(lambda p: p.ndim > 1, params)
  try:
    tx = OPTIMIZERS[name](schedule, **options)
  except TypeError as error:
    raise ValueError(f'config.optimizer: {error}; see optax.{name}.') from None
  return optax.chain(optax.clip_by_global_norm(clip), tx) if clip else tx


def schedule(config: Mapping[str, Any], lr: float, epoch: float,
             total: int) -> optax.Schedule:
  """Learning rate by step, counted from 0.

  Args:
    config: `name` (a key of `SCHEDULES`) and its options.
    lr: the base rate.
    epoch: steps in an epoch; a fraction for `quarters`, as published.
    total: steps of the whole training.
  """
  options = dict(config)
  name = options.pop('name')
  elastic.check_name(name, SCHEDULES, 'schedule')
  try:
    return SCHEDULES[name](lr, epoch, total, **options)
  except TypeError as error:
    raise ValueError(f'config.schedule: {error}.') from None


def quarters(lr, epoch, total, *, warmup_epochs, decay_epochs=(), decay=0.2):
  """Warm-up in three stairs and decay by epochs.

  The stairs stand at the quarters of (warmup_epochs + 1) epochs whatever
  warmup_epochs is, as in the released code; its comment says otherwise.

  Reference: BST, released code (OpenVQA's optimiser).
  """
  del total
  span = epoch * (warmup_epochs + 1)
  edges = jnp.asarray([int(span / 4), int(span / 2), int(3 * span / 4)])
  factors = jnp.asarray(
      [1 / (warmup_epochs + 1), 2 / (warmup_epochs + 1),
       3 / (warmup_epochs + 1), 1.0], jnp.float32)
  # An epoch of the loader is whole batches, though the stairs use a fraction.
  drops = jnp.asarray([(e - 1) * int(epoch) for e in decay_epochs], jnp.int32)

  def rate(step):
    stair = factors[(step + 1 > edges).sum()]
    return lr * stair * decay ** (step >= drops).sum()

  return rate


def cosine(lr, epoch, total, *, warmup=0.1, end=0.0):
  """Linear warm-up over a share of the steps, then half a cosine."""
  del epoch
  return optax.warmup_cosine_decay_schedule(
      0.0, lr, max(1, int(warmup * total)), total, end * lr)


def linear(lr, epoch, total, *, warmup=0.1):
  """Linear warm-up over a share of the steps, then linearly down to zero."""
  del epoch
  rise = max(1, int(warmup * total))
  return optax.join_schedules(
      [optax.linear_schedule(0.0, lr, rise),
       optax.linear_schedule(lr, 0.0, total - rise)], [rise])


def constant(lr, epoch, total):
  """The base rate at every step."""
  del epoch, total
  return optax.constant_schedule(lr)


SCHEDULES = {'quarters': quarters, 'cosine': cosine, 'linear': linear,
             'constant': constant}
