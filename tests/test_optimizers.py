"""Schedules, optimisers and the parts of a model that have their own."""
import functools
import operator

from bst_jax import elastic, methods, tasks
from bst_jax.learn import optimizers, schedules, sharding
from bst_jax.learn import state as states
from bst_jax.store import checkpoint
import chex
import jax
import jax.numpy as jnp
import models
import numpy as np
import optax
import pytest

ADAM = dict(name='adam', b1=0.9, b2=0.98, eps=1e-9)
PARAMS = {
    'encoder': {f'layer_{i}': {'kernel': jnp.full((2, 2), 3.0)}
                for i in range(2)},
    'head': {'kernel': jnp.full((2, 2), 3.0), 'bias': jnp.full(2, 3.0)},
    'visual': {'kernel': jnp.full((2, 2), 3.0), 'mean': jnp.full(2, 3.0)},
}


def create(config, params, frozen=()):
  """An optimiser at a constant rate; an epoch has five steps."""
  return optimizers.create(
      config, dict(name='constant'), params, 5, 100, frozen)


# --- schedules ----------------------------------------------------------------

def published_rate(s, num_samples, warmup, decay_epochs):
  """The published table, for 1-based step s: rate over base."""
  t = num_samples / 64 * (warmup + 1)
  if s <= int(t / 4):
    stair = 1 / (warmup + 1)
  elif s <= int(t / 2):
    stair = 2 / (warmup + 1)
  elif s <= int(3 * t / 4):
    stair = 3 / (warmup + 1)
  else:
    stair = 1
  epoch = (s - 1) // (num_samples // 64) + 1  # 1-based; whole batches only.
  return stair * 0.2 ** sum(epoch >= e for e in decay_epochs)


@pytest.mark.parametrize('num_samples', [64 * 40, 64 * 40 + 37])
@pytest.mark.parametrize('warmup, decay_epochs', [
    (3, (11, 13, 15)), (2, (9, 11))])
