"""Two processes train as one does, stop as one, and survive each other."""
import json
import os
import resource
import shutil
import signal
import time

from bst_jax import elastic, train
from bst_jax.data import source
from bst_jax.run import progress as metrics
from bst_jax.store import checkpoint
import numpy as np
import pytest
import two_processes as two

# Evaluates for long, and saves for nothing but a signal.
LEFT = {'save_every': 0, 'eval_every': 10, 'data.eval_batch': 8,
        'evaluate_at_end': False}


@pytest.fixture(scope='module')
def home(tmp_path_factory):
  return tmp_path_factory.mktemp('processes')


@pytest.fixture(scope='module')
def cache(home):
  return home / 'compiled'


@pytest.fixture(scope='module')
def said(home, cache):
  """What two processes said, who differed, were stopped, and trained."""
  runs = two.start(
      home / 'both',
      (home / 'differ', [{'optimizer.lr': 0.2}, {'optimizer.lr': 0.3}]),
      (home / 'stopped', {'steps': 5000, 'save_every': 0, 'log_every': 1}),
      (home / 'left', LEFT), (home / 'left', LEFT),
      (home / 'replicated', {}),
      (home / 'fsdp', {'rules': 'fsdp', 'mesh.fsdp': 2,
                       'evaluate_at_end': False}), cache=cache)
  assert two.wait_for(lambda: two.last_step(home / 'stopped') >= 7, runs)
  runs[1].send_signal(signal.SIGTERM)
  # Step 10 is told of before it is evaluated.
  assert two.wait_for(lambda: two.last_step(home / 'left') >= 10, runs)
  runs[0].send_signal(signal.SIGTERM)
  results = two.finish(home / 'both', runs)
  assert [code for code, _ in results] == [0, 0], results
  return [said for _, said in results]


@pytest.fixture(scope='module')
def both(home, said):
  """Workdirs that two processes trained, by the names of their rules."""
  assert said
  return {name: home / name for name in ('replicated', 'fsdp')}


@pytest.fixture(scope='module')
def alone(home):
  """A workdir that this process trained."""
  train.run(two.config(), home / 'alone')
  return home / 'alone'


def params(workdir):
  return elastic.flatten(checkpoint.load_params(workdir))


def same(one, other):
  one, other = params(one), params(other)
  return one.keys() == other.keys() and all(
      np.array_equal(one[key], other[key]) for key in one)


def assert_close(one, other):
  """Parameters and losses of two workdirs agree to 1e-5."""
  one_params, other_params = params(one), params(other)
  assert one_params.keys() == other_params.keys()
  for key, value in one_params.items():
    error = np.linalg.norm(value - other_params[key])
    # What begins at zero and has no gradient is rounding itself.
    assert error <= max(1e-5 * np.linalg.norm(value), 1e-7), (key, error)
  losses = [[row['loss/full'] for row in metrics.read(workdir)]
            for workdir in (one, other)]
  np.testing.assert_allclose(*losses, rtol=1e-5)


def scores(workdir):
  return json.loads((workdir / 'evaluation_test.json').read_text())['rows']


@pytest.mark.parametrize('rules', ['replicated', 'fsdp'])
def test_two_processes_train_as_one_does(both, alone, rules):
  assert_close(alone, both[rules])
  assert all(0 <= row['wait_share'] <= 1 for row in metrics.read(both[rules]))


def test_two_processes_count_every_question_once(both, alone):
  data = source.load(two.config().data)
  batches = data.evaluation('test')
  rows = np.concatenate(list(batches.rows()))
  assert (rows < 0).any()  # The last batch is not full.
  for workdir in (alone, both['replicated']):
    for row, wanted in zip(scores(workdir), scores(alone), strict=True):
      assert row['questions'] == (rows >= 0).sum()
      assert row['accuracy'] == pytest.approx(wanted['accuracy'], rel=1e-5)
      assert row['loss'] == pytest.approx(wanted['loss'], rel=1e-5)


