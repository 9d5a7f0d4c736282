"""MiniVLM as ten captioners of one training, cut, skipped and pruned."""
import functools
import json

from bst_jax import elastic, extract, train
from bst_jax.elastic import Choice, Submodel
from bst_jax.learn import sharding
from bst_jax.pruning import scoring as channels
from bst_jax.pruning import select, targets
from bst_jax.report import scoring
from bst_jax.run import experiment
from bst_jax.store import checkpoint
from configs import minivlm_caption_scenes, minivlm_vqa
import jax
import jax.numpy as jnp
import models
import numpy as np
import pytest
import test_cut

HALF = Submodel('1/2', '1/2')


def test_ten_captioners_of_one_training(tmp_path):
  whole_config = minivlm_caption_scenes.get_config('bst')
  assert len(experiment.space_of(whole_config)) == 10
  assert whole_config.teacher.method.name == 'plain'

  config = minivlm_caption_scenes.get_config('bst,tiny')
  for part in (config, config.teacher):
    part.model.update(width=8, mlp=16, tag_start=14, max_positions=20)
    part.data.update(max_tokens=12, limit=16)
    part.steps = part.log_every = part.save_every = 2
  train.run(config, tmp_path / 'a')
  told = [json.loads(line) for line in open(tmp_path / 'a/metrics.jsonl')]
  last = next(row for row in told[::-1] if 'loss/smallest' in row)
  assert all(np.isfinite(last[f'loss/{who}'])
             for who in ('full', 'smallest', 'sampled'))
  rows = json.loads((tmp_path / 'a/evaluation_test.json').read_text())['rows']
  exp = experiment.load(tmp_path / 'a')
  assert [row['submodel'] for row in rows] == [str(sub) for sub in exp.space]
  assert len(rows) >= 3 and len({row['loss'] for row in rows}) == len(rows)

  # Captions of the one that is cut out are those of the part of the whole.
  extract.extract(tmp_path / 'a', HALF, tmp_path / 'half')
  captions = {}
  for name, sub in (('a', HALF), ('half', elastic.FULL)):
    exp = experiment.load(tmp_path / name)
    data, picks = experiment.load_data(exp.config, tmp_path / name), []
    mesh = sharding.make_mesh({'data': -1})
    with jax.set_mesh(mesh):
      scoring.evaluate(exp, data, checkpoint.load_params(
          tmp_path / name, exp.shapes), [sub], 'test', mesh, picks)
    captions[name] = [one['said'] for batch in picks for one in batch]
  for sliced, alone in zip(captions['a'], captions['half'], strict=True):
    np.testing.assert_array_equal(sliced, alone)


def test_skipped_layers_and_cut_widths_are_the_sliced_model():
  """Of a model with adapters: cut then run equals the whole with zeros."""
  model, batch, params, axes = models.build('minivlm_das', skip=None)
  skip = ('encoder/layer_0', 'encoder/layer_2')
  keep = {f'mlp@encoder/layer_{i}/ffn': list(range(i // 2, 32, 2))
          for i in (1, 3)}
  choice = Choice(skip=skip, keep=keep)
  made = test_cut.zeroed((model, batch, params, axes), Choice(keep=keep))
  want = models.run(model.clone(skip=skip), made, batch)
  small = model.chosen(choice)
  part = elastic.cut(params, axes, choice, model.stacks)
  np.testing.assert_allclose(models.run(small, part, batch), want, atol=1e-5)


@functools.cache
def answering():
  """A tiny experiment, its parameters and two batches."""
  config = minivlm_vqa.get_config('tiny')
  exp = experiment.build(config, dict(
      vocab_size=11, num_answers=7, max_tokens=5, num_regions=4,
      feature_size=8))
  batch = models.batch_of('tokens', 'regions', 'boxes', 'target', 'mask')
  return exp, models.random_params(exp.shapes), [batch, batch]


def test_it_is_pruned_to_a_budget():
  exp, params, batches = answering()
  found = channels.score(exp, params, batches, 'fisher')
  assert {elastic.base(name) for name in found.channels} == {
      'embed', 'heads', 'mlp'}
  assert all(values.std() > 0 for values in found.channels.values())
  limit = elastic.size(params) // 2
  sizes, rule = targets.sizes(exp, f'params<={limit}', scores=found)
  choice = select.choice(found, exp.shapes, exp.axes, sizes, rule)
  small = exp.model.chosen(choice)
  part = elastic.cut(params, exp.axes, choice, exp.model.stacks)
  assert 0.6 * limit < elastic.size(part) <= limit
  assert models.run(small, part, batches[0]).shape == (4, 7)


def test_a_captioner_is_pruned_by_what_its_words_lose():
  exp, params, _ = answering()
  config = minivlm_caption_scenes.get_config('tiny')
  config.model.update(tag_start=6, max_positions=9, num_layers=1)
  exp = experiment.build(config, exp.sizes | dict(max_masked=2))
  params = models.random_params(exp.shapes)
  batch = models.batch_of('tokens', 'regions', 'boxes', 'mask') | dict(
      places=jnp.array([[1, 2]] * 4), words=jnp.array([[3, 4]] * 4),
      told=jnp.array([[True, False]] * 4))
  found = channels.score(exp, params, [batch], 'taylor').channels
  # What nobody is to tell does not count.
  batch['words'] = batch['words'].at[:, 1].set(7)
  again = channels.score(exp, params, [batch], 'taylor').channels
  for name, values in found.items():
    assert values.std() > 0, name
    np.testing.assert_array_equal(values, again[name])
  with pytest.raises(ValueError, match=(
      'kind fisher are of the one answer of a row, but this task has 2 of '
      'each; take kind taylor')):
    channels.score(exp, params, [batch], 'fisher')


def test_channels_that_are_zero_may_go():
  exp, params, (batch, _) = answering()
  made = exp.model, batch, params, exp.axes
  choice = test_cut.few_of(made)
  assert len(choice.keep) == 4  # Heads and hidden units of two layers.
  blank = test_cut.zeroed(made, choice)
  got = models.run(exp.model.chosen(choice), elastic.cut(
      blank, exp.axes, choice, exp.model.stacks), batch)
  np.testing.assert_allclose(
      got, models.run(exp.model, blank, batch), atol=1e-5)
  assert np.abs(got - models.run(exp.model, params, batch)).max() > 1e-3
