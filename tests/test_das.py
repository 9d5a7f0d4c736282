"""Searching for the layers that a task does without."""
import functools

from bst_jax import elastic, methods, tasks
from bst_jax.elastic import Axis, FULL, Order, Space
from bst_jax.layers.adapters import SkipAdapter
from bst_jax.layers.backbone import Backbone
from bst_jax.layers.blocks import FeedForward
from bst_jax.layers.linear import Dense
from bst_jax.layers.stack import Stack
from bst_jax.learn import optimizers
from bst_jax.learn import state as states
from bst_jax.methods import das
from flax import linen as nn
import jax
import jax.numpy as jnp
import models
import numpy as np
import pytest

TASK = tasks.create(dict(name='vqa', reduction='mean_batch'))
# Rewards of this loss are far from zero.
CLASSES = tasks.create(dict(name='gqa', reduction='mean_batch'))
WHOLE = Space(('1',), ('1',))


class _Layer(nn.Module):
  embed: Axis

  @nn.compact
  def __call__(self, x, *, sub=FULL, seed=None):
    return x + FeedForward(self.embed, Axis('mlp', 16), self.embed, nn.tanh,
                           name='ffn')(x, sub=sub, seed=seed)


class Toy(Backbone):
  """A few residual layers, each of which may be skipped."""

  width: int = 8
  num_layers: int = 6
  adapter: int = 2
  skip: tuple[str, ...] | None = None
  strategy: str = 'middle'
  strategy_seed: int = 0
  dtype: type = jnp.float32

  @nn.compact
  def __call__(self, batch, *, sub=FULL, train=False, flags=None):
    embed = Axis('embed', self.width)
    x = Dense((Axis('feat', 8),), (embed,), name='inp')(batch['regions'][:, 0])
    x = Stack(functools.partial(_Layer, embed), Order(self.num_layers),
              name='encoder', **self.skips('encoder', SkipAdapter, embed))(
                  x, sub=sub, flags=flags)
    return {'answers': Dense((embed,), (Axis('answers', 7),), name='head')(x)}


FROZEN = {'inp': dict(frozen=True), 'encoder/layer_*': dict(frozen=True)}


def made(model, batch, params, micro=1, parts=FROZEN, task=TASK,
         optimizer='adam', **options):
  """Method, first state, compiled step, and how often it was traced."""
  axes = elastic.names(jax.eval_shape(
      model.init, jax.random.key(0), batch)['params'])
  tx = optimizers.create(
      dict(name=optimizer, lr=3e-3, parts=parts), dict(name='constant'),
      elastic.unbox(jax.eval_shape(
          model.init, jax.random.key(0), batch)['params']), 1.0, 1000)
  method = methods.create(dict(name='das', **options), model=model, task=task,
                          tx=tx, axes=axes, space=WHOLE, micro_batches=micro)
  traced = []

  def step(state, batches):
    traced.append(True)
    return method.step(state, batches)

  return method, method.init(jax.random.key(1), params), jax.jit(step), traced


def labelled(rows, seed):
  """Rows whose label a linear map of their features gives."""
  rng = np.random.default_rng(seed)
  x = rng.standard_normal((rows, 1, 8)).astype(np.float32)
  teacher = np.random.default_rng(99).standard_normal((8, 7))
  target = np.eye(7, dtype=np.float32)[(x[:, 0] @ teacher).argmax(1)]
  return {'regions': jnp.asarray(x), 'target': jnp.asarray(target),
          'mask': jnp.ones(rows, bool)}


ADAPTERS = {'**': dict(frozen=True), 'encoder/skip_layer_*': {}}