def test_a_run_goes_on_with_other_numbers_of_processes_and_devices(
    home, both, alone, cache):
  """From two processes to one, then to four devices: the same batches."""
  moved = home / 'moved'
  shutil.copytree(both['replicated'], moved)
  shutil.rmtree(moved / 'checkpoints' / '20')
  train.run(two.config(), moved)
  assert_close(alone, moved)
  for step in (10, 20):
    shutil.rmtree(moved / 'checkpoints' / str(step))
  shutil.copytree(both['fsdp'] / 'checkpoints' / '10',
                  moved / 'checkpoints' / '10')
  runs = two.start(home / 'four', (moved, {'rules': 'fsdp', 'mesh.fsdp': 4}),
                   cache=cache, count=1, devices=4)
  (code, said), = two.finish(home / 'four', runs)
  assert code == 0 and 'going on from step 10' in said, said
  assert_close(alone, moved)


def test_a_killed_process_ends_the_other_and_the_next_start_makes_up_for_it(
    home, both, cache):
  """Also where the newest checkpoint is damaged by then: bit for bit."""
  killed, changes = home / 'killed', {'save_every': 3, 'log_every': 1}
  runs = two.start(home / 'first', (killed, changes), cache=cache)
  assert two.wait_for(lambda: two.last_step(killed) >= 11, runs)
  runs[1].kill()
  began = time.monotonic()
  (code, said), _ = two.finish(home / 'first', runs)
  assert code not in (0, 2) and time.monotonic() - began < 60, said
  assert 'another process' in said, said

  steps = sorted(int(path.name) for path in
                 (killed / 'checkpoints').glob('[0-9]*') if path.name.isdigit())
  for path in (killed / 'checkpoints' / str(steps[-1])).rglob('*'):
    if path.is_file():
      os.truncate(path, path.stat().st_size // 2)
  runs = two.start(home / 'second', (killed, changes), cache=cache)
  results = two.finish(home / 'second', runs)
  assert [code for code, _ in results] == [0, 0], results
  assert f'going on from step {steps[-2]}' in results[0][1], results
  assert f'{steps[-1]} cannot be read' in results[0][1], results
  assert same(both['replicated'], killed)
  found = [row['step'] for row in metrics.read(killed)]
  assert found == [*range(1, 21)]


def test_a_signal_to_one_process_stops_both_at_the_same_step(home, said):
  step, = (int(path.name)
           for path in (home / 'stopped' / 'checkpoints').iterdir())
  for text in said:
    assert f'Stopped and saved at step {step} of 5000' in text
  steps = [row['step'] for row in metrics.read(home / 'stopped')]
  assert steps == [*range(1, step + 1)]


def test_a_signal_while_they_evaluate_ends_both_behind_the_same_batch(
    home, both, said):
  """Saved, and gone on with: evaluated then, and bit for bit."""
  for text in said:
    assert 'Stopped and saved at step 10 of 20' in text
    assert text.count(f'saved at step 10 of 20 in {home / "left"}') == 1
  assert 'going on from step 10' in said[0]
  rows = metrics.read(home / 'left')
  told = [(row['step'], any(name.startswith('eval/') for name in row))
          for row in rows]
  assert told == [(5, False), (10, False), (10, True), (15, False), (20, False)]
  assert same(both['replicated'], home / 'left')


def test_processes_that_differ_say_in_what(home, said):
  for text in said:
    assert 'config.optimizer.lr: 0.2 in process 0, 0.3 in process 1' in text
  assert not os.listdir(home / 'differ')


def test_a_disk_that_is_full_ends_training_and_keeps_what_it_saved(
    home, cache):
  workdir = home / 'full'
  runs = two.start(
      home / 'filling', (workdir, {'steps': 5000, 'log_every': 1}),
      cache=cache, count=1)
  assert two.wait_for(lambda: two.last_step(workdir) >= 21, runs)
  # No file may be longer from now on: that of the parameters is.
  resource.prlimit(runs[0].pid, resource.RLIMIT_FSIZE, (20_000, 20_000))
  (code, said), = two.finish(home / 'filling', runs)
  assert code == 1 and 'Traceback' not in said, said
  assert 'could not be written' in said and 'make room' in said
  step = int(said.split('is that of step ')[1].split(':')[0])
  assert step >= 10
  assert params(workdir) and str(step) in os.listdir(workdir / 'checkpoints')
