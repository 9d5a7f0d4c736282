"""How far the host runs ahead of the devices, and signs of life meanwhile."""
import time

from absl import logging
from bst_jax.host import alive
from bst_jax.run import pace, progress
import numpy as np
import pytest


@pytest.fixture
def done(monkeypatch):
  """Steps whose metrics were waited for."""
  waited = []
  monkeypatch.setattr(pace.jax, 'block_until_ready',
                      lambda metrics: waited.append(int(metrics['step'])))
  return waited


def steps(window, first, last):
  return [window.add(step, {'step': np.float32(step)})
          for step in range(first, last + 1)]


@pytest.fixture
def clock(monkeypatch):
  seconds = [0.0]
  monkeypatch.setattr(pace.time, 'monotonic', lambda: seconds[0])
  return seconds


def measured(clock, seconds):
  """A window behind two steps, the second of which took so long."""
  window = pace.Window(10)
  assert steps(window, 11, 11) == [11]
  window.restart()
  clock[0] += seconds
  assert steps(window, 12, 12) == [12]
  return window


def test_the_host_is_a_second_ahead_of_the_devices_and_says_what_is_done(
    done, clock):
  window = measured(clock, 0.4)
  assert steps(window, 13, 16) == [12, 12, 13, 14]
  assert done == [11, 12, 11, 12, 13, 14]
  assert window.close(16)[0] == {'step': 13.5}
  assert steps(window, 17, 19) == [16, 16, 17]  # All before were done.


@pytest.mark.parametrize('seconds, ahead', [(7.0, 0), (1e-4, 16), (0.0, 16)])
def test_long_steps_are_waited_for_one_by_one_short_ones_are_not(
    done, clock, seconds, ahead):
  window = measured(clock, seconds)
  assert window.ahead == ahead
  assert steps(window, 13, 40)[-1] == done[-1] == 40 - ahead


def test_compiling_and_evaluating_are_left_out_of_the_rate(
    tmp_path, monkeypatch, caplog):
  clock = [0.0]
  monkeypatch.setattr(progress.time, 'monotonic', lambda: clock[0])
  logging.set_verbosity(logging.INFO)
  caplog.set_level('INFO')
  with progress.Writer(tmp_path, 43) as writer:
    clock[0] += 500  # Compiling.
    writer.restart(1)
    for step in range(2, 23):
      clock[0] += 1
      if step == 12:
        clock[0] += 20
        writer.leave_out(20)
      writer.update(step)
  last = [r.getMessage() for r in caplog.records][-1]
  # 21 steps took 41 s in all.
  assert 'step 22 of 43, 1 steps/s, about 41 s left' in last


@pytest.mark.parametrize('seconds, text', [
    (3.2, '3 s'), (89, '89 s'), (600, '10 min'), (12000, '3 h 20 min')])
def test_durations_read_well(seconds, text):
  assert progress.duration(seconds) == text


def test_what_takes_long_gives_signs_of_life(monkeypatch, caplog, capfd):
  monkeypatch.setattr(alive, '_SECONDS', 0.1)
  logging.set_verbosity(logging.INFO)
  caplog.set_level('INFO')
  with alive.told('counting') as stretch:
    for _ in stretch.over([1, 2], 'number'):
      time.sleep(0.25)
  said = [r.getMessage() for r in caplog.records]
  assert said[0] == 'counting' and len(said) >= 3
  assert any(line.startswith('counting: number 1 of 2, ') for line in said)
  with alive.told('what is short', at_once=False):
    pass
  with alive.counted('making', 2000, 'pictures') as count:
    count(500, made_before=True)
    count(700)
    time.sleep(0.25)
  line = next(r.getMessage() for r in caplog.records
              if 'making' in r.getMessage())
  assert line.startswith('making: 1,200 of 2,000 pictures, about 0 s left, ')
  with alive.counted('reading', None, 'records') as count:
    count(3)
    time.sleep(0.25)
  assert caplog.records[-1].getMessage().startswith('reading: 3 records, ')
  time.sleep(0.2)
  assert not [r for r in caplog.records if 'short' in r.getMessage()]
  assert '\r' not in ''.join(capfd.readouterr())  # It is no terminal.


def test_a_step_that_was_measured_is_known(tmp_path):
  assert not progress.is_measured(tmp_path, 2)
  with progress.Writer(tmp_path, 4) as writer:
    writer.write(2, {'loss': 1.0})
    assert not progress.is_measured(tmp_path, 2)
    writer.write(2, {'eval/val/w1_d1/overall': 1.0})
  assert progress.is_measured(tmp_path, 2)
  assert not progress.is_measured(tmp_path, 1)
