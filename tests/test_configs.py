"""Configs as they stand, built but not run, and what was published of them."""
import importlib
import pathlib

from bst_jax import elastic, methods
from bst_jax.ahead import abstract
from bst_jax.learn import optimizers, schedules, sharding
from bst_jax.run import experiment, searches
import jax
import jax.numpy as jnp
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[1]
NAMES = sorted(path.stem for path in (ROOT / 'configs').glob('*.py')
               if path.stem != 'common')
PAIRS = [name for name in NAMES if f'bst_{name}' in NAMES]
# Tests of commands, search, heads and recipes train these.
RUN = ('quickstart', 'bst_mcan_vqa', 'bst_mcan_gqa', 'bst_mcan_pictures',
       'bst_uniter_vqa', 'bst_clip_vil_vqa', 'motion', 'vit_fashion',
       'cvt_fashion', 'up_fashion',
       'pairs_scenes', 'retrieval_scenes', 'das_nlvr2', 'das_flickr30k',
       'minivlm_caption_scenes', 'minivlm_captions', 'bst_minivlm_captions',
       'minivlm_nlvr2', 'minivlm_pretrain', 'minivlm_retrieval')
EPOCH = 10.5  # Steps: ten whole batches.


def get(name, arg=''):
  return importlib.import_module(f'configs.{name}').get_config(arg)


def parts(config):
  """The experiment and the method of a config, on data that are not there."""
  sizes = dict(vocab_size=30, num_answers=9, max_tokens=14)
  sizes |= dict(image_size=64) if 'image' in config.data.inputs else dict(
      num_regions=10, feature_size=12)
  if config.data.get('form') == 'objects':
    sizes = dict(num_answers=9, num_attributes=5, num_objects=3, image_size=64)
  exp = experiment.build(config, config.data.get('sizes') or sizes)
  tx = optimizers.create(config.optimizer, config.schedule, exp.shapes, EPOCH,
                         100, exp.frozen_parts)
  return exp, methods.create(
      config.method, model=exp.model, task=exp.task, tx=tx, axes=exp.axes,
      space=exp.space, micro_batches=config.micro_batches)


def test_every_model_and_benchmark_has_a_teacher_and_its_sandwich():
  assert set(PAIRS) >= {f'{model}_{task}' for task in ('vqa', 'gqa')
                        for model in ('mcan', 'uniter', 'clip_vil')}


# ImageNet, Kinetics and COCO, whose sizes have tests of their own, and what others
# fill in.
UNTRAINED = ('ats_cvt', 'ats_deit_s', 'ats_ps_vit', 'ats_timesformer',
             'ats_xvit', 'converted', 'efficientnet', 'pvt_v2', 'retinanet_coco',
             'tee_vg', 'up_deit')


@pytest.mark.parametrize(
    'name', [n for n in NAMES if n not in (*RUN, *UNTRAINED)])
def test_a_step_of_the_tiny_config_fits_together(name):
  config = get(name, 'tiny')
  if config.get('search'):
    fits_together(config.search)
    config = searches.expected(config, parts(config.search)[0].sizes)
  fits_together(config)


def fits_together(config):
  """Checks a step of a config on what its data would be."""
  exp, method = parts(config)
  assert not (method.pretrained and not config.get('teacher'))
  batch = experiment.example(exp.sizes, 4, 2) | {
      'target': jnp.ones((4, 9)), 'mask': jnp.ones(4, bool)}
  if config.data.get('form') == 'objects':
    batch = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype),
                         abstract.batch(exp, 4))
  start = jax.eval_shape(method.init, jax.random.key(0), exp.shapes)
  after, metrics = jax.eval_shape(
      method.step, start, dict.fromkeys(method.streams, batch))
  assert after == start and metrics['loss/full'].shape == ()


@pytest.mark.parametrize('name', PAIRS)
def test_a_sandwich_starts_where_its_teacher_ended(name):
  """They differ in method, space and times alone, and share parameters."""
  alone, together = get(name), get(f'bst_{name}')
  assert alone.keys() == together.keys()
  differ = {key for key in alone if alone[key] != together[key]}
  assert {'method', 'space'} <= differ <= {
      'method', 'space', 'schedule', 'epochs'}
  assert alone.method.name == 'plain' and together.method.teacher == 'frozen'
  assert bool(together.steps) != bool(together.epochs)

  exp, method = parts(together)
  assert method.pretrained and len(exp.space) == 10
  where = sharding.shardings(
      jax.eval_shape(method.init, jax.random.key(0), exp.boxed),
      sharding.make_mesh({'data': -1, 'fsdp': 1}), 'fsdp')
  assert jax.tree.structure(where.params) == jax.tree.structure(exp.shapes)
  assert parts(alone)[0].shapes == exp.shapes
  assert together.data.batch % together.micro_batches == 0