def test_published_schedule_around_every_break(num_samples, warmup,
                                               decay_epochs):
  rate = schedules.create(
      dict(name='quarters', warmup_epochs=warmup, decay_epochs=decay_epochs,
           decay=0.2), 1e-4, num_samples / 64, 600)
  t = num_samples / 64 * (warmup + 1)
  breaks = [int(t / 4), int(t / 2), int(3 * t / 4), int(t)]
  breaks += [(e - 1) * (num_samples // 64) for e in decay_epochs]
  steps = sorted({b + d for b in breaks for d in (-1, 0, 1, 2)} | {1})
  # Ours counts from 0: step s is worked with rate(s - 1).
  got = jax.vmap(rate)(jnp.asarray(steps) - 1)
  want = [1e-4 * published_rate(s, num_samples, warmup, decay_epochs)
          for s in steps]
  np.testing.assert_allclose(got, want, rtol=1e-5)
  assert len({f'{w:.3g}' for w in want}) >= 4 + len(decay_epochs) - (warmup < 3)


def test_multistep_counts_whole_epochs_from_one():
  rate = schedules.create(
      dict(name='multistep', decay_epochs=(3, 4), decay=0.1), 2.0, 10.7, 50)
  got = [float(rate(step)) for step in (0, 19, 20, 29, 30, 49)]
  np.testing.assert_allclose(got, [2, 2, .2, .2, .02, .02], rtol=1e-5)
  rising = schedules.create(dict(
      name='multistep', decay_epochs=(3,), warmup_steps=4), 2.0, 10.7, 50)
  np.testing.assert_allclose(
      [float(rising(step)) for step in (0, 1, 3, 4, 20)], [.5, 1, 2, 2, .2],
      rtol=1e-5)


def test_linear_cosine_and_constant():
  constant = schedules.create(dict(name='constant'), 0.5, 10, 100)
  assert float(constant(0)) == float(constant(99)) == 0.5
  linear = schedules.create(dict(name='linear', warmup=0.1), 0.5, 10, 100)
  np.testing.assert_allclose(
      [linear(step) for step in (0, 5, 10, 55, 100)], [0, .25, .5, .25, 0],
      atol=1e-6)
  cosine = schedules.create(
      dict(name='cosine', warmup=0.1, end=0.1), 1, 10, 100)
  rates = [float(cosine(s)) for s in (0, 5, 10, 55, 100)]
  np.testing.assert_allclose(rates, [0, 0.5, 1, 0.55, 0.1], atol=1e-6)


@pytest.mark.parametrize('config, message', [
    (dict(name='quarter', warmup_epochs=3), "no schedule 'quarter'. Did you"),
    (dict(name='quarters'), 'config.schedule: .*warmup_epochs'),
    (dict(name='quarters', warmup_epochs=1), 'to 3/2 of the .*multistep'),
    (dict(name='cosine', warm=3), "config.schedule: .*'warm'"),
])
def test_bad_schedules_say_so(config, message):
  with pytest.raises(ValueError, match=message):
    schedules.create(config, 1e-4, 10, 100)


# --- optimiser ----------------------------------------------------------------

def test_adam_as_torch_has_it():
  rng = np.random.default_rng(0)
  x = rng.standard_normal((3, 5)).astype(np.float32)
  params = {'w': jnp.asarray(x)}
  tx = create(ADAM | dict(lr=1e-2), params)
  opt_state = tx.init(params)

  m = v = np.zeros_like(x, dtype=np.float64)
  want = x.astype(np.float64)
  for t in (1, 2, 3):
    g = rng.standard_normal(x.shape).astype(np.float32) * 10.0 ** -t
    updates, opt_state = tx.update({'w': jnp.asarray(g)}, opt_state, params)
    params = optax.apply_updates(params, updates)
    m = 0.9 * m + 0.1 * g
    v = 0.98 * v + 0.02 * g.astype(np.float64) ** 2
    m_hat, v_hat = m / (1 - 0.9 ** t), v / (1 - 0.98 ** t)
    want = want - 1e-2 * m_hat / (np.sqrt(v_hat) + 1e-9)
    np.testing.assert_allclose(params['w'], want, rtol=1e-5)


def test_clip_and_weight_decay():
  params = {'kernel': jnp.ones((2, 2)), 'scale': jnp.ones(2),
            'heads': {'bias': jnp.ones((2, 2))}}
  zeros = jax.tree.map(jnp.zeros_like, params)
  tx = create(dict(name='adamw', lr=0.1, weight_decay=0.5), params)
  updates, _ = tx.update(zeros, tx.init(params), params)
  np.testing.assert_allclose(updates['kernel'], -0.05, rtol=1e-6)
  np.testing.assert_array_equal(updates['scale'], 0)
  np.testing.assert_array_equal(updates['heads']['bias'], 0)

  tx = create(dict(name='sgd', lr=0.1, clip=1.0), params)
  updates, _ = tx.update(params, tx.init(params), params)
  assert float(optax.tree.norm(updates)) == pytest.approx(0.1, rel=1e-5)


def test_sgd_as_torch_has_it():
  params = {'kernel': jnp.full((2, 2), 3.0), 'bias': jnp.full(2, 3.0)}
  tx = create(dict(name='sgd', lr=0.1, momentum=0.9, weight_decay=0.5), params)
  opt_state, velocity, want = tx.init(params), 0.0, 3.0
  for grad in (1.0, -2.0, 0.5):
    grads = jax.tree.map(lambda p, g=grad: jnp.full_like(p, g), params)
    updates, opt_state = tx.update(grads, opt_state, params)
    params = optax.apply_updates(params, updates)
    velocity = 0.9 * velocity + grad + 0.5 * want
    want -= 0.1 * velocity
    np.testing.assert_allclose(params['kernel'], want, rtol=1e-5)
  # Neither momentum nor a memory for it.
  tx = create(dict(name='sgd', lr=0.1, momentum=0.0), params)
  assert all(x.ndim == 0 for x in jax.tree.leaves(tx.init(params)))


@pytest.mark.parametrize('config, message', [
    (dict(name='adan', lr=1), "no optimiser 'adan'. Did you mean 'adam'"),
    (dict(name='adam', lr=1, beta1=0.9),
     "no option of optimiser adam 'beta1'. There are: b1, b2, eps,"),
    (dict(name='adam', lr=1, lr_scale=2.0),
     "no option of optimiser adam 'lr_scale'"),
    (dict(name='adam', lr=1, parts={'heads': {}}),
     "no path of parameters .*parts.* 'heads'. Did you mean 'head'?.*"
     'encoder, head, visual'),
    (dict(name='adam', lr=1, parts={'encoder/layer_2': {}}),
     "'encoder/layer_2'. Did you .* There are: encoder/layer_0, "
     'encoder/layer_1.$'),
    (dict(name='adam', lr=1, parts={'head': dict(lr_scael=2.0)}),
     "no option of optimiser adam 'lr_scael'. Did you mean 'lr_scale'"),
    (dict(name='adam', lr=1, parts={'head': dict(name='sgd', b1=0.9)}),
     "no option of optimiser sgd 'b1'"),
    (dict(name='adam', lr=1, parts={'head': dict(schedule=dict(name='no'))}),
     "no schedule 'no'"),
    (dict(name='adam', lr=1, parts={'head': 10}),
     r"parts\['head'\] is 10; wanted is a dict"),
    (dict(name='adam', lr=1, parts={
        part: dict(frozen=True) for part in ('encoder', 'head', 'visual')}),
     'freeze every parameter'),
])
def test_bad_optimisers_say_so(config, message):
  with pytest.raises(ValueError, match=message):
    create(config, PARAMS)


# --- parts --------------------------------------------------------------------

def moved(config, frozen=(), steps=1, grads=1.0, params=PARAMS):
  """{path: what the last of some steps adds to the parameters}."""
  tx = create(config, params, frozen)
  opt_state = tx.init(params)
  grads = jax.tree.map(lambda p: jnp.full_like(p, grads), params)
  for _ in range(steps):
    updates, opt_state = tx.update(grads, opt_state, params)
  return elastic.flatten(updates)


def test_a_part_learns_at_its_own_rate():
  alone = moved(ADAM | dict(lr=1e-3))
  parts = {'head': dict(lr_scale=10.0), 'encoder': dict(lr=1e-4),
           'encoder/layer_1': dict(lr_scale=0.5)}
  got = moved(ADAM | dict(lr=1e-3, parts=parts))
  scales = {'encoder/layer_0/kernel': 0.1, 'encoder/layer_1/kernel': 0.5,
            'head/bias': 10.0, 'head/kernel': 10.0, 'visual/kernel': 1.0,
            'visual/mean': 1.0}
  assert got.keys() == scales.keys()
  for path, scale in scales.items():
    np.testing.assert_allclose(got[path], scale * alone[path], rtol=1e-5,
                               err_msg=path)


def test_a_part_with_its_own_optimiser_and_schedule():
  """The second of two epochs of five steps is over at step 10."""
  config = dict(name='adamw', lr=1e-3, weight_decay=0.5, parts={
      'visual': dict(name='sgd', lr=0.1, weight_decay=0.25, schedule=dict(
          name='multistep', decay_epochs=(3,), decay=0.1))})
  for steps, rate in ((1, 0.1), (10, 0.1), (11, 0.01)):
    got = moved(config, steps=steps, grads=2.0)
    np.testing.assert_allclose(got['visual/kernel'], -rate * (2 + 0.25 * 3),
                               rtol=1e-5)
    np.testing.assert_allclose(got['visual/mean'], -rate * 2, rtol=1e-5)
    # Adam's step is the rate where gradients never change.
    np.testing.assert_allclose(got['head/kernel'], -1e-3 * (1 + 0.5 * 3),
                               rtol=1e-4)
    np.testing.assert_allclose(got['head/bias'], -1e-3, rtol=1e-4)


def test_a_frozen_part_stays_has_no_memory_and_no_share_in_the_norm():
  config = dict(name='adamw', lr=1.0, weight_decay=0.5, clip=1.0, parts={
      'head': dict(lr_scale=2.0), 'encoder': dict(frozen=True)})
  got = moved(config, frozen=('visual',), grads=3.0)
  assert got.keys() == {'head/bias', 'head/kernel'}
  assert all(np.any(update) for update in got.values())
  memory = elastic.size(create(config, PARAMS, ('visual',)).init(PARAMS))
  assert memory == 2 * elastic.size(PARAMS['head']) + 2  # And two counters.

  # Six gradients of 3 are clipped to the norm 1, whatever the rest has.
  sgd = config | dict(name='sgd', weight_decay=0.0)
  got = moved(sgd, frozen=('visual',), grads=3.0)
  np.testing.assert_allclose(got['head/kernel'], -2 / 6 ** 0.5, rtol=1e-5)
  # With one rate each, the norm is that of both parts.
  sgd['parts'] = {'head': dict(lr_scale=2.0)}
  np.testing.assert_allclose(
      moved(sgd, grads=3.0)['head/kernel'],
      -2 / elastic.size(PARAMS) ** 0.5, rtol=1e-5)


@pytest.mark.parametrize('config', [
    dict(name='adamw', weight_decay=0.5), dict(name='adamw'),
    dict(name='sgd', weight_decay=0.5, momentum=0.9)],
    ids=['adamw', 'decay by default', 'sgd'])
def test_no_optimiser_moves_batch_statistics(config):
  """Whatever gradients they are given."""
  model, _, params, _ = models.build('clip_vil', num_layers=1)
  grads = jax.tree.map(jnp.ones_like, params)

  def moved(model):
    tx = create(config | dict(lr=0.1), params, model.frozen_parts)
    state = states.start(jax.random.key(0), params, tx)
    new, _ = jax.jit(lambda state: states.update(state, grads, tx, {}))(state)
    return elastic.flatten(jax.tree.map(
        lambda a, b: bool(np.any(a != b)), new.params, params))

  for path, moves in moved(model).items():
    assert moves != ('/stats/' in path), path
  for path, moves in moved(model.clone(train_visual=False)).items():
    assert moves != path.startswith('visual/'), path


def test_a_sandwich_with_parts_is_sharded_and_resumed(tmp_path):
  """Parts under micro-batches, a mesh's rules and a checkpoint."""
  model, batch, params, axes = models.toy(num_layers=2)
  boxed = jax.eval_shape(model.init, jax.random.key(0), batch)['params']
  tx = create(dict(name='adamw', lr=0.1, weight_decay=0.1, clip=1.0, parts={
      'out': dict(name='sgd', lr=0.1, momentum=0.9, schedule=dict(
          name='multistep', decay_epochs=(2,))),
      'layers/layer_1': dict(lr_scale=0.5), 'inp': dict(frozen=True)}), params)
  method = methods.create(
      dict(name='bst'), model=model, task=tasks.create(dict(name='vqa')), tx=tx, axes=axes,
      space=elastic.Space(('1/2', '1'), ('1/2', '1')), micro_batches=2,
      sampled=1)
  where = sharding.shardings(
      jax.eval_shape(method.init, jax.random.key(0), boxed),
      sharding.make_mesh({'data': -1, 'fsdp': 1}), 'fsdp')
  inner = where.opt_state[1].inner_states
  assert inner.keys() == {'(rest)', 'out', 'layers/layer_1'}
  moments = inner['layers/layer_1'].inner_state[0].mu
  name = 'layers', 'layer_1', 'ffn', 'fc1', 'kernel'
  pick = lambda tree: functools.reduce(operator.getitem, name, tree)
  assert pick(moments) == pick(where.params)
  assert 'fsdp' in pick(where.params).spec

  step = jax.jit(method.step, out_shardings=(where, None))
  begin = jax.device_put(method.init(jax.random.key(0), params), where)
  batch = {'train': batch}
  half, _ = step(begin, batch)
  whole, _ = step(half, batch)
  with checkpoint.Store(tmp_path) as store:
    store.save(1, half.replace(frozen=None), {})
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(
        x.shape, x.dtype, sharding=x.sharding), half)
    again, _ = store.restore(like)
  resumed, _ = step(again.replace(frozen=half.frozen), batch)
  chex.assert_trees_all_equal(whole.params, resumed.params)
  chex.assert_trees_all_equal(whole.opt_state, resumed.opt_state)
  same = jax.tree.map(lambda a, b: bool((a == b).all()), whole.params, params)
  for path, unmoved in elastic.flatten(same).items():
    assert unmoved == path.startswith('inp/'), path


@pytest.mark.parametrize('gains, moved', [
    (False, {'kernel'}), (True, {'kernel', 'scale'})])
def test_what_decays(gains, moved):
  """Decay alone moves parameters whose gradients are zero."""
  params = {'norm': {'scale': jnp.ones(3), 'bias': jnp.ones(3)},
            'query': {'kernel': jnp.ones((3, 3)), 'bias': jnp.ones((2, 3))}}
  tx = create(dict(name='adamw', lr=0.1, weight_decay=0.5,
                   parts={'**': dict(decay_gains=gains)}), params)
  updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params),
                         params)
  assert {path.split('/')[1] for path, x in elastic.flatten(updates).items()
          if x.any()} == moved
