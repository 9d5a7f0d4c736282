"""The commands after training, on one tiny trained workdir."""
import json
import pathlib
import shutil
import subprocess
import sys

from bst_jax import elastic, export, extract, predict, profile, train
from bst_jax.data.builders.digit_scenes import find
from bst_jax.learn import sharding
from bst_jax.report import latency, scoring
from bst_jax.run import experiment
from bst_jax.store import checkpoint
from configs import (
  bst_clip_vil_vqa,
  bst_mcan_gqa,
  bst_mcan_pictures,
  bst_mcan_vqa,
  bst_uniter_vqa,
  quickstart,
)
import jax
import numpy as np
from PIL import Image
import pytest

ROOT = pathlib.Path(__file__).parent.parent
SCENE = str(ROOT / 'docs' / 'scene.png')
HALF = elastic.Submodel('1/2', '1/2')


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """The quickstart's workdir, tiny."""
  workdir = tmp_path_factory.mktemp('trained') / 'a'
  train.run(quickstart.get_config('tiny'), workdir)
  return workdir


def test_training_leaves_table_picture_and_vocabularies(trained):
  result = json.loads((trained / 'evaluation_test.json').read_text())
  assert [r['submodel'] for r in result['rows']] == [
      '1/2x1/2', '1/2x1', '1x1']
  assert set(result['prior']) == {'overall', *result['types']}
  text = scoring.table(result)
  assert all(kind in text for kind in result['types'])
  assert 'question only' in text
  picture = np.asarray(Image.open(trained / 'evaluation_test.png').convert('L'))
  assert picture.std() > 10  # Something is drawn.
  names = {p.name for p in (trained / 'vocab').iterdir()}
  assert names >= {'words.json', 'answers.json', 'types.json', 'sizes.json'}


def test_the_lines_of_python_in_the_readme(trained):
  code = (ROOT / 'README.md').read_text().split('```python\n')[1].split('```')[0]
  code = code.replace('runs/quickstart', str(trained))
  extracted, sliced = code.split('# The same numbers')
  told = {}
  exec(extracted, told)
  alone = told.pop('outputs')
  exec('#' + sliced, told)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
               alone, told['outputs'])


def test_every_question_of_the_split_is_counted_once(trained):
  exp = experiment.load(trained)
  data = experiment.load_data(exp.config, trained)
  rows = json.loads((trained / 'evaluation_test.json').read_text())['rows']
  count = sum(int(b['mask'].sum()) for b in data.evaluation('test'))
  assert {r['questions'] for r in rows} == {count}


def test_an_extracted_workdir_is_the_submodel_and_nothing_more(
    trained, tmp_path):
  size = extract.extract(trained, HALF, tmp_path / 'small')
  exp, small = experiment.load(trained), experiment.load(tmp_path / 'small')
  assert size == scoring.row(exp, HALF)['params'] == elastic.size(small.shapes)
  assert [str(s) for s in small.space] == ['1x1']

  params = checkpoint.load_params(tmp_path / 'small', small.shapes)
  data = experiment.load_data(small.config, tmp_path / 'small')
  mesh = sharding.make_mesh({'data': -1})
  with jax.set_mesh(mesh):
    result = scoring.evaluate(small, data, params, [elastic.FULL], 'test', mesh)
  before = json.loads((trained / 'evaluation_test.json').read_text())['rows'][0]
  after = result['rows'][0]
  assert after['macs'] == before['macs']
  np.testing.assert_allclose(after['loss'], before['loss'], rtol=1e-5)
  assert after['accuracy'] == pytest.approx(before['accuracy'])

  with pytest.raises(ValueError, match='not empty'):
    extract.extract(trained, HALF, tmp_path / 'small')
  with pytest.raises(ValueError, match='Ratios that fit'):
    extract.extract(trained, elastic.Submodel('1/3', '1'), tmp_path / 'no')