def planted(seed, useless=(1, 4), fixed=False):
  """What a search skips where two layers do nothing, and its last state.

  Labels are what the model with all layers says, and adapters alone are trained.
  """
  model, batch = Toy(), labelled(32, 0)
  params = elastic.unbox(model.init(jax.random.key(seed), batch)['params'])
  draw = np.random.default_rng(seed).standard_normal
  for i in range(6):
    ffn = params['encoder'][f'layer_{i}']['ffn']
    ffn['fc1']['kernel'] = jnp.asarray(0.5 * draw((8, 16)), jnp.float32)
    ffn['fc2'] = {
        'kernel': jnp.asarray((i not in useless) * 0.5 * draw((16, 8)),
                              jnp.float32),
        'bias': jnp.zeros(8)}
  params['head']['kernel'] = jnp.asarray(draw((8, 7)), jnp.float32)

  answer = jax.jit(lambda batch: jax.nn.one_hot(model.apply(
      {'params': params}, batch)['answers'].argmax(1), 7))

  def told(rows, seed):
    batch = labelled(rows, seed)
    return batch | {'target': answer(batch)}

  method, state, step, traced = made(
      model, batch, params, parts=ADAPTERS, task=CLASSES, skips=2, interval=2,
      warmup=40, fixed_reward_batch=fixed)
  assert method.streams['held_out'] == (1 << 30 if fixed else 2)
  for i in range(120):
    state, metrics = step(state, {
        'train': told(32, i), 'held_out': told(64, 10_000 + i // method.streams[
            'held_out'])})
  assert len(traced) == 1
  return method.choice(state), state, metrics


@pytest.mark.parametrize('fixed', [False, True], ids=['fresh', 'one batch'])
def test_layers_that_do_nothing_are_found(fixed):
  """Of ten seeds: tests/bench/das_planted.py."""
  choice, state, metrics = planted(int(fixed), fixed=fixed)
  assert choice.skip == ('encoder/layer_1', 'encoder/layer_4')
  assert choice.model == elastic.fingerprint(state.params)
  assert 0 < metrics['reward'] < 1
  np.testing.assert_allclose(state.extra['gate'].max(), metrics['gate/max'])


def test_nothing_moves_before_the_warm_up_and_then_after_each_interval():
  model, batch = Toy(), labelled(8, 0)
  params = elastic.unbox(model.init(jax.random.key(0), batch)['params'])
  _, state, step, _ = made(model, batch, params, micro=2, skips=2, interval=3,
                           warmup=4)
  moved = []
  for i in range(10):
    before = state.extra['gate']
    state, _ = step(state, {'train': labelled(8, i), 'held_out': batch})
    moved.append(bool((before != state.extra['gate']).any()))
  # Of two parts a step the first after the warm-up is due at once, and from
  # there every third part.
  assert moved == [False] * 4 + [True, True, False, True, True, False]


def test_only_what_is_trained_moves_and_only_where_a_draw_reached_it():
  model, batch = Toy(), labelled(8, 0)
  params = elastic.unbox(model.init(jax.random.key(0), batch)['params'])
  _, state, step, _ = made(model, batch, params, skips=1, interval=5)
  after, _ = step(state, {'train': batch, 'held_out': batch})
  flags = np.array([
      np.abs(np.asarray(after.params['encoder'][f'skip_layer_{i}']['ffn']['fc1']
                        ['kernel']) - params['encoder'][f'skip_layer_{i}'][
                            'ffn']['fc1']['kernel']).max() > 0
      for i in range(6)])
  assert flags.sum() == 1
  for name in ('inp', 'encoder/layer_0/ffn/fc1', 'encoder/layer_5/ffn/fc2'):
    old, new = (elastic.flatten(p)[f'{name}/kernel'] for p in (
        params, after.params))
    np.testing.assert_array_equal(old, new)


