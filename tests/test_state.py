"""Schedules, the optimiser and gradient accumulation."""
from bst_jax import elastic, methods, state, tasks
import chex
import jax
import jax.numpy as jnp
import models
import numpy as np
import optax
import pytest

ADAM = dict(name='adam', b1=0.9, b2=0.98, eps=1e-9)


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
  rate = state.schedule(
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


def test_linear_cosine_and_constant():
  constant = state.schedule(dict(name='constant'), 0.5, 10, 100)
  assert float(constant(0)) == float(constant(99)) == 0.5
  linear = state.schedule(dict(name='linear', warmup=0.1), 0.5, 10, 100)
  np.testing.assert_allclose(
      [linear(step) for step in (0, 5, 10, 55, 100)], [0, .25, .5, .25, 0],
      atol=1e-6)
  cosine = state.schedule(dict(name='cosine', warmup=0.1, end=0.1), 1, 10, 100)
  rates = [float(cosine(s)) for s in (0, 5, 10, 55, 100)]
  np.testing.assert_allclose(rates, [0, 0.5, 1, 0.55, 0.1], atol=1e-6)


@pytest.mark.parametrize('config, message', [
    (dict(name='quarter', warmup_epochs=3), "no schedule 'quarter'. Did you"),
    (dict(name='quarters'), 'config.schedule: .*warmup_epochs'),
    (dict(name='cosine', warm=3), "config.schedule: .*'warm'"),
])
def test_bad_schedules_say_so(config, message):
  with pytest.raises(ValueError, match=message):
    state.schedule(config, 1e-4, 10, 100)


# --- optimiser ----------------------------------------------------------------

def test_adam_as_torch_has_it():
  rng = np.random.default_rng(0)
  x = rng.standard_normal((3, 5)).astype(np.float32)
  tx = state.optimizer(ADAM | dict(lr=7.0), optax.constant_schedule(1e-2))
  params = {'w': jnp.asarray(x)}
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
  params = {'kernel': jnp.ones((2, 2)), 'bias': jnp.ones(2)}
  zeros = jax.tree.map(jnp.zeros_like, params)
  rate = optax.constant_schedule(0.1)
  tx = state.optimizer(dict(name='adamw', weight_decay=0.5), rate)
  updates, _ = tx.update(zeros, tx.init(params), params)
  np.testing.assert_allclose(updates['kernel'], -0.05, rtol=1e-6)
  np.testing.assert_array_equal(updates['bias'], 0)  # Vectors are spared.

  tx = state.optimizer(dict(name='sgd', clip=1.0), rate)
  updates, _ = tx.update(params, tx.init(params), params)
  assert float(optax.tree.norm(updates)) == pytest.approx(0.1, rel=1e-5)


@pytest.mark.parametrize('config, message', [
    (dict(name='adan'), "no optimiser 'adan'. Did you mean 'adam'"),
    (dict(name='adam', beta1=0.9), 'config.optimizer: .*beta1.*see optax.adam'),
])
def test_bad_optimisers_say_so(config, message):
  with pytest.raises(ValueError, match=message):
    state.optimizer(config, optax.constant_schedule(1e-4))


# --- accumulation -------------------------------------------------------------

def sgd_step(micro, **method):
  """What one step of rate one subtracts: the gradients, and the metrics."""
  model, batch, params, axes = models.toy(num_layers=2)
  made = methods.create(
      dict(name='plain') | method, model=model, task=tasks.TASKS['vqa'],
      tx=optax.sgd(1.0), axes=axes, micro_batches=micro,
      space=elastic.Space(('1/2', '1'), ('1/2', '1')))
  new, metrics = jax.jit(made.step)(
      made.init(jax.random.key(0), params), batch)
  assert int(new.step) == 1
  return jax.tree.map(jnp.subtract, params, new.params), metrics


def test_parts_of_a_batch_give_the_gradients_of_the_whole():
  whole, metrics = sgd_step(1)
  for micro in (2, 8):
    parts, summed = sgd_step(micro)
    chex.assert_trees_all_close(parts, whole, rtol=1e-4, atol=1e-5)
    chex.assert_trees_all_close(summed, metrics, rtol=1e-5)


def test_parts_must_divide_the_batch():
  with pytest.raises(ValueError, match=(
      "3 micro-batches do not divide the 8 rows of .*config.micro_batches")):
    sgd_step(3)
