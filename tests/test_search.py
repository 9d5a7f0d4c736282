"""Sampling found for a budget, counted, drawn, extracted and trained on."""
import dataclasses
import json

from bst_jax import elastic, evaluate, extract, predict, profile, search, train
from bst_jax.data import single
from bst_jax.elastic import Submodel
from bst_jax.layers.sampler import Ats
from bst_jax.learn import sharding
from bst_jax.models.vit import Model
from bst_jax.report import budget, costs, scoring, token_macs
from bst_jax.run import experiment
from bst_jax.sampling import calibration
from bst_jax.sampling import ways as token_ways
from bst_jax.scores import tokens as token_counts
from bst_jax.store import checkpoint
from bst_jax.store import workdir as workdirs
from configs import motion, vit_fashion
import jax
import made_up
import numpy as np
from PIL import Image
import pytest

HALF = Submodel('1/2', '1/2')
BUDGET = budget.Budget.parse('macs<=130K')


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """A ViT trained by the sandwich on made-up pictures of ten classes."""
  home = tmp_path_factory.mktemp('search')
  config = vit_fashion.get_config('tiny')
  config.data.manual_dir = str(made_up.fashion_mnist(home / 'files'))
  config.data.data_dir = str(home / 'data')
  config.model.update(patch=4, width=12, heads=2, num_layers=2)
  config.space.widths = config.space.depths = ('1/2', '1')
  config.method = dict(name='bst', teacher='inplace', sampled=1)
  train.run(config, home / 'trained')
  return home / 'trained'


@pytest.fixture(scope='module')
def sampled(trained):
  """The workdir that search makes of it, and what it found."""
  output = trained.parent / 'sampled'
  return output, search.search(trained, output, BUDGET, '0-1', images=30)


def opened(workdir):
  """Experiment, data and parameters of a workdir."""
  exp = experiment.load(workdir)
  return (exp, experiment.load_data(exp.config, workdir),
          checkpoint.load_params(workdir, exp.shapes))


def evaluated(workdir, subs):
  exp, data, params = opened(workdir)
  mesh = sharding.make_mesh({'data': -1})
  with jax.set_mesh(mesh):
    return scoring.evaluate(exp, data, params, subs, 'test', mesh)


def test_pictures_with_classes_train_and_are_scored(trained):
  result = json.loads((trained / 'evaluation_test.json').read_text())
  text = scoring.table(result)
  assert 'most frequent class' in text and 'top-5' in text
  assert '40 pictures' in text and 'question' not in text
  assert result['prior'] == {'overall': 10.0}
  for row in result['rows']:
    assert row['accuracy']['overall'] <= row['accuracy']['top-5'] <= 100
    assert row['questions'] == 40


def test_predict_names_what_a_picture_shows(trained, tmp_path):
  path = tmp_path / 'a.png'
  Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(path)
  best, _ = predict.predict(trained, str(path), None, '1x1', 3)
  assert len(best) == 3 and best[0][1] >= best[1][1]
  config, sizes = experiment.load(trained).config.data, {'image_size': 28}
  with pytest.raises(ValueError, match='leave the question out'):
    single.batch(config, sizes, None, path, 'What is it?')


def test_search_fits_the_budget(trained, sampled):
  output, found = sampled
  exp = experiment.load(output)
  assert exp.model.ats == found.ats and found.ats.blocks == (0, 1)
  # The program that runs, to the unit, and no more points would have fitted.
  macs = costs.of(exp.model, exp.shapes, experiment.example(exp.sizes)).macs
  assert macs == found.macs <= BUDGET.limit
  assert found.mean_macs <= found.macs
  above = [points for points, cost in found.tried if cost > BUDGET.limit]
  assert min(above) == found.ats.num_points + 1

  choice = elastic.Choice.from_json((output / 'choice.json').read_text())
  assert Ats(**choice.tokens) == found.ats
  same = jax.tree.map(np.array_equal, checkpoint.load_params(
      output, exp.shapes), checkpoint.load_params(trained, exp.shapes))
  assert all(jax.tree.leaves(same))


