"""Running means of parameters: kept in a step, saved, and taken afterwards."""
from bst_jax import elastic, methods, tasks
from bst_jax.learn import optimizers
from bst_jax.learn import state as states
from bst_jax.store import checkpoint
import chex
import jax
import jax.numpy as jnp
import models
import numpy as np
import pytest


def method_of(model, axes, params, ema=0.5, parts=()):
  tx = optimizers.create(
      dict(name='sgd', lr=0.1, parts={p: dict(frozen=True) for p in parts}),
      dict(name='constant'), params, 5.0, 100, ema=ema)
  return methods.create(
      dict(name='plain'), model=model, task=tasks.create(dict(name='vqa')),
      tx=tx, axes=axes, space=elastic.Space(), micro_batches=1)


def test_the_mean_is_of_what_is_trained_and_early_steps_count_more():
  model, batch, params, axes = models.toy(num_layers=1)
  method = method_of(model, axes, params, parts=['inp'])
  state = method.init(jax.random.key(0), params)
  assert elastic.flatten(state.ema).keys() == {
      path for path in elastic.flatten(params) if not path.startswith('inp')}
  step, want = jax.jit(method.step), params['out']['bias']
  for n in range(12):
    state, _ = step(state, {'train': batch})
    decay = min(0.5, (1 + n) / (10 + n))
    want = decay * want + (1 - decay) * state.params['out']['bias']
  np.testing.assert_allclose(state.ema['out']['bias'], want, rtol=1e-5)
  averaged = states.averaged(state)
  chex.assert_trees_all_equal(averaged['out'], state.ema['out'])
  chex.assert_trees_all_equal(averaged['inp'], params['inp'])
  assert np.abs(averaged['out']['bias'] - state.params['out']['bias']).max() > (
      1e-4)


def test_none_is_kept_unless_it_is_asked_for():
  model, _, params, axes = models.toy(num_layers=1)
  for ema in (None, 0):
    method = method_of(model, axes, params, ema)
    state = method.init(jax.random.key(0), params)
    assert state.ema is None and states.averaged(state) is state.params
  with pytest.raises(ValueError, match='config.ema is 1'):
    method_of(model, axes, params, 1)


def test_it_is_saved_resumed_and_loaded_in_place_of_the_parameters(
    tmp_path, caplog):
  model, batch, params, axes = models.toy(num_layers=1)
  method = method_of(model, axes, params, parts=['inp'])
  state = method.init(jax.random.key(0), params)
  state, _ = jax.jit(method.step)(state, {'train': batch})
  with checkpoint.Store(tmp_path) as store:
    store.save(1, state, {})
    store.wait()
    again, _ = store.restore(jax.tree.map(lambda x: jax.ShapeDtypeStruct(
        x.shape, x.dtype, sharding=x.sharding), state))
  chex.assert_trees_all_equal(again.params, state.params)
  chex.assert_trees_all_equal(again.ema, state.ema)
  with caplog.at_level('INFO', logger='absl'):
    loaded = checkpoint.load_params(tmp_path, params)
  assert 'running means' in caplog.text
  chex.assert_trees_all_equal(jax.tree.map(jnp.asarray, loaded),
                              states.averaged(state))
  assert np.abs(loaded['out']['bias'] - state.params['out']['bias']).max() > 0
