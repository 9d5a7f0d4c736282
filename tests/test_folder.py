"""A folder of one's own: trained on, evaluated and predicted by overrides."""
import json
import pathlib
import subprocess
import sys

from bst_jax import train
from bst_jax.data import results, single, source, vqa_scores
from bst_jax.learn import sharding
from bst_jax.report import predictions, scoring
from bst_jax.run import experiment
from bst_jax.store import checkpoint
from configs import bst_mcan_vqa
import jax
import made_up
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parent.parent


def config(tmp_path, **data):
  """The published experiment, shrunk; the data are overridden alone."""
  tiny = bst_mcan_vqa.get_config('tiny')
  found = bst_mcan_vqa.get_config()
  found.model, found.space = tiny.model, tiny.space
  # Quick to compile: the data are what counts here.
  found.method = dict(name='plain')
  found.model.update(num_layers=1, dropout=0.0)
  found.space.depths = ('1',)
  found.steps, found.epochs, found.evaluate_at_end = 3, 0, False
  found.eval_every, found.log_every = 0, 1
  found.schedule = dict(name='constant')
  with found.unlocked():
    found.data.update(dict(
        name='folder/regions', manual_dir=str(tmp_path / 'mine'),
        data_dir=str(tmp_path / 'home'), train='train', eval='val', batch=4,
        answers_from='', max_tokens=6, min_answers=1) | data)
  return found


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  tmp_path = tmp_path_factory.mktemp('folder')
  made_up.folder(tmp_path / 'mine')
  state = train.run(config(tmp_path), tmp_path / 'run')
  assert int(state.step) == 3
  return tmp_path


def test_the_workdir_holds_its_own_vocabularies(trained):
  vocab = trained / 'run' / 'vocab'
  assert json.loads((vocab / 'answers.json').read_text()) == [
      'no', 'blue', 'green', 'red', 'yes']
  words = json.loads((vocab / 'words.json').read_text())
  assert words[3:] == ['what', 'color', 'is', 'it', 'red', 'green']
  exp = experiment.load(trained / 'run')
  assert exp.sizes['num_regions'] == 3 and exp.sizes['feature_size'] == 16


def test_it_is_evaluated_and_predicted(trained):
  exp = experiment.load(trained / 'run')
  data = experiment.load_data(exp.config, trained / 'run')
  params = checkpoint.load_params(trained / 'run', exp.shapes)
  mesh, subs = sharding.make_mesh({'data': -1}), list(exp.space)
  with jax.set_mesh(mesh):
    picks = []
    table = scoring.evaluate(exp, data, params, subs, 'val', mesh, picks)
    alone = predictions.pick(exp, data, params, subs, 'val', mesh)
  for one, other in zip(picks, alone, strict=True):
    for mine, theirs in zip(one, other, strict=True):
      np.testing.assert_array_equal(mine['answer'], theirs['answer'])
  ids = predictions.ids(data, 'val')
  paths = list(predictions.write(exp, data, ids, picks, subs, 'val',
                                 trained / 'run'))
  assert [p.name for p in paths] == [
      'results_val_w1-2_d1_hidden8_layers1.json',
      'results_val_w1_d1_hidden16_layers1.json']
  annotations = json.loads(
      (trained / 'mine' / 'val_annotations.json').read_text())['annotations']
  for path, row in zip(paths, table['rows']):
    score = vqa_scores.score(results.read(path), annotations)
    assert row['questions'] == 8 and table['rule'] == 'vqa'
    assert score['overall'] == pytest.approx(row['accuracy']['overall'])


def test_raw_pictures_load_too(tmp_path):
  made_up.folder(tmp_path / 'mine', content='images')
  config = dict(
      name='folder/images', manual_dir=str(tmp_path / 'mine'), eval='val',
      data_dir=str(tmp_path / 'home'), inputs=('image',), image_size=(8, 16),
      image_fit='mean', batch=4)
  data = source.load(config)
  shown = next(data.train())['image']
  assert shown.shape == (4, 8, 16, 3)
  assert (shown[:, :, [0, 1, 14, 15]] == (123, 117, 104)).all()
  assert data.sizes['image_size'] == (8, 16)
  # `predict` makes the same array of a file.
  alone = [single.batch(config, data.sizes, data.vocab, path, 'is it')['image']
           for path in (tmp_path / 'mine' / 'images').iterdir()]
  assert all(any((one == x).all() for x in alone) for one in shown)


def test_two_folders_of_one_name_are_two_data_sets(tmp_path):
  sizes = []
  for i, size in enumerate((16, 8)):
    made_up.folder(tmp_path / str(i) / 'mine', train=3, val=1, size=size)
    sizes.append(source.load(dict(
        name='folder', manual_dir=str(tmp_path / str(i) / 'mine'), eval='val',
        data_dir=str(tmp_path / 'home'), batch=2, num_regions=i)).sizes)
  assert [s['feature_size'] for s in sizes] == [16, 8]
  assert [s['num_regions'] for s in sizes] == [3, 1]
  (tmp_path / '0' / 'mine' / 'my-own_questions.json').write_text('{}')
  with pytest.raises(ValueError, match='are not the same any more'):
    source.load(dict(name='folder', manual_dir=str(tmp_path / '0' / 'mine'),
                     data_dir=str(tmp_path / 'home'), batch=2))
  with pytest.raises(ValueError, match="'my-own' is none"):
    source.load(dict(name='folder', manual_dir=str(tmp_path / '0' / 'mine'),
                     data_dir=str(tmp_path / 'again'), batch=2))


def command(workdir, split):
  run = subprocess.run(
      [sys.executable, '-m', 'bst_jax.evaluate', '--workdir', str(workdir),
       '--results', '--submodel', '1x1', '--split', split], cwd=ROOT, text=True,
      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
  assert run.returncode == 0, run.stdout
  return run.stdout


def test_results_of_a_split_with_answers_come_with_its_table(trained):
  for path in (made := [trained / 'run' / name for name in (
      'results_val_w1_d1_hidden16_layers1.json', 'evaluation_val.json')]):
    path.unlink(missing_ok=True)
  assert 'question only' in command(trained / 'run', 'val')
  assert all(path.exists() for path in made)


def test_a_split_that_nobody_annotated_is_predicted_alone(trained):
  assert 'question only' not in command(trained / 'run', 'test')
  found = results.read(trained / 'run' / 'results_test_w1_d1_hidden16_layers1.json')
  assert sorted(found) == ['160', '161', '170', '171']
  assert set(found.values()) <= {'no', 'yes', *made_up.COLORS}
