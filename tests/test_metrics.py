"""Metrics are written once, read back, and never half."""
import json
import math
import time

from absl import logging
from bst_jax.run import progress as metrics
from bst_jax.store import workdir as workdirs
import ml_collections
import numpy as np
import pytest


def test_written_is_read(tmp_path):
  with metrics.Writer(tmp_path, 10) as writer:
    writer.write(1, {'loss/full': np.float32(0.5), 'n': 3})
    # On disk at once: a killed run loses nothing.
    assert metrics.read(tmp_path) == [{'step': 1, 'loss/full': 0.5, 'n': 3}]
    writer.write(2, {'loss/full': float('inf'), 'lr': float('nan')})
    writer.update(2)
  last = metrics.read(tmp_path)[-1]
  assert math.isinf(last['loss/full']) and math.isnan(last['lr'])
  assert list((tmp_path / 'tensorboard').iterdir())
  for line in (tmp_path / metrics.FILE).read_text().splitlines():
    json.loads(line, parse_constant=pytest.fail)  # Strict JSON, NaN included.


def test_going_on_drops_what_came_after_the_checkpoint(tmp_path):
  with metrics.Writer(tmp_path, 10) as writer:
    for step in (2, 4, 6):
      writer.write(step, {'loss': step})
  with open(tmp_path / metrics.FILE, 'a') as f:
    f.write('{"step": 8, "lo')  # Killed while writing.
  assert [row['step'] for row in metrics.read(tmp_path)] == [2, 4, 6]

  with metrics.Writer(tmp_path, 10, first_step=4) as writer:
    writer.write(6, {'loss': 60})
  assert metrics.read(tmp_path) == [
      {'step': 2, 'loss': 2}, {'step': 4, 'loss': 4}, {'step': 6, 'loss': 60}]
  assert sorted(path.name for path in tmp_path.iterdir()) == [
      metrics.FILE, 'tensorboard']


def test_a_damaged_line_in_the_middle_is_an_error(tmp_path):
  (tmp_path / metrics.FILE).write_text('{"step": 1}\n{"st\n{"step": 2}\n')
  with pytest.raises(ValueError, match='Line 2 of'):
    metrics.read(tmp_path)


def test_tensorboard_forgets_what_came_after_the_checkpoint(tmp_path):
  from tensorboard.backend.event_processing import event_accumulator
  with metrics.Writer(tmp_path, 10) as writer:
    for step in (2, 4, 6):
      writer.write(step, {'loss': step})
  time.sleep(1.1)  # Event files of the same second have the same name.
  with metrics.Writer(tmp_path, 10, first_step=4) as writer:
    writer.write(8, {'loss': 80})
  events = event_accumulator.EventAccumulator(str(tmp_path / 'tensorboard'))
  events.Reload()
  assert [e.step for e in events.Scalars('loss')] == [2, 4, 8]


def test_other_processes_write_nothing(tmp_path):
  with metrics.Writer(tmp_path / 'a', 10, enabled=False) as writer:
    writer.write(1, {'loss': 1})
    writer.update(1)
  assert not (tmp_path / 'a').exists()


def test_without_a_terminal_progress_is_a_line_now_and_then(
    tmp_path, caplog, monkeypatch):
  now = [0.0]
  monkeypatch.setattr(metrics.time, 'monotonic', lambda: now[0])
  logging.set_verbosity(logging.INFO)
  caplog.set_level('INFO')
  with metrics.Writer(tmp_path, 100) as writer:
    writer.write(1, {'loss/full': 0.25, 'other': 1})
    for step in range(1, 101):
      now[0] += 1
      writer.update(step)
  said = [r.getMessage() for r in caplog.records if 'of 100' in r.getMessage()]
  assert len(said) == 10
  assert 'step 100 of 100, 1 steps/s' in said[-1]
  assert 'loss/full=0.25' in said[0] and 'other' not in said[0]


def test_check_finite_names_the_metric_and_the_steps():
  metrics.check_finite({'loss': np.float32(1), 'lr': 0}, 7)
  with pytest.raises(FloatingPointError) as error:
    metrics.check_finite({'loss': np.float32('nan'), 'lr': 1}, 20, since=10)
  assert "'loss' is nan" in str(error.value)
  assert 'between steps 11 and 20' in str(error.value)
  assert 'clipping' in str(error.value) and "'lr'" not in str(error.value)
  with pytest.raises(FloatingPointError, match='at step 20'):
    metrics.check_finite({'loss': float('-inf')}, 20)


# The workdir's other files.


