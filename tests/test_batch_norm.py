"""Batch statistics: training measures and stores them, nothing else does."""
from bst_jax import elastic, methods, tasks
from bst_jax.elastic import Axis, FULL, Order
from bst_jax.layers import batch_norm
from bst_jax.layers.batch_norm import BatchNorm
from bst_jax.layers.stack import Stack
from bst_jax.learn import optimizers, statistics
from bst_jax.learn import state as states
from bst_jax.store import checkpoint
import chex
from flax import linen as nn
import jax
import jax.numpy as jnp
import models
import numpy as np
import optax
import pytest
import virtual

CHANNELS = Axis('embed', 3)
RNG = np.random.default_rng(0)


def batches(count=3):
  return [2 + 3 * RNG.standard_normal((4, 2, 2, 3)).astype(np.float32)
          for _ in range(count)]


def test_three_steps_as_in_torch():
  """Momentum 0.1; the batch by its biased variance, the stored one unbiased."""
  norm = BatchNorm(CHANNELS, frozen=False)
  params = elastic.unbox(norm.init(jax.random.key(0), batches()[0])['params'])
  mean, var = np.zeros(3), np.ones(3)
  for x in batches():
    y, sown = norm.apply({'params': params}, x, train=True,
                         mutable=[batch_norm.WRITTEN])
    params = statistics.put_over(params, sown['written'])
    rows = x.reshape(-1, 3).astype(np.float64)
    want = (rows - rows.mean(0)) / np.sqrt(rows.var(0) + 1e-5)
    np.testing.assert_allclose(y.reshape(-1, 3), want, atol=1e-5)
    mean = 0.9 * mean + 0.1 * rows.mean(0)
    var = 0.9 * var + 0.1 * rows.var(0, ddof=1)
  np.testing.assert_allclose(params['stats']['mean'], mean, rtol=1e-5)
  np.testing.assert_allclose(params['stats']['var'], var, rtol=1e-5)
  assert np.array_equal(params['scale'], np.ones(3))

  x = batches()[0]
  y, sown = norm.apply({'params': params}, x, mutable=[batch_norm.WRITTEN])
  np.testing.assert_allclose(y, (x - mean) / np.sqrt(var + 1e-5), atol=1e-5)
  assert not sown
  # Frozen, training is evaluation.
  still, sown = norm.clone(frozen=True).apply(
      {'params': params}, x, train=True, mutable=[batch_norm.WRITTEN])
  assert not sown and np.array_equal(still, y)


def test_one_value_a_channel_is_refused():
  norm = BatchNorm(CHANNELS, frozen=False)
  with pytest.raises(ValueError, match="no variance .*batch_stats='stored'"):
    jax.eval_shape(lambda x: norm.init(jax.random.key(0), x, train=True),
                   jnp.ones((1, 3)))
  with pytest.raises(ValueError, match="batch_stats.* 'bach'. Did you mean"):
    batch_norm.of('bach')


class _Layer(nn.Module):

  @nn.compact
  def __call__(self, x, *, sub=FULL, seed=None):
    return BatchNorm(CHANNELS, frozen=False, name='norm')(
        jnp.sin(3 * x), sub=sub, train=seed is not None)


@pytest.mark.parametrize('how', ['remat', 'scan', 'remat scan'])
def test_layers_that_are_looped_or_recomputed_write_the_same(how):
  stack = Stack(_Layer, Order(3))
  x = batches()[0]
  params = elastic.unbox(stack.init(jax.random.key(0), x)['params'])

  def run(stack):
    def loss(params):
      y, sown = stack.apply({'params': params}, x, seed=jnp.uint32(1),
                            mutable=[batch_norm.WRITTEN])
      return jnp.square(y * jnp.arange(3)).sum(), sown['written']
    return jax.grad(loss, has_aux=True)(params)

  want, got = run(stack), run(stack.clone(**dict.fromkeys(how.split(), True)))
  chex.assert_trees_all_close(got, want, atol=1e-4)
  assert len(jax.tree.leaves(got[1])) == 6
  # Not in evaluation, and scanned layers go on without anyone who stores.
  assert stack.clone(scan=True).apply({'params': params}, x).shape == x.shape


# --- in training --------------------------------------------------------------

