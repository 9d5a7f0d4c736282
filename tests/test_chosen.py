"""Workdirs and configs of what a choice leaves."""
import dataclasses
import json

from bst_jax import elastic, export, extract, profile
from bst_jax.elastic import Choice, Submodel
from bst_jax.learn import sharding
from bst_jax.run import experiment
from bst_jax.run import start as starts
from bst_jax.store import checkpoint
from bst_jax.store import workdir as workdirs
import chex
from configs import vit_fashion
import jax
import models
import numpy as np
import pytest

SIZES = dict(num_answers=10, image_size=28)
PARENT = dict(name='vit', patch=7, width=16, heads=4, mlp=32, num_layers=4,
              adapter=6, skip=None)
SKIP, SUB = ('encoder/layer_0',), Submodel('1/2', '2/3')


def config_of(**model):
  config = vit_fashion.get_config('tiny')
  config.unlock()
  config.model = PARENT | model
  config.space = dict(widths=('1/2', '1'), depths=('1/2', '1'))
  return config


def choice_of(exp, **changes):
  """Every kind; heads and hidden units differ from layer to layer."""
  keep = {'embed': [15, *range(11)], 'mlp@encoder/layer_2/ffn': [0, 30],
          'adapter@encoder/skip_layer_0/ffn': [4, 1],
          'heads@encoder/layer_1/attention': [[0, 1, 6, 9], [8, 2, 3, 5]]}
  layers = {'encoder': (0, 1, {'attention': 2, 'ffn': 3})}
  return dataclasses.replace(Choice(
      SUB, SKIP, keep, layers, dict(blocks=(1, 2), num_points=9, capacity=(8, 6)),
      elastic.fingerprint(exp.shapes)), **changes)


def write(workdir, exp):
  params = models.random_params(exp.shapes)
  (workdir / experiment.VOCAB).mkdir(parents=True)
  workdirs.write_json(workdir / experiment.VOCAB, 'answers.json',
                      {'answers': [str(i) for i in range(10)]})
  checkpoint.save_params(workdir, params)
  experiment.save(workdir, exp.config, exp.sizes)
  return params


@pytest.fixture(scope='module')
def parent(tmp_path_factory):
  """Workdir, experiment and parameters of the model that is chosen from."""
  workdir = tmp_path_factory.mktemp('chosen') / 'parent'
  exp = experiment.build(config_of(), SIZES)
  return workdir, exp, write(workdir, exp)


@pytest.fixture(scope='module')
def small(parent):
  """The workdir that extract makes of a choice of every kind."""
  workdir, exp, _ = parent
  extract.extract(workdir, choice_of(exp), workdir.parent / 'small')
  return workdir.parent / 'small'


def run(model, params):
  batch = models.batch_of('image', side=28)
  return np.asarray(models.only(model.apply({'params': params}, batch)))


def test_an_extracted_workdir_is_the_chosen_model(parent, small):
  _, exp, params = parent
  choice = Choice.from_json((small / 'choice.json').read_text())
  assert choice == choice_of(exp)
  found = experiment.load(small)
  want = exp.model.chosen(choice)
  # Its config says no more exceptions than there are.
  assert found.model == want.usual(found.shapes, found.axes)
  assert found.model.skip == ('encoder/layer_0',)
  assert found.model.heads == 2 and found.model.width == 6
  assert found.model.mlp == 16 and found.model.adapter == 2
  assert found.model.head_dim == 4 and found.model.ats.blocks == (1,)
  assert [str(sub) for sub in found.space] == ['1x1']
  assert found.config.method.name == 'plain'

  part = checkpoint.load_params(small, found.shapes)
  np.testing.assert_array_equal(
      run(found.model, part), run(want, exp.cut(params, choice)))
  again = experiment.build(found.config, found.sizes)
  assert again.model == found.model


def test_what_is_exported_equals_it(small, tmp_path):
  exp = experiment.load(small)
  params = checkpoint.load_params(small, exp.shapes)
  card = export.export(exp, params, '1x1', ['stablehlo'], tmp_path / 'out')
  (about,) = card['files'].values()
  assert about['difference'] < 1e-5
  assert 'encoder/skip_layer_0/ffn/fc1/kernel' in elastic.flatten(params)
  text = profile.slots(exp, [{'submodel': '1x1'}], None)
  assert '6' in text.split()