def test_evaluation_counts_tokens(sampled):
  output, found = sampled
  result = evaluated(output, [elastic.FULL, HALF])
  row = result['rows'][0]
  assert row['macs'] == found.macs and row['mean_macs'] <= row['macs']
  assert [t['layer'] for t in row['tokens']] == [0, 1]
  assert [t['width'] for t in row['tokens']] == list(found.ats.capacity)
  assert all(sum(t['histogram']) == 40 for t in row['tokens'])
  small = result['rows'][1]  # One of the two layers is left.
  assert [t['layer'] for t in small['tokens']] == [0]
  assert 'MACs of tokens' in scoring.table(result)
  workdirs.write_json(output, 'evaluation_test.json', result)
  told = profile.slots(experiment.load(output), result['rows'], output)
  assert f'1x1 {row["mean_macs"]:,.0f}' in told


def test_extraction_keeps_the_sampling(sampled, tmp_path):
  output, _ = sampled
  extract.extract(output, HALF, tmp_path / 'small')
  before = evaluated(output, [HALF])['rows'][0]
  after = evaluated(tmp_path / 'small', [elastic.FULL])['rows'][0]
  assert after['tokens'] == before['tokens']
  assert after['macs'] == before['macs']
  assert after['accuracy'] == before['accuracy']


def test_pictures_of_tokens(sampled, monkeypatch):
  output, _ = sampled
  exp, data, params = opened(output)
  row = evaluated(output, [elastic.FULL])['rows'][0]
  evaluate._show(exp, data, params, elastic.FULL, 'test', 3, output, row)
  for name in ('tokens', 'token_counts'):
    drawn = np.asarray(Image.open(
        output / f'{name}_test_w1_d1.png').convert('L'))
    assert drawn.std() > 10
  with pytest.raises(ValueError, match='samples none'):
    evaluate._check_shown(
        experiment.build(vit_fashion.get_config(), exp.sizes), elastic.FULL)


def test_ways_of_running_a_searched_network(sampled, capsys):
  output, found = sampled
  exp, data, params = opened(output)
  row = evaluated(output, [elastic.FULL])['rows'][0]
  told = token_ways.compare(
      exp, data, params, elastic.FULL, 'test', 40, row)
  assert told['images'] == told['batch'] == 40  # And no padding.
  by_way = {one['name']: one for one in told['ways']}
  assert [*by_way] == ['dense', 'mask', 'capacity', 'sorted', 'ragged']
  # All test pictures: what evaluation itself says of this program.
  assert by_way['capacity']['accuracy'] == pytest.approx(
      row['accuracy']['overall'])
  assert by_way['sorted']['accuracy'] == by_way['mask']['accuracy']
  assert by_way['capacity']['macs'] == found.macs
  token_ways.report(output, elastic.FULL, told)
  assert '40 images of split test in batches of 40' in capsys.readouterr().out
  saved = json.loads((output / 'ways_test_w1_d1.json').read_text())
  assert saved == told
  few = token_ways.compare(exp, data, params, elastic.FULL, 'test', 7, row)
  assert few['images'] == few['batch'] == 7


def test_ways_that_cannot_be_compared(sampled):
  exp = experiment.load(sampled[0])
  check = lambda exp: token_ways.check(exp, elastic.FULL)
  with pytest.raises(ValueError, match='but the model samples none'):
    check(experiment.build(vit_fashion.get_config(), exp.sizes))
  config = motion.get_config('tiny')
  with pytest.raises(ValueError, match='this is model timesformer'):
    check(experiment.build(config, dict(num_answers=8, clip_size=(8, 48, 48))))
  # One of the two layers is left, and it is the other that samples.
  last = dataclasses.replace(exp, model=exp.model.clone(
      ats=dict(blocks=(1,), capacity=None)))
  with pytest.raises(ValueError, match=r'1/2x1/2 has none .*\[1\] that sample'):
    token_ways.check(last, HALF)


