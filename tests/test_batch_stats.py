"""Runs with batch statistics: trained, warned of, stopped, extracted."""
import json
import re

from bst_jax import elastic, extract, train
from bst_jax.elastic import Submodel
from bst_jax.learn import sharding
from bst_jax.report import recalibrated, scoring
from bst_jax.run import experiment, statistics
from bst_jax.store import checkpoint
from configs import bst_clip_vil_vqa, cvt_fashion
import made_up
import numpy as np
import pytest

HALF = Submodel('1/2', 1)


def config_of(home):
  """A tiny CvT on made-up pictures of ten classes."""
  config = cvt_fashion.get_config('tiny')
  if not (home / 'files').exists():
    made_up.fashion_mnist(home / 'files')
  config.data.manual_dir = str(home / 'files')
  config.data.data_dir = str(home / 'data')
  config.model.heads = (2, 2)
  config.steps = 10
  return config


@pytest.fixture(scope='module')
def home(tmp_path_factory):
  return tmp_path_factory.mktemp('stats')


@pytest.fixture(scope='module')
def trained(home):
  """Trained by the sandwich."""
  config = config_of(home)
  config.space.widths = ('1/2', '1')
  config.method = dict(name='bst', teacher='labels', sampled=0)
  train.run(config, home / 'trained')
  return home / 'trained'


def split(params):
  """Statistics and all else, by path."""
  flat = elastic.flatten(params)
  return tuple({path: leaf for path, leaf in flat.items()
                if ('/stats/' in path) == chosen} for chosen in (True, False))


def same(one, other):
  return {path: np.array_equal(leaf, other[path]) for path, leaf in one.items()}


def test_a_submodel_is_extracted_with_statistics_of_its_own(
    trained, home, log):
  extract.extract(trained, HALF, home / 'own')
  assert 'anew from 100 training batches' in log.text
  extract.extract(trained, HALF, home / 'kept', stats_batches=0)
  assert 'stay those of the full model' in log.text

  exp, small = experiment.load(trained), experiment.load(home / 'own')
  cut = exp.extract(checkpoint.load_params(trained, exp.shapes), HALF)
  own, kept = (checkpoint.load_params(home / name, small.shapes)
               for name in ('own', 'kept'))
  assert all(same(elastic.flatten(kept), elastic.flatten(cut)).values())
  assert all(same(split(own)[1], split(cut)[1]).values())
  differ = same(split(own)[0], split(cut)[0])
  assert len(differ) == 12 and not any(differ.values())
  # Once more they stay, but for what one batch differs from another.
  again = statistics.recalibrated(
      small, small.model, own,
      lambda: experiment.load_data(small.config, home / 'own'))
  for path, leaf in split(again)[0].items():
    before, start = split(own)[0][path], split(cut)[0][path]
    assert np.abs(leaf - before).max() < 0.2 * np.abs(start - before).max(), path


def test_submodels_are_scored_with_statistics_of_their_own(
    trained, home, monkeypatch):
  exp, scored = experiment.load(trained), []
  params = checkpoint.load_params(trained, exp.shapes)
  data = experiment.load_data(exp.config, trained)
  recalibrated.check(exp)

  def score(exp, data, params, subs, split, mesh):
    scored.append((exp, params))
    return {'split': split, 'rows': [{'submodel': str(*subs), 'loss': 1.0}]}

  monkeypatch.setattr(scoring, 'evaluate', score)
  result = recalibrated.evaluate(
      exp, data, params, [HALF, elastic.FULL], 'test',
      sharding.make_mesh({'data': -1}), 3)
  assert result == {'split': 'test', 'recalibrated': 3, 'rows': [
      {'submodel': name, 'loss': 1.0, 'trained': True}
      for name in ('1/2x1', '1x1')]}
  extract.extract(trained, HALF, home / 'three', stats_batches=3)
  wanted = elastic.flatten(checkpoint.load_params(home / 'three'))
  (small, own), (whole, same_as_before) = scored
  assert elastic.size(small.shapes) < elastic.size(exp.shapes)
  for path, leaf in elastic.flatten(own).items():
    np.testing.assert_allclose(leaf, wanted[path], rtol=1e-6, atol=1e-7)
  assert whole is exp and same_as_before is params


def test_nothing_is_taken_anew_where_nothing_is_measured():
  config = cvt_fashion.get_config('tiny')
  config.model.batch_stats = 'stored'
  with pytest.raises(ValueError, match='--recalibrate takes .*measures none'):
    recalibrated.check(experiment.build(config, SIZES))


def test_training_says_how_large_statistics_are(trained):
  lines = [json.loads(line) for line in
           (trained / 'metrics.jsonl').read_text().splitlines()]
  said = [line['stats_max'] for line in lines if 'stats_max' in line]
  assert len(said) == 2 and 0 < min(said)


def test_statistics_that_overflow_stop_the_run_before_it_saves(trained, home):
  exp = experiment.load(trained)
  params = checkpoint.load_params(trained, exp.shapes)
  kernel = params['stage_0']['layer_0']['attention']['query_conv']
  kernel['kernel'] = kernel['kernel'] * 1e30
  config = config_of(home)
  checkpoint.save_params(home / 'wild', params)
  experiment.save(home / 'wild', exp.config, exp.sizes)
  config.init_from = str(home / 'wild')
  with pytest.raises(FloatingPointError, match="'stats_max' is inf at step 1,"):
    train.run(config, home / 'stopped')
  assert not list((home / 'stopped' / 'checkpoints').iterdir())


SIZES = dict(num_answers=10, image_size=28)


@pytest.mark.parametrize('source, pictures, at_random, warning', [
    ('batch', 15, True, 'statistics of 15 examples .* fewer than 16'),
    ('batch', 16, True, None),
    ('stored', 2, True, 'Model cvt starts at random, .*nobody measured'),
    ('stored', 2, False, None)])
def test_what_a_run_is_warned_of(source, pictures, at_random, warning, log):
  config = cvt_fashion.get_config('tiny')
  config.model.batch_stats = source
  exp = experiment.build(config, SIZES)
  statistics.warn(exp, pictures, at_random)
  statistics.warn_of_parts(exp, [elastic.FULL])
  assert (warning is None) == (not log.text)
  if warning:
    assert re.search(warning, log.text)


def test_submodels_that_run_with_the_full_models_statistics(log):
  config = cvt_fashion.get_config('tiny')
  exp = experiment.build(config, SIZES)
  statistics.warn_of_parts(exp, [HALF, elastic.FULL])
  assert 'Submodels 1/2x1 run with' in log.text


def test_a_trunk_that_stays_keeps_its_statistics():
  config = bst_clip_vil_vqa.get_config('tiny')
  assert config.model.batch_stats is None  # As if it were left out: stored.
  config.model.update(batch_stats='batch', train_visual=False)
  with pytest.raises(ValueError, match="'batch' .*train_visual=False"):
    experiment.build(config, dict(
        vocab_size=30, num_answers=9, max_tokens=14, image_size=64))