def test_an_extracted_workdir_starts_further_training(trained, tmp_path):
  extract.extract(trained, HALF, tmp_path / 'small')
  config = experiment.load(tmp_path / 'small').config
  config.init_from = str(tmp_path / 'small')
  config.steps, config.save_every, config.eval_every = 2, 1, 0
  config.evaluate_at_end = False
  state = train.run(config, tmp_path / 'more')
  assert int(state.step) == 2


def test_it_trains_on_with_one_command(trained, tmp_path):
  extract.extract(trained, HALF, tmp_path / 'small')
  run = subprocess.run(
      [sys.executable, '-m', 'bst_jax.train', '--from', tmp_path / 'small',
       '--workdir', tmp_path / 'more', '--config.steps=2',
       '--config.eval_every=0', '--config.evaluate_at_end=False'],
      cwd=ROOT, capture_output=True, text=True, check=False)
  assert run.returncode == 0, run.stderr
  assert f'starting from {tmp_path / "small"}' in run.stderr
  for name in ('words', 'answers'):
    before, after = (json.loads((tmp_path / folder / 'vocab' /
                                 f'{name}.json').read_text())
                     for folder in ('small', 'more'))
    assert before == after
  exp = experiment.load(tmp_path / 'more')
  assert exp.shapes == experiment.load(tmp_path / 'small').shapes
  checkpoint.load_params(tmp_path / 'more', exp.shapes)


def test_profile_agrees_with_the_table(trained):
  exp = experiment.load(trained)
  params = checkpoint.load_params(trained, exp.shapes)
  rows = latency.measure(exp, params, [HALF], batch=2, runs=2)
  want = scoring.row(exp, HALF)
  assert rows[0]['params'] == want['params']
  assert rows[0]['macs'] == want['macs']
  assert rows[0]['flops_bst'] == 2 * want['macs']
  assert rows[0]['latency_ms'] > 0 and 0 < rows[0]['utilisation']
  assert '1/2x1/2' in profile.table(rows, 2, 'bst')


@pytest.mark.parametrize('arg', ['', 'tiny'])
def test_one_seed_reseeds_everything(arg):
  config = quickstart.get_config(arg)
  config.seed = 7
  parts = config, config.data, config.teacher, config.teacher.data
  assert [part.seed for part in parts] == [7] * 4


@pytest.mark.parametrize('config', [
    bst_mcan_vqa, bst_mcan_gqa, bst_mcan_pictures,
    bst_uniter_vqa, bst_clip_vil_vqa])
def test_every_config_runs_tiny(config, tmp_path):
  config = config.get_config('tiny')
  config.steps, config.eval_every, config.evaluate_at_end = 2, 0, False
  if config.get('teacher'):
    config.teacher.steps, config.teacher.eval_every = 2, 0
  state = train.run(config, tmp_path / 'a')
  assert int(state.step) == 2
  if 'image' in config.data.inputs:
    answers, _ = predict.predict(
        tmp_path / 'a', SCENE, 'Is there a red plate?', '1/2x1/2', top=3)
    assert len(answers) == 3


def test_predict_gives_what_the_model_gives(trained):
  asked = 'How many squares are there?'
  answers, seconds = predict.predict(trained, SCENE, asked, '1/2x1/2', top=99)
  assert seconds > 0
  exp = experiment.load(trained)
  data = experiment.load_data(exp.config, trained)
  regions, boxes = find.regions(np.asarray(Image.open(SCENE).convert('RGB')))
  full = exp.sizes['num_regions']
  pad = lambda x: np.pad(x, ((0, full - len(x)), (0, 0)))[None]
  probs = exp.task.soften(exp.model.apply(
      {'params': checkpoint.load_params(trained, exp.shapes)},
      {'tokens': data.vocab.encode(asked, exp.sizes['max_tokens'])[None],
       'regions': pad(regions), 'boxes': pad(boxes)}, sub=HALF))[0]
  assert sorted(answers) == sorted(
      (a, pytest.approx(float(p), rel=1e-4))
      for a, p in zip(data.answers, probs))
  assert [p for _, p in answers] == sorted((p for _, p in answers), reverse=True)