@pytest.mark.parametrize('model', ['timesformer', 'xvit'])
def test_videos_train_and_are_sampled(trained, model, tmp_path):
  config = motion.get_config(f'{model},tiny')
  config.data.manual_dir = str(trained.parent / 'files')
  config.data.data_dir = str(trained.parent / 'data')
  train.run(config, tmp_path / 'a')
  dense = json.loads((tmp_path / 'a' / 'evaluation_test.json').read_text())
  assert dense['unit'] == 'videos' and dense['prior'] == {'overall': 12.5}
  limit = 0.95 * dense['rows'][0]['macs']
  found = search.search(tmp_path / 'a', tmp_path / 'b',
                        budget.Budget('macs', limit), '0', images=16)
  row = evaluated(tmp_path / 'b', [elastic.FULL])['rows'][0]
  assert row['mean_macs'] <= row['macs'] == found.macs <= limit

  evaluate._show(*opened(tmp_path / 'b'), elastic.FULL, 'test', 2,
                 tmp_path / 'b', row)
  assert (tmp_path / 'b' / 'tokens_test_w1_d1.png').exists()


def test_training_goes_on_with_a_choice(sampled, tmp_path):
  output, found = sampled
  config = experiment.load(output).config
  config.unlock()
  config.model.ats = {}
  config.choice, config.init_from = str(output / 'choice.json'), str(output)
  config.steps, config.eval_every, config.evaluate_at_end = 2, 0, False
  assert int(train.run(config, tmp_path / 'tuned').step) == 2
  tuned = experiment.load(tmp_path / 'tuned')
  assert tuned.model.ats == found.ats and not tuned.config.choice
  assert int(train.run(config, tmp_path / 'tuned').step) == 2  # The same.


def test_topk_keeps_as_many_as_fit(trained, tmp_path):
  found = search.search(trained, tmp_path / 'top', BUDGET, '0', 'topk', 30)
  assert found.ats.method == 'topk'
  assert found.ats.capacity == (found.ats.num_points,)
  assert found.mean_macs == found.macs <= BUDGET.limit


@pytest.mark.parametrize('text, blocks, message', [
    ('macs<=1K', '0-1', 'cannot be met.*2 points.*earlier layers'),
    ('params<=1K', '0-1', "no budget key of token sampling 'params'"),
    ('macs<=100K', '1-2', r'layers \[2\].*choose from 0 to 1'),
    ('macs<=100K', 'all', 'write them as 3-11'),
])
def test_what_cannot_be_searched(trained, tmp_path, text, blocks, message):
  with pytest.raises(ValueError, match=message):
    search.search(trained, tmp_path / 'no', budget.Budget.parse(text), blocks,
                  images=10)
  assert not (tmp_path / 'no').exists()


def test_nothing_is_overwritten(trained):
  with pytest.raises(ValueError, match='not empty'):
    search.search(trained, trained, BUDGET)


def test_capacities():
  counts = np.array([[9, 3], [10, 4], [11, 5], [12, 16]])
  fit = lambda q, m=1: calibration.capacities(counts, q, 16, 1, m)
  assert fit(1.0) == (12, 12)  # A layer cannot widen.
  assert fit(0.5) == (11, 5)
  assert fit(1.0, 8) == (15, 15)
  assert fit(0.5, 8) == (15, 7)
  assert calibration.capacities(counts, 1.0, 10, 1) == (10, 10)


@pytest.mark.parametrize('limit, want', [
    (0, None), (1, 1), (2, 2), (9, 9), (16, 16), (37, 37), (64, 64), (999, 64)])
def test_the_largest_number_that_is_allowed(limit, want):
  asked = []
  allows = lambda n: asked.append(n) or n <= limit
  assert calibration.largest(allows, 1, 16, 64) == want
  assert len(asked) == len(set(asked)) and asked[0] == 16
  assert all(1 <= n <= 64 for n in asked)


def test_the_tally_charges_each_image_for_its_tokens():
  model = Model(5, image_size=16, patch=4, width=8, heads=2, mlp=16,
                num_layers=2, ats=dict(blocks=(0, 1), capacity=(10, 8)))
  example = {'image': np.zeros((1, 16, 16, 3), np.uint8)}
  tally = token_counts.Tally(model, example)
  tally.add(np.array([[12, 8], [6, 4], [0, 0]]),
            np.array([[2, 0], [0, 0], [0, 0]]), np.array([True, True, False]))
  report = tally.report()
  assert report['mean_macs'] == np.mean(
      token_macs.fit(model, example)([[10, 6], [8, 4]]))
  first = report['tokens'][0]
  assert (first['mean'], first['max'], first['cut'], first['lost']) == (
      9, 12, 0.5, 1.0)
  assert token_counts.Tally(model, example).report() == {}
