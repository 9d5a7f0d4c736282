"""Training as a user meets it: interrupted, resumed, misconfigured."""
import json
import pathlib
import signal
import subprocess
import sys
import time

from bst_jax import elastic
from bst_jax.run import progress as metrics
from bst_jax.store import checkpoint
import jax
import numpy as np
import pytest
import virtual

ROOT = pathlib.Path(__file__).parent.parent
# The quickstart, shrunk until a start is what takes time. One submodel is
# drawn, so that a wrong key after a restart would show.
CONFIG = ('--config=configs/quickstart.py:tiny', '--config.save_every=4',
          '--config.teacher.save_every=4', '--config.log_every=2',
          '--config.steps=12', '--config.teacher.steps=6',
          '--config.eval_every=0', '--config.teacher.eval_every=0',
          '--config.model.num_layers=2', '--config.model.dropout=0.1',
          '--config.evaluate_at_end=False')


def command(workdir, *flags, cache, config=CONFIG):
  return [sys.executable, '-m', 'bst_jax.train', *config, *flags,
          f'--workdir={workdir}', f'--compilation_cache={cache}']


def environment(devices=1):
  return virtual.environment(
      devices, JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS='0')


def finish(workdir, *flags, devices=1, **how):
  return subprocess.run(
      command(workdir, *flags, **how), cwd=ROOT, text=True,
      env=environment(devices), stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT, check=False)


def stop_at(workdir, step, number, *flags, devices=1, metrics_in='', **how):
  """Starts a run and sends it a signal once metrics show the given step."""
  run = subprocess.Popen(
      command(workdir, *flags, **how), cwd=ROOT, text=True,
      env=environment(devices), stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT)
  log = workdir / metrics_in / 'metrics.jsonl'
  limit = time.monotonic() + 300
  while run.poll() is None and time.monotonic() < limit:
    if log.exists() and any(
        json.loads(line)['step'] >= step
        for line in log.read_text().splitlines() if line.endswith('}')):
      run.send_signal(number)
      break
    time.sleep(0.01)
  output = run.communicate(timeout=300)[0]
  return run.returncode, output


def same(one, other):
  one, other = (elastic.flatten(checkpoint.load_params(w))
                for w in (one, other))
  assert one.keys() == other.keys()
  return all(np.array_equal(one[k], other[k]) for k in one)


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
  return tmp_path_factory.mktemp('compiled')


@pytest.fixture(scope='module')
def whole(tmp_path_factory, cache):
  """An undisturbed run on one device."""
  workdir = tmp_path_factory.mktemp('whole')
  run = finish(workdir, cache=cache)
  assert run.returncode == 0, run.stdout
  return workdir


@pytest.mark.parametrize('devices', [1, 2])
def test_a_killed_run_ends_bit_for_bit_as_an_undisturbed_one(
    tmp_path, whole, cache, devices):
  straight = whole
  if devices > 1:
    straight = tmp_path / 'straight'
    run = finish(straight, devices=devices, cache=cache)
    assert run.returncode == 0, run.stdout
  killed = tmp_path / 'killed'
  step = int(np.random.default_rng().integers(1, 11))
  print('killed at step', step)  # Shown if the test fails.
  code, output = stop_at(killed, step, signal.SIGKILL, devices=devices,
                         cache=cache)
  assert code == -signal.SIGKILL, output
  run = finish(killed, devices=devices, cache=cache)
  assert run.returncode == 0, run.stdout
  assert same(straight, killed)
  steps = [row['step'] for row in metrics.read(killed)]
  assert steps == sorted(set(steps)) and steps[-1] == 12


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_saves_says_how_to_go_on_and_does(
    tmp_path, whole, cache, number):
  code, output = stop_at(tmp_path / 'a', 6, number, cache=cache)
  assert code == 130, output
  assert 'The same command goes on' in output
  run = finish(tmp_path / 'a', cache=cache)
  assert run.returncode == 0, run.stdout
  assert 'going on from step' in run.stdout
  assert same(whole, tmp_path / 'a')


def test_a_finished_run_started_again_changes_nothing(whole, cache):
  before = (whole / 'metrics.jsonl').read_bytes()
  run = finish(whole, cache=cache)
  assert run.returncode == 0, run.stdout
  assert 'is finished: step 12 of 12' in run.stdout
  assert 'parameters' not in run.stdout  # Neither data nor model were made.
  assert (whole / 'metrics.jsonl').read_bytes() == before


def test_another_config_in_the_same_workdir_is_refused(whole, cache):
  run = finish(whole, '--config.optimizer.lr=0.5', cache=cache)
  assert run.returncode == 2
  assert 'optimizer.lr' in run.stdout and '--workdir' in run.stdout


def test_a_loss_that_is_not_finite_stops_before_it_is_saved(tmp_path, cache):
  run = finish(tmp_path / 'a', '--config.teacher.optimizer.lr=1e30',
               '--config.teacher.optimizer.clip=0.0', cache=cache)
  assert run.returncode == 3, run.stdout
  assert 'config.optimizer.lr' in run.stdout
  teacher = tmp_path / 'a' / 'teacher'
  if list((teacher / 'checkpoints').glob('[0-9]*')):
    params = checkpoint.load_params(teacher)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(params))


def test_misspelt_and_impossible_settings_fail_in_words(tmp_path, cache):
  for flag, words in (
      ('--config.optimiser.lr=1', 'optimizer'),
      ('--config.space.widths=["1/3","1"]', 'Ratios that fit'),
      ('--config.method.sampled=7', 'without repetition'),
      ('--config.data.name=digit_scene/tiny', 'digit_scenes'),
      ('--config.mesh.data=3', 'does not cover'),
  ):
    run = finish(tmp_path / 'x', flag, cache=cache)
    assert run.returncode == 2, run.stdout
    assert words in run.stdout, run.stdout
    assert 'Traceback' not in run.stdout
