"""The next batch is placed while a step runs, and nobody loses his place."""
import time

from bst_jax.learn import sharding
from bst_jax.run import feed
import numpy as np
import pytest


class Numbers:
  """Batches 0, 1, 2, …, of which each takes a while."""

  def __init__(self, seconds=0.0):
    self.made, self._seconds = 0, seconds

  def __next__(self):
    time.sleep(self._seconds)
    self.made += 1
    return {'x': np.full((2, 3), self.made - 1)}

  def get_state(self):
    return {'next_index': self.made}


@pytest.fixture
def mesh():
  return sharding.make_mesh({'data': -1})


def test_a_batch_ahead_does_not_move_the_position(mesh):
  numbers = Numbers()
  source = feed.Feed(numbers, mesh)
  assert source.position == {'next_index': 0}
  for n in range(4):
    assert np.asarray(source.take()['x']).tolist() == [[n] * 3] * 2
    assert source.position == {'next_index': n + 1}
    source.load()
    source.load()  # One ahead, not more.
    assert numbers.made == n + 2
    assert source.position == {'next_index': n + 1}


def test_waiting_is_counted_once(mesh):
  source = feed.Feed(Numbers(0.05), mesh)
  for _ in range(3):
    source.take()
  assert 0.15 <= source.waited() < 1
  assert source.waited() == 0
