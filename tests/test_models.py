"""What every backbone owes: shapes, finite slopes, padding, dtype, dropout."""
from bst_jax import elastic
from bst_jax.layers import activations, dropout, linear, platforms, tokens
from bst_jax.layers import stack as stacks
from bst_jax.report import costs
from bst_jax.run import experiment
import chex
from configs import ats_deit_s, quickstart
import jax
import jax.numpy as jnp
import models
import numpy as np
import pytest


@pytest.mark.parametrize('name', models.TINY)
def test_logits_of_every_question(name):
  model, batch, params, axes = models.build(name)
  logits = models.run(model, params, batch)
  assert logits.shape == (4, 7) and logits.dtype == np.float32
  assert np.isfinite(logits).all()
  # Pictures and questions both count.
  assert np.ptp(logits, axis=0).min() > 1e-3
  assert {elastic.base(n) for names in elastic.flatten(axes).values()
          for n in names} <= elastic.AXES.keys()


def test_gradients_stay_finite_on_padding():
  """No tokens at all, no regions at all, rows without any spread.

  A zero region is a constant row once the adapter's bias is constant, and the
  standard deviation has no slope there.
  """
  model, batch, params, _ = models.build('mcan_vqa', num_layers=1)
  flat = jnp.zeros_like(params['image_adapter']['bias'])
  params = params | {
      'image_adapter': params['image_adapter'] | {'bias': flat}}
  batch = {'tokens': batch['tokens'].at[0].set(0),
           'regions': batch['regions'].at[1].set(0)}

  @jax.jit
  def slopes(params, regions):
    def loss(params, regions):
      logits = model.apply({'params': params}, batch | {'regions': regions})['answers']
      return jnp.square(logits).sum()
    return jax.grad(loss, argnums=(0, 1))(params, regions)

  for leaf in jax.tree.leaves(slopes(params, batch['regions'])):
    assert np.isfinite(leaf).all()


@pytest.mark.parametrize('name', ['mcan_vqa', 'mcan_gqa', 'uniter'])
def test_more_padding_changes_nothing(name):
  model, batch, params, _ = models.build(name, num_layers=1)
  before = models.run(model, params, batch)
  more = {'tokens': jnp.pad(batch['tokens'], ((0, 0), (0, 2)))} | {
      key: jnp.pad(batch[key], ((0, 0), (0, 3), (0, 0)))
      for key in batch if key != 'tokens'}
  after = models.run(model, params, more)
  np.testing.assert_allclose(after, before, atol=1e-5)
  # A region that is not zero does count.
  real = more | {'regions': more['regions'].at[:, -1].set(1.0)}
  assert abs(models.run(model, params, real) - before).max() > 1e-3


@pytest.mark.parametrize('name', [
    name for name in models.QUESTIONS
    if name not in ('vilt_das', 'minivlm_das')  # Their one layer.
])
def test_questions_of_one_picture_stand_together(name):
  model, batch, params, _ = models.build(name, num_layers=1)
  grouped = models.run(model, params, batch)
  alone = batch | {key: jnp.repeat(x, 2, axis=0) for key, x in batch.items()
                   if key != 'tokens'}
  np.testing.assert_allclose(
      models.run(model, params, alone), grouped, atol=1e-5)
  other = batch | {key: x[::-1] for key, x in batch.items() if key != 'tokens'}
  assert abs(models.run(model, params, other) - grouped).max() > 1e-3


@pytest.mark.parametrize('name', ['mcan_gqa', 'uniter', 'clip_vil', 'vit'])
def test_bfloat16_is_near_float32(name):
  model, batch, params, _ = models.build(name, num_layers=1)
  exact = models.run(model, params, batch)
  rough = models.run(model.clone(dtype=jnp.bfloat16), params, batch)
  assert rough.dtype == np.float32
  error = np.abs(rough - exact).max() / np.abs(exact).max()
  assert 1e-5 < error < 5e-2  # Zero would be float32 in disguise.


@pytest.mark.parametrize('name', ['mcan_vqa', 'vit'])
def test_products_of_tpus_are_the_same_numbers(name, monkeypatch):
  model, batch, params, _ = models.build(name, num_layers=1)
  loss = lambda params: (models.only(
      model.apply({'params': params}, batch)) ** 2).sum()
  assert platforms.traced_for() == 'cpu'
  want, macs = jax.value_and_grad(loss)(params), costs.of(model, params, batch)
  monkeypatch.setattr(platforms, 'traced_for', lambda: 'tpu')
  chex.assert_trees_all_close(jax.value_and_grad(loss)(params), want,
                              rtol=1e-4, atol=1e-5)
  assert costs.of(model, params, batch).macs == macs.macs


