"""Models that compare two pictures, or match texts; and what tasks ask for."""
import functools
import json

from bst_jax import elastic, train
from bst_jax import models as backbones
from bst_jax.elastic import Submodel
from bst_jax.run import experiment
from configs import pairs_scenes, retrieval_scenes, vit_fashion
import jax.numpy as jnp
import models
import numpy as np
import pytest

HALF = Submodel.parse('1/2x1/2')


@functools.cache
def build(name, outputs):
  sizes, _ = models.TINY[name]
  keys = ('tokens', 'regions', 'boxes')
  batch = models.batch_of(*keys, questions=2, pictures=4)
  model = backbones.create(sizes | dict(
      outputs=outputs, num_answers=0, num_layers=2))
  return model, batch, *models.prepare(model, batch)


@pytest.mark.parametrize('name', ['mcan_vqa', 'uniter'])
def test_statements_about_two_pictures(name):
  model, batch, params, axes = build(name, ('pair', 'match'))
  apply = lambda batch, **part: model.apply({'params': params}, batch, **part)
  out = apply(batch)
  assert out['pair'].shape == (2, 2) and out['match'].shape == (4,)
  assert out['pair'].dtype == np.float32

  # Row i sees its own pictures, 2i on the left and 2i + 1 on the right.
  turned = jnp.array([1, 0, 2, 3])
  other = apply(batch | {k: batch[k][turned] for k in ('regions', 'boxes')})
  assert np.abs(out['pair'][0] - other['pair'][0]).max() > 1e-3
  np.testing.assert_allclose(other['pair'][1], out['pair'][1], atol=1e-5)
  np.testing.assert_allclose(other['match'], out['match'][turned], atol=1e-5)

  # A text with its pictures is that text with each of them.
  text = batch | {'tokens': jnp.repeat(batch['tokens'], 2, 0)}
  single = model.clone(outputs=('match',)).apply({'params': params}, text)
  np.testing.assert_allclose(single['match'], out['match'], atol=1e-5)

  sliced = apply(batch, sub=HALF)
  small = elastic.Slices(axes, model.stacks).cut(params, HALF)
  alone = model.at(HALF).apply({'params': small}, batch)
  for output in sliced:
    np.testing.assert_allclose(alone[output], sliced[output], atol=1e-5)
  assert np.abs(sliced['pair'] - out['pair']).max() > 1e-3


def test_several_texts_of_a_picture():
  model, batch, params, _ = build('uniter', ('match',))
  many = {'tokens': jnp.tile(batch['tokens'], (4, 1))} | {
      k: batch[k] for k in ('regions', 'boxes')}
  scores = model.apply({'params': params}, many)['match']
  assert scores.shape == (8,)
  one = {'tokens': many['tokens'][5:6]} | {
      k: batch[k][2:3] for k in ('regions', 'boxes')}
  np.testing.assert_allclose(
      model.apply({'params': params}, one)['match'], scores[5:6], atol=1e-5)


def test_models_that_lack_what_a_task_reads():
  config = vit_fashion.get_config('tiny')
  sizes = dict(image_size=28, num_answers=10)
  config.task = dict(name='pair')
  with pytest.raises(ValueError, match=(
      "task pair reads the output 'pair', but model vit returns 'classes'")):
    experiment.build(config, sizes)
  with pytest.raises(ValueError, match="no output of .* 'pairs'.*'?pair"):
    backbones.create(dict(name='mcan', outputs=('pairs',)), vocab_size=9)
  with pytest.raises(ValueError, match="'answers' needs num_answers"):
    backbones.create(dict(name='uniter'), vocab_size=9)


@pytest.mark.parametrize('config, scores, floor', [
    (pairs_scenes, ['overall'], 50.0),
    (retrieval_scenes, [f'{side}_recall@{k}' for side in ('text', 'image')
                        for k in (1, 5, 10)], None)])
def test_training_and_evaluation(tmp_path, config, scores, floor):
  config = config.get_config('tiny')
  config.steps = config.save_every = 4
  config.log_every = config.eval_every = 4
  train.run(config, tmp_path)
  result = json.loads((tmp_path / 'evaluation_test.json').read_text())
  row, = result['rows']
  assert list(row[row['measure']]) == scores
  assert all(0 <= value <= 100 for value in row[row['measure']].values())
  assert floor is None or result['prior']['overall'] == floor
  assert (tmp_path / 'evaluation_test.png').exists()