SMALL = dict(width=(8, 8), heads=(4, 4), mlp=(8, 8), num_layers=(1, 1),
             batch_stats='batch')
SPACE = elastic.Space(models.QUARTERS)


def build(backbone):
  sizes = SMALL if backbone == 'cvt' else dict(batch_stats='batch')
  if backbone == 'clip_vil':
    sizes['num_layers'] = 1
  return models.build(backbone, **sizes)


def training(backbone, tx, micro=1, **method):
  """A method on a model of batch statistics, and the state that it starts in.
  """
  model, batch, params, axes = build(backbone)
  batch = batch | {'target': jnp.asarray(RNG.random((4, 7)), jnp.float32),
                   'label': jnp.arange(4), 'mask': jnp.ones(4, bool)}
  made = methods.create(
      dict(name='plain') | method, model=model, task=tasks.create(
          {'name': 'answers' if backbone == 'clip_vil' else 'classes'}),
      tx=tx, axes=axes, micro_batches=micro, space=SPACE)
  return made, batch, made.init(jax.random.key(0), params)


def is_stats(path):
  return '/stats/' in path


@pytest.mark.parametrize('name', ['cvt', 'ps_vit', 'clip_vil'])
def test_a_step_moves_statistics_and_the_optimiser_has_none(name):
  tx = optax.adamw(1e-3, weight_decay=0.5)
  made, batch, state = training(name, tx)
  paths = elastic.flatten(state.params)
  assert sum(map(is_stats, paths)) >= 12
  owned = elastic.size(statistics.without(state.params))
  assert owned == elastic.size(
      {path: x for path, x in paths.items() if not is_stats(path)})
  assert elastic.size(state.opt_state) == 2 * owned + 1
  new, metrics = jax.jit(made.step)(state, {'train': batch})
  moved = elastic.flatten(jax.tree.map(
      lambda a, b: np.any(a != b), new.params, state.params))
  assert all(moved[path] for path in moved if is_stats(path))
  largest = max(np.abs(x).max() for path, x in elastic.flatten(
      new.params).items() if is_stats(path))
  assert metrics['stats_max'] == largest
  # The statistics of the batch alone: what the optimiser did is no part of it.
  _, written = states.forward(
      build(name)[0], state.params, batch, jax.random.key(0))
  for path, leaf in elastic.flatten(written).items():
    np.testing.assert_allclose(
        elastic.flatten(new.params)[path], leaf, atol=1e-5, err_msg=path)


def test_what_a_sandwich_of_micro_batches_stores():
  """The mean over the parts of what the full model alone writes."""
  made, batch, state = training('cvt', optax.sgd(0.0), 2, name='bst',
                                sampled=0, teacher='labels')
  new, _ = jax.jit(made.step)(state, {'train': batch})
  parts = [states.forward(
      build('cvt')[0], state.params, {
          key: x[i::2] for key, x in batch.items()}, jax.random.key(0))[1]
           for i in range(2)]
  got = elastic.flatten(new.params)
  want = elastic.flatten(jax.tree.map(lambda a, b: (a + b) / 2, *parts))
  assert len(want) == 12
  for path, leaf in want.items():
    np.testing.assert_allclose(got[path], leaf, atol=1e-5, err_msg=path)


def test_statistics_that_are_not_finite_are_told():
  made, batch, state = training('cvt', optax.sgd(0.0))
  kernel = state.params['stage_0']['layer_0']['attention']['query_conv']
  kernel['kernel'] = kernel['kernel'] * 1e30
  _, metrics = jax.jit(made.step)(state, {'train': batch})
  # The variance overflows, and all that it divides is zero.
  assert np.isfinite(metrics['loss/full'])
  assert not np.isfinite(metrics['stats_max'])


def test_parts_and_clipping_leave_statistics_out():
  params = {'head': {'kernel': jnp.ones((2, 2))}, 'norm': {
      'scale': jnp.ones(2), 'stats': {'mean': jnp.ones(2), 'var': jnp.ones(2)}}}
  tx = optimizers.create(
      dict(name='adamw', lr=1.0, weight_decay=0.5, clip=1.0,
           parts={'head': dict(lr_scale=2.0)}),
      dict(name='constant'), params, 1.0, 10)
  state = states.start(jax.random.key(0), params, tx)
  grads = jax.tree.map(jnp.ones_like, params)
  new, metrics = states.update(state, grads, tx, {})
  chex.assert_trees_all_equal(new.params['norm']['stats'],
                              params['norm']['stats'])
  assert metrics['grad_norm'] == pytest.approx(6 ** 0.5)
  assert 'stats_max' not in metrics
  assert np.all(new.params['head']['kernel'] < 0)


