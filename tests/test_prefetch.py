"""How much is made ahead, and by how many threads."""
import gc
import time

from bst_jax.data import prefetch
import grain
import numpy as np
import pytest


def batches(count=100, size=1000):
  return grain.MapDataset.range(count).map(
      lambda i: np.full(size, i, np.uint8))


@pytest.mark.parametrize('most, held', [(1 << 20, 16), (10_000, 5), (0, 2)])
def test_bytes_made_ahead_are_bounded(most, held):
  made = []
  counted = batches().map(lambda batch: made.append(1) or batch)
  gc.collect()  # Streams of other tests give back what they have.
  before = prefetch.BUDGET.taken
  stream = prefetch.iterator(counted, 1000, 4, most)
  assert next(stream)[0] == 0
  deadline = time.monotonic() + 10
  while len(made) < held and time.monotonic() < deadline:
    time.sleep(0.01)
  time.sleep(0.05)
  assert held <= len(made) <= held + 1  # The one that was taken.
  assert prefetch.BUDGET.taken - before <= most // 2
  assert [int(next(stream)[0]) for _ in range(20)] == list(range(1, 21))
  stream.close()
  del stream
  gc.collect()
  assert prefetch.BUDGET.taken == before


def test_several_streams_share_what_there_is():
  budget = prefetch.Budget()
  assert [budget.take(700, 1000), budget.take(700, 1000),
          budget.take(700, 1000)] == [500, 500, 0]
  budget.give_back(500)
  assert budget.take(100, 1000) == 100 and budget.taken == 600


def test_threads_are_as_many_as_help():
  def sleeps(numbers):  # As a disk far away: threads do not disturb each other.
    time.sleep(0.01)

  def heavy(numbers):
    time.sleep(0.2)

  assert prefetch.measured(sleeps, 100) >= 8
  assert prefetch.measured(heavy, 100) == 16
  assert prefetch.measured(lambda numbers: None, 100) in (1, 2, 4, 8, 16)
