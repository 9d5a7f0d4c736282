"""Dynamic architecture skipping: which layers a task does without.

Reference: Wu et al., "Parameter and Computation Efficient Transfer Learning for
  Vision-Language Pre-trained Models", NeurIPS 2023, and its released code.
"""
import dataclasses
import functools
from typing import Any

from bst_jax import elastic, tasks
from bst_jax.elastic import Choice, FULL
from bst_jax.learn import controller, paths, sharding
from bst_jax.learn import state as states
from bst_jax.learn.shared import run_shared
from bst_jax.learn.state import Method, Pass
from flax import linen as nn
import jax
import jax.numpy as jnp

_FOR_EVER = 1 << 30  # Steps that one batch serves where it is the only one.


@dataclasses.dataclass(frozen=True)
class Search:
  """How sets of layers are drawn, tried and judged.

  Attributes:
    model: whose `candidates` may be skipped.
    task: gives losses.
    tx: the optimiser, which says what is trained.
    skips: layers that are skipped at a time.
    subnetworks: sets that are compared at a time.
    interval: parts of batches from one comparison to the next.
    warmup: steps before the first.
    steps: after which the layers that are skipped stay the same.
    rate: of the preferences.
    law: of `controller.LAWS`.
    micro_batches: parts of a batch.
    noisy: rewards have dropout.
  """

  model: nn.Module
  task: tasks.Task
  tx: Any
  skips: int
  subnetworks: int
  interval: int
  warmup: int
  steps: int
  rate: float
  law: str
  micro_batches: int
  noisy: bool


