"""What training changed of a model, apart from what it started from."""
import json
import re
import shutil

from bst_jax import elastic, extract, train
from bst_jax.run import experiment, light
from bst_jax.store import checkpoint
from configs import das_scenes
import numpy as np
import pytest


def trained(folder, variant, start=None, **changes):
  config = das_scenes.get_config(f'{variant},tiny')
  config.steps, config.evaluate_at_end, config.search = 2, False, None
  config.model.update(changes)
  whole = das_scenes.get_config(variant)
  if start:
    config.start = whole.start
    config.start.workdir = str(start)
  train.run(config, folder)
  return folder


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
  """A base, another one, and DAS with a layer that is skipped."""
  folder = tmp_path_factory.mktemp('runs')
  base = trained(folder / 'base', 'pretrain')
  shutil.copytree(base, folder / 'other')
  config = json.loads((base / 'config.json').read_text())
  assert config['model']['num_layers'] == 3
  das = das_scenes.get_config('das,tiny')
  das.start = das_scenes.get_config().start
  das.start.workdir = str(base)
  das.start.leave = (*das.start.leave, 'encoder/layer_1')
  das.model.skip, das.search = ('encoder/layer_1',), None
  das.steps, das.evaluate_at_end = 2, False
  train.run(das, folder / 'das')
  return folder


def params_of(workdir):
  return elastic.flatten(checkpoint.load_params(
      workdir, experiment.load(workdir).shapes))


def test_a_light_folder_on_its_base_is_the_workdir(runs, tmp_path):
  size = light.write(runs / 'das', tmp_path / 'light')
  said = json.loads((tmp_path / 'light' / 'light.json').read_text())
  parts = {path.split('/')[0] for path in said['holds']}
  assert parts == {'head', 'pooler', 'kinds', 'text_types', 'encoder'}
  # Adapters of the layers that run, and what runs in place of the other.
  modules = {re.sub(r'/(ffn|norm)/.*', '', path) for path in said['holds']
             if path.startswith('encoder')}
  assert modules == {
      'encoder/skip_layer_1', *(
          f'encoder/layer_{i}/adapter_{branch}' for i in (0, 2)
          for branch in ('attention', 'ffn'))}
  whole = params_of(runs / 'das')
  assert size < 0.7 * sum(leaf.size for leaf in whole.values())
  light.join(tmp_path / 'light', runs / 'base', tmp_path / 'whole')
  again = params_of(tmp_path / 'whole')
  assert again.keys() == whole.keys()
  for path, leaf in whole.items():
    np.testing.assert_array_equal(again[path], leaf, err_msg=path)
  one, two = map(experiment.load, (runs / 'das', tmp_path / 'whole'))
  assert one.model == two.model and one.sizes == two.sizes
  for name in ('words', 'answers', 'types'):
    assert (tmp_path / 'whole' / 'vocab' / f'{name}.json').read_text() == (
        runs / 'das' / 'vocab' / f'{name}.json').read_text()


def test_another_base_is_refused(runs, tmp_path):
  light.write(runs / 'das', tmp_path / 'light')
  other = params_of(runs / 'other')
  changed = dict(other)
  name = 'encoder/layer_0/ffn/fc1/kernel'
  changed[name] = np.asarray(changed[name]) + 1
  tree = {}
  for path, leaf in changed.items():
    *parents, last = path.split('/')
    node = tree
    for parent in parents:
      node = node.setdefault(parent, {})
    node[last] = np.asarray(leaf)
  shutil.copytree(runs / 'other', tmp_path / 'other')
  shutil.rmtree(tmp_path / 'other' / 'checkpoints')
  checkpoint.save_params(tmp_path / 'other', tree)
  with pytest.raises(ValueError, match=f'belongs to another base, {runs}/base'):
    light.join(tmp_path / 'light', tmp_path / 'other', tmp_path / 'whole')
  assert not (tmp_path / 'whole').exists()


def test_an_adapter_that_is_missing(runs, tmp_path):
  light.write(runs / 'das', tmp_path / 'light')
  path = tmp_path / 'light' / light.ARRAYS
  with np.load(path) as file:
    arrays = dict(file)
  for name in ('encoder/skip_layer_1/ffn/fc1/kernel',
               'encoder/layer_0/adapter_ffn/ffn/fc1/kernel'):
    some = {key: leaf for key, leaf in arrays.items() if key != name}
    np.savez(path, **some)
    with pytest.raises(ValueError, match=f'lacks {name}, other than light.json'):
      light.join(tmp_path / 'light', runs / 'base', tmp_path / 'whole')
  np.savez(path, **arrays | {'more': np.zeros(2)})
  with pytest.raises(ValueError, match='has what its model has not: more'):
    light.join(tmp_path / 'light', runs / 'base', tmp_path / 'whole')
  path.write_bytes(path.read_bytes()[:-9])
  with pytest.raises(ValueError, match='cannot be read'):
    light.join(tmp_path / 'light', runs / 'base', tmp_path / 'whole')
  assert not (tmp_path / 'whole').exists()


def test_a_folder_without_its_plan_is_no_workdir(runs, tmp_path):
  light.write(runs / 'das', tmp_path / 'light')
  with pytest.raises(ValueError, match='config.json'):
    experiment.load(tmp_path / 'light')
  (tmp_path / 'light' / light.LIGHT).unlink()
  with pytest.raises(ValueError, match='light.json'):
    light.join(tmp_path / 'light', runs / 'base', tmp_path / 'whole')


def test_what_has_no_base_and_what_is_no_end(runs, tmp_path):
  with pytest.raises(ValueError, match='started at random: all of them'):
    light.write(runs / 'base', tmp_path / 'light')
  config = json.loads((runs / 'das' / 'config.json').read_text())
  config['model']['skip'] = None
  shutil.copytree(runs / 'das', tmp_path / 'search')
  (tmp_path / 'search' / 'config.json').write_text(json.dumps(config))
  with pytest.raises(ValueError, match='is a search, in which every layer'):
    light.write(tmp_path / 'search', tmp_path / 'light')
  assert not (tmp_path / 'light').exists()


def test_the_command(runs, tmp_path, capsys, monkeypatch):
  flags = {'_WORKDIR': str(runs / 'das'), '_OUTPUT': str(tmp_path / 'light'),
           '_TRAINED_ONLY': True, '_BASE': None, '_SUBMODEL': None,
           '_CHOICE': None, '_STEP': None}
  for name, value in flags.items():
    monkeypatch.setattr(extract, name, type('Flag', (), dict(
        value=value, name=name))())
  extract._light(runs / 'das', tmp_path / 'light')
  assert 'what training changed of' in capsys.readouterr().out
  extract._SUBMODEL.value = '1/2x1'
  with pytest.raises(ValueError, match='leave --submodel and --choice out'):
    extract._light(runs / 'das', tmp_path / 'two')
