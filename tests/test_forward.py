"""Submodels that run side by side: what they share, and what they score."""
from bst_jax import tasks
from bst_jax.elastic import Space
from bst_jax.layers import clip_resnet
from bst_jax.learn import sharding
from bst_jax.report import scoring
from bst_jax.run import experiment, forward
import jax
import models
import numpy as np
import pytest

SUBS = Space(('1/2', '1'), ('1/2', '1'), filter='none').submodels


@pytest.fixture(scope='module')
def clip_vil():
  """An experiment with a visual trunk, its parameters, and two batches."""
  model, batch, params, _ = models.build('clip_vil', num_layers=2)
  boxed = jax.eval_shape(model.init, jax.random.key(0), batch)['params']
  exp = experiment.Experiment(None, {}, model, tasks.create(dict(name='vqa')),
                              Space(), boxed)
  batches = [models.batch_of('tokens', 'image', 'target', 'mask', side=32,
                             seed=seed) for seed in range(2)]
  return exp, params, [jax.tree.map(np.asarray, b) for b in batches]


@pytest.fixture
def trunks(monkeypatch):
  """Grows by one whenever the trunk runs, compiled or not."""
  ran, normalise = [], clip_resnet.normalise

  def counted(image):
    jax.debug.callback(lambda: ran.append(1))
    return normalise(image)

  monkeypatch.setattr(clip_resnet, 'normalise', counted)
  return ran


def test_the_trunk_runs_once_a_batch_whatever_the_submodels(clip_vil, trunks):
  exp, params, batches = clip_vil
  mesh = sharding.make_mesh({'data': -1})
  run = forward.make_runner(exp, mesh, lambda outputs, *_: outputs['answers'])
  found = list(run(params, SUBS, batches))
  jax.effects_barrier()
  assert len(trunks) == len(batches) == 2
  # Again, with other parameters: nothing of the first time is left over.
  list(run(jax.tree.map(lambda x: 0 * x, params), SUBS[:1], batches[:1]))
  jax.effects_barrier()
  assert len(trunks) == 3

  for outputs, batch in zip(found, batches, strict=True):
    for sub, logits in zip(SUBS, outputs, strict=True):
      want = models.run(exp.model.at(sub), exp.extract(params, sub), batch)
      np.testing.assert_allclose(logits, want, atol=1e-5, err_msg=str(sub))


def test_every_submodel_is_scored_on_every_true_question_once(clip_vil):
  exp, params, batches = clip_vil

  class data:
    types = ['color', 'count']

  kinds = np.array([0, 1, 1, 0])
  batches = [b | {'score': b['target'], 'type': kinds} for b in batches]
  mesh = sharding.make_mesh({'data': -1})
  scores = scoring.make_scorer(exp, data, mesh)(params, SUBS, batches)
  for sub, found in zip(SUBS, scores, strict=True):
    earned = []
    for batch in batches:
      logits = models.run(exp.model, params, batch, sub)
      earned.append(batch['score'][np.arange(4), logits.argmax(-1)])
    earned = np.stack(earned)  # [2, 4], of which the third is padding
    assert found['questions'] == 6
    assert found['accuracy'] == pytest.approx({
        'color': 100 * earned[:, [0, 3]].mean(),
        'count': 100 * earned[:, 1].mean(),
        'overall': 100 * earned[:, [0, 1, 3]].mean()}), sub
  assert len({found['loss'] for found in scores}) == len(SUBS)