def test_after_the_search_the_layers_stay_those_that_were_found():
  model, batch = Toy(), labelled(8, 0)
  params = elastic.unbox(model.init(jax.random.key(0), batch)['params'])
  _, state, step, _ = made(model, batch, params, skips=2, interval=1,
                           search_steps=6, optimizer='sgd')
  for i in range(6):
    state, _ = step(state, {'train': labelled(8, i), 'held_out': batch})
  gate = np.asarray(state.extra['gate'])
  skipped = np.argsort(gate, kind='stable')[-2:]
  bias = lambda state: [np.asarray(
      state.params['encoder'][f'skip_layer_{j}']['ffn']['fc2']['bias'])
                        for j in range(6)]
  before, moved = bias(state), set()
  for i in range(6, 12):
    state, _ = step(state, {'train': labelled(8, i), 'held_out': batch})
    np.testing.assert_array_equal(state.extra['gate'], gate)
    moved |= {j for j in range(6) if (
        state.params['encoder'][f'skip_layer_{j}']['ffn']['fc2']['bias']
        != before[j]).any()}
  assert moved == set(skipped.tolist())


@pytest.mark.parametrize('name', ['vilt_das', 'meter_das'])
def test_a_search_of_a_real_backbone_is_traced_once_and_frozen_parts_stay(name):
  model, batch, params, _ = models.build(name, skip=None)
  batch |= models.batch_of('target', 'mask')
  parts = {'**': dict(frozen=True), '**/skip_layer_*': {}, 'head': {},
           '**/adapter_attention': {}}
  _, state, step, traced = made(model, batch, params, parts=parts, skips=2,
                                interval=1)
  for _ in range(3):
    state, metrics = step(state, {'train': batch, 'held_out': batch})
  assert len(traced) == 1 and np.isfinite(metrics['loss/full'])
  old, new = map(elastic.flatten, (params, state.params))
  changed = {path for path in old if (old[path] != new[path]).any()}
  assert changed and all('skip_layer_' in path or 'adapter_attention' in path
                         or path.startswith('head/') for path in changed)


def test_rewards_are_of_a_row_whatever_the_loss_sums():
  model, batch = Toy(), labelled(8, 0)
  params = elastic.unbox(model.init(jax.random.key(0), batch)['params'])
  found = []
  for reduction in ('sum', 'mean_batch'):
    task = tasks.create(dict(name='vqa', reduction=reduction))
    search = das.Search(model, task, None, 1, 2, 1, 0, 9, 1.0, 'multinomial', 1,
                        False)
    flags = jnp.eye(6, dtype=bool)[:2]
    found.append(das.losses_of(search, params, batch, flags, jax.random.key(0)))
    logits = model.apply({'params': params}, batch, flags=flags[0])
    want = tasks.hard(TASK, logits, batch)
    np.testing.assert_allclose(found[-1][0], want, rtol=1e-5)
  np.testing.assert_allclose(*found, rtol=1e-6)


@pytest.mark.parametrize('options, says', [
    (dict(skips=7), 'choose from 1 to 6'),
    (dict(skips=6, subnetworks=2), 'make only 1 different'),
    (dict(subnetworks=1), 'at least two sets'),
    (dict(skip=('encoder/layer_0',)), 'no layer of this model may be skipped')])
def test_what_cannot_be_searched_is_refused(options, says):
  model, batch = Toy(skip=options.pop('skip', None)), labelled(8, 0)
  params = elastic.unbox(model.init(jax.random.key(0), batch)['params'])
  with pytest.raises(ValueError, match=says):
    made(model, batch, params, parts={}, **options)


def test_a_sandwich_is_no_search():
  model, batch = Toy(), labelled(8, 0)
  axes = elastic.names(jax.eval_shape(
      model.init, jax.random.key(0), batch)['params'])
  with pytest.raises(ValueError, match='the space has 2 submodels'):
    methods.create(dict(name='das'), model=model, task=TASK, tx=None, axes=axes,
                   space=Space(('1/2', '1'), ('1',)), micro_batches=1)


def test_states_know_no_more_than_twelve_numbers():
  model, batch = Toy(), labelled(8, 0)
  params = elastic.unbox(model.init(jax.random.key(0), batch)['params'])
  _, state, _, _ = made(model, batch, params, skips=2)
  assert isinstance(state, states.TrainState)
  assert {k: v.shape for k, v in state.extra.items()} == {
      'gate': (6,), 'count': (), 'reward': ()}