def make_config(**keys):
  config = ml_collections.ConfigDict(dict(
      seed=0, optimizer=dict(lr=1e-3, betas=(0.9, 0.99)), log_every=10,
      init_from=ml_collections.config_dict.placeholder(str), empty={}))
  config.update_from_flattened_dict(keys)
  return config


def test_config_round_trip(tmp_path):
  workdirs.write_config(tmp_path, make_config())
  config = workdirs.read_config(tmp_path)
  assert config.optimizer.lr == 1e-3
  assert config.optimizer.betas == [0.9, 0.99]
  assert config.init_from is None
  assert isinstance(config.optimizer, ml_collections.ConfigDict)
  workdirs.write_config(tmp_path, config)
  assert workdirs.read_config(tmp_path) == config
  assert [path.name for path in tmp_path.iterdir()] == [workdirs.CONFIG]
  workdirs.check_same(tmp_path, make_config())


def test_a_value_that_is_not_json_is_named_and_keeps_the_old_file(tmp_path):
  workdirs.write_config(tmp_path, make_config())
  with pytest.raises(ValueError, match="'optimizer.f' is a function"):
    workdirs.write_config(tmp_path, ml_collections.ConfigDict(
        dict(optimizer=dict(f=lambda: 0))))
  assert workdirs.read_config(tmp_path).seed == 0


def test_a_workdir_is_a_folder_that_can_be_written(tmp_path):
  workdirs.check_writable(tmp_path / 'a' / 'b')
  assert not list((tmp_path / 'a' / 'b').iterdir())
  (tmp_path / 'file').write_text('')
  with pytest.raises(ValueError, match='no file can be written there'):
    workdirs.check_writable(tmp_path / 'file' / 'a')
  with pytest.raises(ValueError, match='address of a bucket.*gcsfuse'):
    workdirs.check_writable('gs://bucket/runs/a')


def test_check_same_lists_what_differs(tmp_path):
  workdirs.check_same(tmp_path, make_config())  # A new workdir.
  workdirs.write_config(tmp_path, make_config())
  workdirs.check_same(tmp_path, make_config(log_every=1))
  later = make_config()
  later.unlock()
  later.choice = None  # A setting that the workdir is older than.
  workdirs.check_same(tmp_path, later)
  new = make_config(**{'optimizer.lr': 2e-3, 'init_from': 'x'})
  new.more = 1
  with pytest.raises(ValueError) as error:
    workdirs.check_same(tmp_path, new)
  assert 'optimizer.lr: 0.001 there, 0.002 now' in str(error.value)
  assert 'init_from: null there, "x" now' in str(error.value)
  assert 'more: absent there, 1 now' in str(error.value)
  assert 'new --workdir' in str(error.value)
  assert 'betas' not in str(error.value)


def test_data_may_have_moved_and_steps_be_more(tmp_path):
  """Neither says what is learnt from one example; both are told."""
  def config(**data):
    made = make_config(seed=0)
    made.unlock()
    made.steps, made.data = 20, dict(manual_dir='/b', seed=0, threads=4)
    made.data.update(data)
    return made
  made = config(manual_dir='/a', threads=1)
  made.steps = 10
  workdirs.write_config(tmp_path, made)
  assert workdirs.check_same(tmp_path, config()) == [
      'data.manual_dir: "/a" there, "/b" now', 'steps: 10 there, 20 now']
  with pytest.raises(ValueError, match='data.seed: 0 there, 1 now'):
    workdirs.check_same(tmp_path, config(seed=1))


def test_no_config_says_what_is_there_and_where_else(tmp_path):
  workdirs.write_config(tmp_path / 'runs' / 'mcan_a', make_config())
  with pytest.raises(ValueError, match='does not exist.*runs/mcan_a'):
    workdirs.read_config(tmp_path / 'runs' / 'mcan_b')
  with pytest.raises(ValueError, match='holds only mcan_a.*runs/mcan_a'):
    workdirs.read_config(tmp_path / 'runs')
  (tmp_path / 'runs' / 'mcan_a' / workdirs.CONFIG).write_text('{"a": ')
  with pytest.raises(ValueError, match='is not JSON'):
    workdirs.read_config(tmp_path / 'runs' / 'mcan_a')


def test_choice_round_trip(tmp_path):
  choice = {'submodel': '1/2x1/3', 'skip': [True, False],
            'keep': {'mlp': [0, 2]}}
  workdirs.write_choice(tmp_path, choice)
  assert workdirs.read_json(tmp_path, workdirs.CHOICE) == choice
