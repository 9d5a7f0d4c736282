"""Processes that make shards, from where they are started.

They run `worker` and are not multiprocessing's, which import the program again
that asked for the data: it would need a guard, and its memory for each.
"""
from collections.abc import Callable, Iterable, Iterator
import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading

from bst_jax.data.making import shards

_PROGRAM = 'bst_jax.data.making.worker'


@contextlib.contextmanager
def workers(number: int) -> Iterator['Workers']:
  """So many processes; none is left when the block ends, however it does."""
  pool = Workers(number)
  try:
    yield pool
  finally:
    pool.close()


class Workers:
  """Makes shards in other processes; in this one where there are none."""

  def __init__(self, number: int):
    self._number, self._processes = number, []

  def make(self, jobs: Iterable[shards.Job], tell: Callable[[int, int], None]
           ) -> Iterator[tuple[int, shards.Shard]]:
    """Yields (number of the job, its shard) as they become whole.

    Args:
      jobs: each is asked for when a process is free for it.
      tell: as of `shards.make`.

    Raises:
      ValueError: what one of them raises.
      RuntimeError: a process died.
    """
    if not self._number:
      for number, job in enumerate(jobs):
        yield number, shards.make(job, tell)
      return
    self._start()
    waiting, events = enumerate(jobs), queue.SimpleQueue()
    busy = sum(self._send(p, waiting, events) for p in self._processes)
    while busy:
      process, kind, *values = events.get()
      if kind == 'told':
        tell(*values)
      elif kind == 'whole':
        yield tuple(values)
        busy += self._send(process, waiting, events) - 1
      elif kind == 'raised':
        raise values[0]
      else:
        raise RuntimeError(
            f'A process that makes shards died ({_why(process.wait())}). Start '
            'again: the shards that are whole stay.')

  def _start(self):
    while len(self._processes) < self._number:
      process = subprocess.Popen(
          [sys.executable, '-m', _PROGRAM], stdin=subprocess.PIPE,
          stdout=subprocess.PIPE,
          env=os.environ | {'PYTHONPATH': os.pathsep.join(sys.path)})
      self._processes.append(process)

  def _send(self, process, waiting, events) -> bool:
    """Gives a process its next job, if there is one."""
    for number, job in waiting:
      with contextlib.suppress(BrokenPipeError):  # Its end is an event, too.
        pickle.dump(job, process.stdin, pickle.HIGHEST_PROTOCOL)
        process.stdin.flush()
      threading.Thread(target=_listen, args=(process, number, events),
                       daemon=True).start()
      return True
    return False

  def close(self):
    """Ends all processes, whatever they do; that is no harm to whole shards."""
    for process in self._processes:
      process.kill()
    for process in self._processes:
      process.wait()
      for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(BrokenPipeError):
          pipe.close()
    self._processes = []


def _listen(process, number, events):
  """Takes what a process says of a job to the queue."""
  try:
    while True:
      kind, *values = pickle.load(process.stdout)
      events.put((process, kind, *(
          [number, *values] if kind == 'whole' else values)))
      if kind != 'told':
        return
  except (EOFError, OSError, ValueError, pickle.UnpicklingError):
    events.put((process, 'died'))


def _why(code: int) -> str:
  if code == -signal.SIGKILL:
    return 'killed, as where memory is short'
  return f'exit code {code}'