def test_the_forms_of_gqa():
  for name in ('mcan', 'uniter', 'clip_vil'):
    vqa, gqa = get(f'{name}_vqa'), get(f'{name}_gqa')
    assert (vqa.task.name, gqa.task.name) == ('vqa', 'gqa')
    assert (vqa.data.eval, gqa.data.eval) == ('minival', 'testdev')
    assert vqa.data.name.split('/')[1:] == gqa.data.name.split('/')[1:]
    assert gqa.data.sizes.num_answers == 1843 and not gqa.data.answers_from
    # GQA's longest question has 29 words.
    assert gqa.data.max_tokens >= 29 or name == 'clip_vil'


# --- optimisers and schedules as published ------------------------------------

PARAMS = {name: {'kernel': jnp.full((2, 2), 3.0), 'bias': jnp.full(2, 3.0)}
          for name in ('visual', 'encoder', 'head')}


def steps_of(config, last):
  """{step: {path: what it adds}} where all gradients are small and constant."""
  tx = optimizers.create(config.optimizer, config.schedule, PARAMS, EPOCH,
                         config.steps or int(EPOCH) * config.epochs)
  grads = jax.tree.map(lambda p: jnp.full_like(p, 0.01), PARAMS)

  def step(opt_state, _):
    updates, opt_state = tx.update(grads, opt_state, PARAMS)
    return opt_state, updates

  updates = jax.lax.scan(step, tx.init(PARAMS), length=last + 1)[1]
  return elastic.flatten(updates)


def test_uniter_as_published():
  config = get('uniter_vqa')
  rate = schedules.create(config.schedule, config.optimizer.lr, EPOCH,
                          config.steps)
  np.testing.assert_allclose(
      [rate(s) for s in (0, 300, 600, 3300, 6000)], np.array(
          [0, 0.5, 1, 0.5, 0]) * 8e-5, atol=1e-9)
  assert config.optimizer.eps == 1e-6  # Not optax's.
  got = steps_of(config, 600)
  for path, updates in got.items():
    # Adam's step is the rate where gradients never change; biases never decay.
    base = 8e-5 * (10 if path.startswith('head') else 1)
    decay = 0.01 * 3 if path.endswith('kernel') else 0.0
    np.testing.assert_allclose(updates[600], -base * (1 + decay), rtol=1e-3,
                               err_msg=path)


def test_clip_vil_as_published():
  config = get('clip_vil_vqa')
  got = steps_of(config, 49)
  for epoch, rate in ((1, 1e-3), (2, 1e-3), (3, 1e-4), (5, 1e-4)):
    at = epoch * int(EPOCH) - 1  # The last step of it.
    np.testing.assert_allclose(got['visual/kernel'][at],
                               -rate * (0.01 + 4e-4 * 3), rtol=1e-4)
    # The one departure: the original's decay moves vectors too.
    np.testing.assert_allclose(got['visual/bias'][at], -rate * 0.01, rtol=1e-4)
  # The rest warms up for 2 of 50 steps, then goes down to zero.
  np.testing.assert_allclose(got['head/bias'][2], -5e-5, rtol=1e-3)
  np.testing.assert_allclose(got['head/bias'][26], -2.5e-5, rtol=1e-3)


@pytest.mark.parametrize('name, epochs, drops', [
    ('mcan_vqa', 13, (11, 13)), ('bst_mcan_vqa', 15, (11, 13, 15)),
    ('mcan_gqa', 11, (9, 11)), ('bst_mcan_gqa', 11, (9, 11))])
def test_mcan_as_published(name, epochs, drops):
  config = get(name)
  assert config.epochs == epochs and config.data.batch == 64
  rate = schedules.create(config.schedule, config.optimizer.lr, EPOCH, 0)
  last = [float(rate(epoch * int(EPOCH) - 1)) for epoch in (8, 10, *drops)]
  want = [1e-4 * 0.2 ** sum(d <= epoch for d in drops)
          for epoch in (8, 10, *drops)]
  np.testing.assert_allclose(last, want, rtol=1e-5)
