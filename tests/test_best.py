"""The best checkpoint stays, is named, and is found by --step best."""
import json
import os
import subprocess
import sys

from bst_jax import elastic
from bst_jax.report import watching
from bst_jax.run import progress, training
from bst_jax.store import best, checkpoint
from configs import quickstart
import numpy as np
import pytest
import virtual

SCORES = {2: 10.0, 4: 30.0, 6: 30.0, 8: float('nan'), 10: 20.0}


def kept(workdir):
  return sorted(int(name) for name in os.listdir(workdir / 'checkpoints')
                if name.isdecimal())


def config(**changes):
  made = quickstart.get_config('tiny').teacher
  made.model.update(num_layers=1, width=8, mlp=8, fused=8, recurrent=8, word=8)
  made.space.update(widths=('1',), depths=('1',))
  made.update(steps=10, save_every=0, log_every=10, eval_every=2, keep=1,
              keep_best=True, evaluate_at_end=False)
  made.update(changes)
  return made


def reports(scores, seen=None):
  """Scores by step in place of those that the parameters have."""
  seen = [] if seen is None else seen

  def watch(unused_job):
    steps = iter([step for step in scores if step not in seen])

    def measure(unused_params, unused_over):
      step = next(steps)
      seen.append(step)
      if scores[step] is None:
        raise KeyError('killed')
      return {'eval/val/w1_d1/overall': scores[step],
              'eval/val/w1_d1/other': 1000.0}
    return measure

  return watching.REPORTS._replace(watch=watch)


def test_the_best_stays_beside_the_newest_and_of_equals_the_first(tmp_path):
  training.run(config(), tmp_path, reports(SCORES))
  assert kept(tmp_path) == [4, 10]
  assert best.read(tmp_path) == best.Best(4, 30.0, 'eval/val/w1_d1/overall')
  assert best.step_of(tmp_path, 'best') == 4
  assert best.step_of(tmp_path, '10') == 10
  assert best.step_of(tmp_path, None) is None
  newest, of_best = (elastic.flatten(checkpoint.load_params(
      tmp_path, step=best.step_of(tmp_path, text))) for text in (None, 'best'))
  assert any(not np.array_equal(newest[path], of_best[path]) for path in newest)


def test_a_run_that_was_killed_while_it_evaluated_goes_on_as_if_not(tmp_path):
  seen = []
  with pytest.raises(KeyError):
    training.run(config(), tmp_path, reports(SCORES | {4: None}, seen))
  assert best.read(tmp_path).step == 2
  seen.remove(4)  # It is saved, so that it is evaluated at the next start.
  training.run(config(), tmp_path, reports(SCORES, seen))
  assert kept(tmp_path) == [4, 10] and best.read(tmp_path).step == 4
  steps = [row['step'] for row in progress.read(tmp_path)
           if any(name.startswith('eval/') for name in row)]
  assert steps == [2, 4, 6, 8, 10]


def test_a_worse_run_that_goes_on_keeps_the_best_of_the_first(tmp_path):
  training.run(config(steps=4), tmp_path, reports({2: 50.0, 4: 1.0}))
  training.run(config(), tmp_path, reports({6: 2.0, 8: 3.0, 10: 4.0}))
  assert kept(tmp_path) == [2, 10]
  assert best.read(tmp_path).step == 2


def test_the_file_names_a_checkpoint_that_is_complete(tmp_path, monkeypatch):
  there = []

  def write(workdir, name, value, before=best.workdirs.write_json):
    if name == best.FILE:
      there.append(value['step'] in kept(workdir))
    before(workdir, name, value)

  monkeypatch.setattr(best.workdirs, 'write_json', write)
  training.run(config(), tmp_path, reports(SCORES))
  assert there == [True, True]


def test_without_a_best_one_it_says_how_to_keep_it(tmp_path):
  (tmp_path / 'checkpoints' / '7').mkdir(parents=True)
  with pytest.raises(ValueError, match='keep_best.*the steps 7'):
    best.step_of(tmp_path, 'best')
  with pytest.raises(ValueError, match="neither the step of a .*steps 7"):
    best.step_of(tmp_path, 'bset')
  best.write(tmp_path, best.Best(5, 1.0, 'overall'))
  assert best.read(tmp_path) is None  # Somebody deleted the checkpoint.


@pytest.mark.parametrize('text', [
    '{}', '[3]', '{"step": "3", "score": 1, "of": "a"}',
    '{"step": 3, "score": NaN, "of": "a"}', '{"step": 3, "score": 1}'])
def test_a_damaged_note_of_the_best_is_named(tmp_path, text):
  (tmp_path / best.FILE).write_text(text)
  with pytest.raises(ValueError, match='best.json'):
    best.read(tmp_path)


@pytest.mark.parametrize('line', ['[1]', '{}', '{"step": "a"}', 'x', '7'])
def test_a_line_that_is_no_line_of_metrics_is_named(tmp_path, line):
  (tmp_path / progress.FILE).write_text(f'{{"step": 1}}\n{line}\n{{"step": 2}}\n')
  with pytest.raises(ValueError, match='Line 2 of .*delete that line'):
    progress.read(tmp_path)


def test_what_checkpoints_are_compared_by():
  numbers = {'eval/val/w1-2_d1/overall': 10.0, 'eval/val/w1-2_d1/a/b': 90.0,
             'eval/val/w1_d1/overall': 20.0, 'eval/val/w1_d1/a/b': 70.0}
  assert watching.score(numbers) == (
      15.0, 'mean of eval/val/w1-2_d1/overall and eval/val/w1_d1/overall')


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('best') / 'a'
  made = config(evaluate_at_end=True)
  made.space.update(widths=('1/2', '1'))
  made.method = dict(name='bst', teacher='inplace', sampled=0, gt_weight=0.0)
  training.run(made, workdir, reports(SCORES)._replace(
      finish=watching.finish))
  return workdir


def command(name, *flags):
  return subprocess.run(
      [sys.executable, '-m', f'bst_jax.{name}', *flags], text=True, check=False,
      stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
      env=virtual.environment(1))


def table(workdir, name='evaluation_test'):
  result = json.loads((workdir / f'{name}.json').read_text())
  return result['step'], {row['submodel']: row for row in result['rows']}


def test_one_submodel_joins_the_table_that_stands_there(trained):
  step, rows = table(trained)
  assert step == 10 and list(rows) == ['1/2x1', '1x1']
  run = command('evaluate', f'--workdir={trained}', '--submodel=1x1')
  assert run.returncode == 0, run.stdout
  assert 'with the rows of 1 more' in run.stdout
  step, both = table(trained)
  assert step == 10 and both['1/2x1'] == rows['1/2x1']
  assert both['1x1']['accuracy'] == rows['1x1']['accuracy']


def test_the_best_step_is_evaluated_beside_the_newest_and_extracted(
    trained, tmp_path):
  before = (trained / 'evaluation_test.json').read_bytes()
  run = command('evaluate', f'--workdir={trained}', '--step=best')
  assert run.returncode == 0 and 'that of step 4' in run.stdout, run.stdout
  assert (trained / 'evaluation_test.json').read_bytes() == before
  assert table(trained, 'step_4_evaluation_test')[0] == 4
  run = command('extract', f'--workdir={trained}', '--submodel=1x1',
                '--step=best', f'--output={tmp_path / "small"}')
  assert run.returncode == 0, run.stdout
  small, whole = (elastic.flatten(checkpoint.load_params(*of)) for of in (
      (tmp_path / 'small',), (trained, None, 4)))
  assert all(np.array_equal(small[path], whole[path]) for path in whole)