def test_sizes_that_differ_stay_exceptions(parent):
  _, exp, _ = parent
  keep = {f'mlp@encoder/layer_{i}/ffn': list(range(n))
          for i, n in enumerate((8, 8, 24, 8))}
  found = experiment.chosen(exp, Choice(skip=(), keep=keep))
  assert found.config.model.mlp.to_dict() == {'': 8, 'encoder/layer_2/ffn': 24}
  assert found.model.heads == 4 and found.model.head_dim is None
  assert found.space == exp.space and found.config.method == exp.config.method
  again = experiment.build(found.config, SIZES).model
  assert again == found.model and hash(again) == hash(found.model)


def test_a_choice_of_another_model_is_refused(parent, tmp_path):
  workdir, exp, _ = parent
  other = experiment.build(config_of(mlp=24), SIZES)
  choice = choice_of(other)
  path = tmp_path / 'choice.json'
  path.write_text(choice.to_json())
  for refused in (
      lambda: experiment.chosen(exp, choice),
      lambda: extract.extract(workdir, choice, tmp_path / 'no'),
      # As every command that takes a config does.
      lambda: experiment.build(config_with(path), SIZES),
      lambda: experiment.chosen(config_with(path, init_from=str(workdir)))):
    with pytest.raises(ValueError, match='its numbers would mean other chann'):
      refused()
  assert not (tmp_path / 'no').exists()


def config_with(path, **changes):
  config = config_of()
  config.choice = str(path)
  config.update(changes)
  return config


def test_a_config_with_a_choice_is_of_what_is_left(parent, tmp_path):
  workdir, exp, _ = parent
  path = tmp_path / 'choice.json'
  path.write_text(choice_of(exp).to_json())
  want = experiment.chosen(exp, choice_of(exp)).model
  built = experiment.build(config_with(path), SIZES)
  assert built.model == want and built.config.choice is None

  config = experiment.chosen(config_with(
      path, init_from=str(workdir), seed=3))
  assert config.choice is None and config.seed == 3
  found = experiment.build(config, SIZES)
  assert found.model == want and len(found.space) == 1
  # Nothing else of the config changed, and it is JSON.
  assert config.optimizer == config_of().optimizer
  assert json.loads(json.dumps(workdirs.flat(config)))

  with pytest.raises(ValueError, match='training starts from none; set config'):
    experiment.chosen(config_with(path))
  tokens = Choice(tokens=dict(blocks=(0,)))
  path.write_text(tokens.to_json())
  assert dict(experiment.chosen(config_with(path)).model.ats) == dict(
      blocks=(0,))
  path.unlink()
  with pytest.raises(ValueError, match='choice.json was looked for'):
    experiment.build(config_with(path), SIZES)


def test_training_starts_from_what_a_choice_leaves(parent, tmp_path):
  workdir, exp, params = parent
  choice = choice_of(exp)
  path = tmp_path / 'choice.json'
  path.write_text(choice.to_json())
  given = config_with(path, start=str(workdir))
  small = experiment.build(experiment.chosen(given), SIZES)
  begin = starts.of(given, experiment.choice_of(given))
  got = starts.params(begin, small, seed=0)
  chex.assert_trees_all_equal(got, exp.cut(params, choice))
  assert starts.sources(begin, small) == {
      p: p for p in elastic.flatten(small.shapes)}
  # A head for other classes begins anew.
  other = experiment.build(experiment.chosen(given), SIZES | {'num_answers': 3})
  begin = dataclasses.replace(begin, fresh=('head',))
  again = starts.params(begin, other, seed=0)
  assert again['head']['kernel'].shape == (6, 3)
  chex.assert_trees_all_equal(again['encoder'], got['encoder'])
  # Tokens cut nothing.
  assert starts.of(given, Choice(tokens=dict(blocks=(1,)))).choice is None


def test_submodels_of_what_is_left_are_checked(parent):
  """Three heads have no half: the space of a config must fit what is left."""
  _, exp, _ = parent
  choice = Choice(skip=(), keep={'heads@encoder/layer_1/attention': [0, 1, 3]})
  with pytest.raises(ValueError, match=(
      "width 1/2 keeps 1.5 of the 3 'heads@encoder/layer_1/attention' units")):
    experiment.chosen(exp, choice)
  alone = experiment.chosen(experiment.whole(exp), choice)
  assert len(alone.space) == 1


def test_parameters_of_a_choice_are_placed_by_their_names(small):
  exp = experiment.load(small)
  mesh = sharding.make_mesh({'data': -1})
  where = sharding.shardings(exp.boxed, mesh, 'replicated')
  assert jax.tree.structure(where) == jax.tree.structure(exp.shapes)