# --- on several devices -------------------------------------------------------

# Devices x method / micro-batches
RUNS = '1 plain 1', '2 plain 1', '4 plain 1', '1 bst 2', '4 bst 2'

DEVICES = '''
import json, sys
from bst_jax import elastic, methods, tasks
from bst_jax.learn import sharding
import jax, jax.numpy as jnp, numpy as np, optax
import models, test_batch_norm

# In float32 rounding alone is as large, as variances of a few values divide.
jax.config.update('jax_enable_x64', True)
out = {}
model, batch, params, axes = models.build(
    'cvt', dtype=jnp.float64, **test_batch_norm.SMALL)
params = jax.tree.map(lambda x: x.astype(jnp.float64), params)
rng = np.random.default_rng(0)
batch = {'image': rng.integers(0, 256, (8, 16, 16, 3), np.uint8),
         'label': np.arange(8, dtype=np.int32) % 7,
         'mask': np.ones(8, bool)}
for run in sys.argv[1:]:
  count, name, micro = run.split()
  options = dict(sampled=1, teacher='labels') if name == 'bst' else {}
  method = methods.create(
      dict(name=name) | options, model=model,
      task=tasks.create({'name': 'classes'}), tx=optax.sgd(1e-2), axes=axes,
      micro_batches=int(micro), space=test_batch_norm.SPACE)
  mesh = sharding.make_mesh({'data': -1}, jax.devices()[:int(count)])
  with jax.set_mesh(mesh):
    state = jax.device_put(method.init(jax.random.key(3), params),
                           sharding.NamedSharding(mesh, jax.P()))
    placed = sharding.place(batch, mesh)
    step = jax.jit(method.step)
    for _ in range(3):
      state, metrics = step(state, {'train': placed})
  out[run] = {path: np.asarray(x, np.float64).reshape(-1).tolist()
              for path, x in elastic.flatten(state.params).items()}
print(json.dumps(out))
'''


@pytest.fixture(scope='module')
def runs():
  return virtual.run(DEVICES, 4, *RUNS)


@pytest.mark.parametrize('run', [run for run in RUNS if run[0] != '1'])
def test_three_steps_agree_on_any_number_of_devices(runs, run):
  one, many = runs[f'1{run[1:]}'], runs[run]
  before = elastic.flatten(build('cvt')[2])
  for path, leaf in one.items():
    np.testing.assert_allclose(many[path], leaf, atol=1e-9, err_msg=path)
    if is_stats(path):
      assert np.abs(np.array(leaf) - before[path].reshape(-1)).min() > 1e-4, path


# --- checkpoints --------------------------------------------------------------


def old(tree):
  """The tree as versions without a module for statistics had it."""
  if not isinstance(tree, dict):
    return tree
  tree = {key: old(child) for key, child in tree.items()}
  return {key: child for key, child in tree.items() if key != 'stats'
          } | tree.get('stats', {})


def test_checkpoints_with_statistics_beside_the_gains_still_load(tmp_path):
  made, _, state = training('cvt', optax.adam(1e-3))
  params = old(state.params)
  assert 'mean' in params['stage_0']['layer_0']['attention']['key_norm']
  before = state.replace(params=params, opt_state=optax.adam(1e-3).init(params))
  with checkpoint.Store(tmp_path) as store:
    store.save(5, before, {'place': 3})
    restored, place = store.restore(jax.eval_shape(lambda: state))
  chex.assert_trees_all_equal(restored.params, state.params)
  chex.assert_trees_all_equal(restored.opt_state, state.opt_state)
  assert place == {'place': 3}

  shapes = jax.eval_shape(lambda: state.params)
  for abstract in (None, shapes):
    chex.assert_trees_all_equal(
        checkpoint.load_params(tmp_path, abstract), state.params)
  other = dict(shapes, head={'kernel': shapes['head']['kernel']})
  with pytest.raises(ValueError, match='differ in 1 of .*\n.*head/bias'):
    checkpoint.load_params(tmp_path, other)