@pytest.mark.parametrize('wrong, said', [
    (dict(question='?!'), 'has no word in it'),
    (dict(image='nowhere.png'), 'there is no picture nowhere.png'),
    (dict(image=__file__), 'not a whole PNG or JPEG'),
    (dict(image=str(ROOT / 'docs/quickstart.png')), 'is no digit scene'),
    (dict(submodel='all'), 'one submodel answers'),
])
def test_what_predict_cannot_answer(trained, wrong, said):
  asked = dict(image=SCENE, question='Is there a circle?', submodel='1x1',
               top=5) | wrong
  with pytest.raises(ValueError, match=said):
    predict.predict(trained, **asked)


def test_one_compilation_serves_a_whole_training(trained, tmp_path):
  compiled = []
  jax.monitoring.register_event_duration_secs_listener(
      lambda name, seconds, **about: compiled.append(
          about.get('fun_name')) if 'backend_compile' in name else None)
  config = quickstart.get_config('tiny')
  config.teacher, config.init_from = None, str(trained / 'teacher')
  config.steps, config.eval_every, config.evaluate_at_end = 8, 0, False
  train.run(config, tmp_path / 'a')
  assert sum('run' in str(name) for name in compiled) == 1, compiled


def test_wrong_workdirs_are_refused_in_words(trained, tmp_path):
  with pytest.raises(ValueError, match='does not exist'):
    experiment.load(tmp_path / 'nowhere')
  copy = tmp_path / 'copy'
  shutil.copytree(trained, copy)
  shutil.rmtree(copy / 'checkpoints')
  with pytest.raises(ValueError, match='checkpoint'):
    checkpoint.load_params(copy)
  config = quickstart.get_config('tiny')
  config.teacher, config.init_from = None, str(copy)
  with pytest.raises(ValueError, match='checkpoint'):
    train.run(config, tmp_path / 'b')
  config.init_from = None
  with pytest.raises(ValueError, match='config.start'):
    train.run(config, tmp_path / 'c')


@pytest.mark.parametrize('name', ['train', 'evaluate', 'extract', 'profile',
                                  'convert', 'export'])
def test_help_has_examples_and_is_quick_to_ask(name):
  run = subprocess.run(
      [sys.executable, '-m', f'bst_jax.{name}', '--help'], cwd=ROOT,
      capture_output=True, text=True, check=False)
  assert run.returncode == 0, run.stderr
  assert f'python -m bst_jax.{name}' in run.stdout
  assert '--workdir' in run.stdout
  first, more = run.stdout.split('flags that matter first:')[1].split(
      'more flags:')
  assert first.split('  --')[1].startswith(('workdir', 'config', 'checkpoint'))
  assert '--multihost' in more and '--multihost' not in first


def test_stablehlo_runs_any_batch_without_the_model(trained, tmp_path):
  exp = experiment.load(trained)
  params = checkpoint.load_params(trained, exp.shapes)
  data = experiment.load_data(exp.config, trained)
  card = export.export(exp, params, '1/2x1', ['stablehlo'], tmp_path / 'a',
                       data, 'test')
  about = card['files']['model.stablehlo']
  assert about['difference'] < 1e-5
  assert about['bytes'] == (tmp_path / 'a' / 'model.stablehlo').stat().st_size
  rows = json.loads((trained / 'evaluation_test.json').read_text())['rows']
  want, = (r['accuracy']['overall'] for r in rows if r['submodel'] == '1/2x1')
  assert card['accuracy'] == pytest.approx(want)
  with pytest.raises(ValueError, match='nothing is overwritten'):
    export.export(exp, params, '1/2x1', ['stablehlo'], tmp_path / 'a')
  with pytest.raises(ValueError, match="Did you mean 'onnx'"):
    export.export(exp, params, '1x1', ['onx'], tmp_path / 'b')
