"""Batches that are made ahead: by how many threads, and how many of them."""
from collections.abc import Callable, Sequence
from concurrent import futures
import threading
import time
import weakref

from absl import logging
import grain
import numpy as np

_EACH = 4  # batches a thread, at most
_LEAST = 2  # batches: one is used while the next is made
_THREADS = 16
_TRIED = (1, 2, 4, 8, _THREADS)
_TRIAL, _CHUNK = 0.06, 0.005  # seconds
_MOST_CHUNKS = 2000  # of a trial; of what takes no time, more only wait
_SLOW = 0.1  # seconds; what takes longer is not tried out
_NEAR = 0.85  # of the highest rate is enough


class Budget:
  """Bytes that iterators of one process may hold together."""

  def __init__(self):
    self._taken, self._lock = 0, threading.Lock()

  def take(self, wanted: int, most: int) -> int:
    """Takes bytes, as many as are wanted or left of `most`.

    None gets more than a half, so that an evaluation beside a training has its
    share.
    """
    with self._lock:
      given = max(0, min(wanted, most // 2, most - self._taken))
      self._taken += given
      return given

  def give_back(self, given: int) -> None:
    """Gives back what was taken."""
    with self._lock:
      self._taken -= given

  @property
  def taken(self) -> int:
    """Bytes that are taken."""
    return self._taken


BUDGET = Budget()


def iterator(batches: grain.MapDataset, size: int, threads: int, most: int,
             ) -> grain.DatasetIterator:
  """The batches in order, made ahead.

  Args:
    batches: by number.
    size: bytes of a batch.
    threads: that make them, at most.
    most: bytes that all iterators together may hold; each holds two batches,
      whatever their size.
  """
  threads, size = max(1, threads), max(1, size)
  given = BUDGET.take(_EACH * threads * size, most)
  count = max(_LEAST, given // size)
  made = iter(batches.to_iter_dataset(grain.ReadOptions(
      num_threads=min(threads, count),
      prefetch_buffer_size=min(_EACH * threads, count))))
  weakref.finalize(made, BUDGET.give_back, given)
  return made


def ahead(read: Callable, items: Sequence, size: int, threads: int,
          most: int) -> grain.DatasetIterator:
  """What `read` makes of every item, in order; otherwise as `iterator`."""
  return iterator(grain.MapDataset.source(items).map(read), size, threads, most)


def measured(read: Callable[[np.ndarray], object], count: int,
             seed: int = 0) -> int:
  """How many threads read a data set quickest, by trying it for half a second.

  It is the least number that is about as quick as any. What is read does not
  depend on it.

  Args:
    read: reads the pictures int[n].
    count: how many pictures there are.
    seed: of which ones are read.
  """
  rng, size = np.random.default_rng(seed), 1
  some = lambda: rng.integers(count, size=size)
  read(some())  # Opens what is to be opened.
  while True:
    began = time.perf_counter()
    read(some())
    took = time.perf_counter() - began
    if took > _SLOW:
      return _THREADS
    if took >= _CHUNK or size >= 64:
      break
    size *= 2
  rates = {}
  for threads in _TRIED:
    with futures.ThreadPoolExecutor(threads) as pool:
      wanted = max(2 * threads, int(_TRIAL * threads / took))
      chunks = [some() for _ in range(min(wanted, _MOST_CHUNKS))]
      began = time.perf_counter()
      done = 0
      for _ in pool.map(read, chunks):
        done += 1
        if time.perf_counter() - began > _TRIAL and done >= threads:
          pool.shutdown(wait=False, cancel_futures=True)
          break
      rates[threads] = done / (time.perf_counter() - began)
  best = next(threads for threads, rate in rates.items()
              if rate >= _NEAR * max(rates.values()))
  logging.info('%d threads read data ahead: %.0f pictures/s tried, and %s',
               best, rates[best] * size, ', '.join(
                   f'{rate * size:.0f} with {threads}'
                   for threads, rate in rates.items() if threads != best))
  return best
