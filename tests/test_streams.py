"""Streams of batches beside training's: how long one serves, where each is."""
import json

from bst_jax.learn import sharding
from bst_jax.report import watching
from bst_jax.run import feed, training
import chex
from configs import quickstart
import numpy as np
import pytest


class Numbers:
  """Batches 0, 1, 2, …; can be set to any of them."""

  def __init__(self):
    self.made = 0

  def __next__(self):
    self.made += 1
    return {'x': np.full((2, 1), self.made - 1)}

  def get_state(self):
    return {'next_index': self.made}

  def set_state(self, state):
    self.made = state['next_index']


STEPS = {'train': 1, 'held_out': 3}


def streams(step=0, position=None):
  return feed.Streams({name: Numbers() for name in STEPS},
                      sharding.make_mesh({'data': -1}), STEPS, step, position)


def read(source, count):
  """[(number of the training batch, of the held-out batch), …] of some steps."""
  numbers = []
  for _ in range(count):
    batches = source.take()
    numbers.append(tuple(int(batches[name]['x'][0, 0]) for name in STEPS))
    source.load()
  return numbers


def test_a_batch_serves_its_steps_wherever_a_run_was_stopped():
  straight = read(streams(), 8)
  assert straight == [(0, 0), (1, 0), (2, 0), (3, 1), (4, 1), (5, 1), (6, 2),
                      (7, 2)]
  for stop in range(8):
    source = streams()
    before = read(source, stop)
    position = json.loads(json.dumps(source.position))
    again = read(streams(stop, position), 8 - stop)
    assert before + again == straight, stop


def test_runs_of_one_stream_are_gone_on_with():
  """They kept the place of training alone, without its name."""
  assert read(streams(3, {'next_index': 3}), 1) == [(3, 0)]


def config(every=3):
  made = quickstart.get_config('tiny').teacher
  made.unlock()
  made.model.update(num_layers=1, width=8, mlp=8, fused=8, recurrent=8, word=8)
  made.space.update(widths=('1',), depths=('1',))
  made.method = dict(name='own_methods.two_streams', every=every)
  made.data.held_out = 'val'
  made.update(steps=7, save_every=4, log_every=10, eval_every=0,
              evaluate_at_end=False)
  return made


class Killed(Exception):
  """The end of a run that nobody expected."""


def test_a_method_with_two_streams_ends_the_same_when_it_is_resumed(tmp_path):
  straight = training.run(config(), tmp_path / 'a', watching.REPORTS)
  choice = json.loads((tmp_path / 'a' / 'choice.json').read_text())
  assert choice['skip'] == ['layer_7']

  def kill(job):
    def watch(params, over):
      raise Killed
    return watch

  stopped = config()
  stopped.eval_every = 5
  with pytest.raises(Killed):
    training.run(stopped, tmp_path / 'b', watching.REPORTS._replace(
        watch=kill))
  resumed = training.run(config(), tmp_path / 'b', watching.REPORTS)
  seen = np.asarray(resumed.extra['seen'])
  np.testing.assert_array_equal(seen, straight.extra['seen'])
  changes = np.flatnonzero(np.diff(seen[:7])) + 1
  assert changes.tolist() == [3, 6]
  chex.assert_trees_all_equal(straight.params, resumed.params)


def test_a_stream_without_a_split_is_refused_before_data_are_read(tmp_path):
  unnamed = config()
  unnamed.data.held_out = ''
  with pytest.raises(ValueError, match="stream 'held_out', but "
                     'config.data.held_out names no split'):
    training.run(unnamed, tmp_path / 'a', watching.REPORTS)
  with pytest.raises(ValueError, match='serves 0 steps'):
    training.run(config(every=0), tmp_path / 'b', watching.REPORTS)