def test_a_config_says_how_its_model_is_computed():
  config = quickstart.get_config('tiny')
  sizes = {'vocab_size': 9, 'num_answers': 5, 'max_tokens': 4, 'num_regions': 3,
           'feature_size': 8}
  config.compute.update(dtype='bfloat16', remat=True, scan=True)
  model = experiment.build(config, sizes).model
  assert (model.dtype, model.remat, model.scan) == (jnp.bfloat16, True, True)
  config.compute.dtype = 'float16'
  with pytest.raises(ValueError, match="'float16'.*bfloat16, float32"):
    experiment.build(config, sizes)
  config.compute.update(dtype='float32', products='bfloat16')
  assert experiment.build(config, sizes).model.products == 'bfloat16'
  config.compute.products = 'int8'
  with pytest.raises(ValueError, match="compute.products.*'int8'.*bfloat16"):
    experiment.build(config, sizes)
  del config.compute  # As of a workdir from before there was such a key.
  assert experiment.build(config, sizes).model.dtype == jnp.float32
  config = ats_deit_s.get_config('small')
  config.compute.scan = True
  with pytest.raises(ValueError, match='scan=True.*model vit cannot'):
    experiment.build(config, config.data.sizes)


def test_backward_passes_keep_nothing_wide_of_narrow_activations():
  x, one = jnp.ones((4, 64), jnp.bfloat16), jnp.ones(64)
  norm = lambda x: linear.layer_norm(x, one, one, form='standard', eps=1e-6)
  for run in (norm, activations.gelu, activations.quick_gelu,
              lambda x: tokens.masked_softmax(x, x > 0)):
    kept = jax.tree.leaves(jax.vjp(run, x)[1])
    assert not any(a.shape == x.shape and a.dtype == jnp.float32 for a in kept)
    assert sum(a.shape == x.shape and a.dtype == x.dtype for a in kept) == 1


@pytest.mark.parametrize('name', ['mcan_vqa', 'uniter', 'clip_vil'])
def test_dropout_acts_in_training_only(name):
  model, batch, params, _ = models.build(name, num_layers=1)
  still = models.run(model, params, batch)
  np.testing.assert_array_equal(models.run(model, params, batch), still)
  draw = lambda seed: models.run(model, params, batch, seed=seed)
  np.testing.assert_array_equal(draw(1), draw(1))
  assert np.abs(draw(1) - draw(2)).max() > 1e-3
  assert np.abs(draw(1) - still).max() > 1e-3


@pytest.mark.parametrize('whole', [False, True])
def test_the_noise_of_dropout_is_the_same_on_every_kind_of_device(
    whole, monkeypatch):
  x, drop = jnp.ones((40, 2, 5)), dropout.Dropout(0.5, whole)
  here = drop.apply({}, x, jnp.uint32(7))
  monkeypatch.setattr(platforms, 'traced_for', lambda: 'tpu')
  np.testing.assert_array_equal(drop.apply({}, x, jnp.uint32(7)), here)
  assert 0 < (here == 0).sum() < x.size


def test_remat_changes_no_number():
  model, batch, params, _ = models.build('mcan_vqa', num_layers=2)
  half = elastic.Submodel('1/2', '1/2')
  got = models.run(model.clone(remat=True), params, batch, sub=half)
  np.testing.assert_allclose(got, models.run(model, params, batch, sub=half),
                             atol=1e-6)


@pytest.mark.parametrize('name', ['mcan_vqa', 'uniter'])
def test_scan_changes_no_number(name):
  model, batch, params, _ = models.build(name, num_layers=2)
  scanned = model.clone(scan=True, remat=True)
  part = elastic.Submodel('1/2', '1')
  loss = lambda model, params: (models.only(model.apply(
      {'params': params}, batch, sub=part)) ** 2).sum()
  got, want = (jax.value_and_grad(loss, 1)(m, params) for m in (scanned, model))
  chex.assert_trees_all_close(got, want, rtol=1e-4, atol=1e-5)
  assert (costs.of(scanned, params, batch).macs ==
          costs.of(model, params, batch).macs)
  draw = lambda seed: models.run(scanned, params, batch, seed=seed)
  np.testing.assert_array_equal(draw(1), draw(1))
  assert np.abs(draw(1) - draw(2)).max() > 1e-3


def test_layers_that_differ_are_not_scanned():
  stack = stacks.Stack(None, elastic.Order(2), options={'layer_1': {'a': 1}},
                       scan=True, name='encoder')
  with pytest.raises(ValueError, match="those of 'encoder' differ"):
    stack.apply({'params': {}}, jnp.ones((1, 2)))


def test_models_are_found_by_name():
  sizes, _ = models.TINY['mcan_vqa']
  create = models.backbones.create
  assert create(sizes, strategy='uniform', max_tokens=5) == create(
      sizes | dict(strategy='uniform'))  # What it does not know is left out.
  # As a config.json has it.
  assert hash(create(sizes | dict(stem=[8, 16]))) == hash(
      create(sizes | dict(stem=(8, 16))))
  with pytest.raises(ValueError, match="no model 'mcann'. Did you mean 'mcan'"):
    create(sizes | dict(name='mcann'))
  with pytest.raises(ValueError, match=(
      "no argument of model mcan 'head'. Did you mean 'heads'")):
    create(sizes | dict(head=2))