def make(model, task, tx, *, axes, space, micro_batches, skips=4, subnetworks=3,
         interval=10, warmup=0, search_steps=0, gate_rate=1.0,
         law='multinomial', fixed_reward_batch=False,
         reward_train_mode=False) -> Method:
  """Trains adapters while it looks for the layers that are needed least.

  Every part of a batch draws anew which layers are skipped, so that their
  adapters run instead. After every `interval` parts some sets are compared on
  one batch that is not trained on, and preferences move.

  The layers that are skipped in the end stand in choice.json. As released, a
  second training then begins from the start with these alone; `search_steps`
  lets this one go on with them instead.

  Args:
    model: a module called as model(batch, train=..., flags=...), with
      `candidates`.
    task: gives the loss.
    tx: an optax transformation.
    axes: axis names of the parameters.
    space: submodels, of which there is the full one.
    micro_batches: parts of a batch, each with a set of its own.
    skips: layers that are skipped.
    subnetworks: sets that are compared at a time.
    interval: parts of batches from one comparison to the next.
    warmup: steps before the first comparison (published: one epoch of three).
    search_steps: after which the layers stay the same; 0 for the whole training.
    gate_rate: of the preferences. Released code has 1.0 for VQA, and a note
      that others had 0.1.
    law: of `controller.LAWS`.
    fixed_reward_batch: compares on the first batch alone, as released.
    reward_train_mode: compares with dropout, as released.

  Reference: as of the module. Differs: compares on batches that are not trained
    on, a new one each time and without dropout, unless the last two options say
    otherwise; comparisons that fall into one step see the parameters before it.
  """
  _check(model, space, skips, subnetworks, interval)
  search = Search(
      model, task, tx, skips, subnetworks, interval, warmup,
      search_steps or _FOR_EVER, gate_rate, law, micro_batches,
      reward_train_mode)
  candidates = model.candidates

  def init(rng, params):
    return states.start(rng, params, tx, extra={
        'gate': jnp.zeros(len(candidates), jnp.float32),
        'count': jnp.zeros((), jnp.int32),
        'reward': jnp.zeros((), jnp.float32)})

  def step(state, batches):
    grads, metrics, written = states.accumulate(
        functools.partial(skipping_grads, search), state, batches['train'],
        micro_batches, mean=task.mean)
    extra = compared(search, state, batches['held_out'])
    state = state.replace(extra=extra)
    metrics |= {'reward': extra['reward'], 'gate/min': extra['gate'].min(),
                'gate/max': extra['gate'].max()}
    return states.update(state, grads, tx, metrics, written)

  def choice(state):
    found = controller.select(state.extra['gate'], skips)
    return Choice(skip=tuple(candidates[i] for i in found),
                  model=elastic.fingerprint(state.params))

  served = _FOR_EVER if fixed_reward_batch else max(
      1, interval // micro_batches)
  passes = (Pass(FULL), Pass(FULL, subnetworks / interval, learns=False))
  return Method(init, step, passes, streams={'train': 1, 'held_out': served},
                choice=choice)


def skipping_grads(search: Search, state: states.TrainState, batch: Any,
                   key: jax.Array) -> tuple[Any, dict[str, jax.Array], Any]:
  """Gradients of what is trained, metrics and the batch statistics that were
  written, from one part of a batch and one draw of layers.
  """
  draw, shared, dropout = jax.random.split(key, 3)
  params = states.trained(state.params, search.tx)
  flags = controller.sample(draw, state.extra['gate'], search.skips, search.law)
  flags = jnp.where(state.step < search.steps, flags, controller.selected(
      state.extra['gate'], search.skips))
  batch, once, pull, written_once = run_shared(
      search.model, params, batch, shared)
  trained, rest = params

  def loss(trained, once):
    outputs, written = states.forward(
        search.model, paths.join(trained, rest), batch | once, dropout,
        flags=flags)
    return tasks.hard(search.task, outputs, batch, dropout), written

  (loss, written), grads = jax.value_and_grad(
      loss, argnums=(0, 1), has_aux=True)(trained, once)
  return pull(*grads), {'loss/full': loss}, written | written_once


def compared(search: Search, state: states.TrainState, batch: Any
             ) -> dict[str, jax.Array]:
  """Preferences, and what is counted, after the parts of one step.

  Args:
    search: how.
    state: before the step.
    batch: what is compared on.
  """
  key = jax.random.fold_in(jax.random.fold_in(state.rng, state.step), 1)
  searches = (state.step >= search.warmup) & (state.step < search.steps)

  def compare(extra, key):
    draw, dropout = jax.random.split(key)
    flags = controller.sample_distinct(
        draw, extra['gate'], search.skips, search.subnetworks, search.law)
    losses = losses_of(search, state.params, batch, flags, dropout)
    gate, reward = controller.update(
        extra['gate'], flags, losses, search.rate)
    return {'gate': gate, 'count': jnp.zeros((), jnp.int32), 'reward': reward}

  def part(i, extra):
    extra = extra | {'count': extra['count'] + 1}
    due = searches & (extra['count'] >= search.interval)
    return jax.lax.cond(due, compare, lambda extra, key: extra, extra,
                        jax.random.fold_in(key, i))

  return jax.lax.fori_loop(0, search.micro_batches, part, state.extra)


def losses_of(search: Search, params: Any, batch: Any, flags: jax.Array,
              key: jax.Array) -> jax.Array:
  """float[m], the mean loss of a row of a batch with each set skipped.

  Args:
    search: whose model and task.
    params: all parameters.
    batch: of all devices.
    flags: bool[m, n].
    key: of dropout, where there is any.
  """
  def summed(state, key, batch):
    params, flags = state
    train = dict(train=True, rngs={'dropout': key}) if search.noisy else {}
    apply = functools.partial(search.model.apply, {'params': params}, **train)
    if hasattr(search.model, 'shared'):
      batch = batch | apply(batch, method='shared')
    found = jax.lax.map(lambda one: jnp.stack(tasks.summed(
        search.task, apply(batch, flags=one), batch)), flags)
    return found, ()

  totals, _ = sharding.on_own_rows(summed)((params, flags), key, batch)
  return totals[:, 0] / jnp.maximum(totals[:, 1], 1)


def _check(model, space, skips, subnetworks, interval):
  """Raises a ValueError for what cannot be, before anything compiles."""
  candidates = getattr(model, 'candidates', ())
  if not candidates:
    raise ValueError(
        'method das looks for layers to skip, but no layer of this model may '
        'be skipped: set config.model.adapter to the hidden units of what runs '
        'instead, and config.model.skip to None.')
  if len(space) > 1:
    raise ValueError(
        f'method das trains one model, but the space has {len(space)} '
        'submodels; give config.space one width and one depth, and train a '
        'sandwich from what it leaves.')
  controller.check_sets(len(candidates), skips, subnetworks)
  if subnetworks < 2 or interval < 1:
    raise ValueError(
        f'config.method.subnetworks is {subnetworks} and interval {interval}; '
        'at least two sets are compared, after at least one part of a batch.')
