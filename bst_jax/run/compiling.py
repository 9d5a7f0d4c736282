"""Compiling in threads of its own, beside other work."""
from collections.abc import Callable, Iterator
from concurrent import futures
import contextlib
import os

# Programs that are compiled at a time: each takes memory, too.
_MOST = 4


@contextlib.contextmanager
def threads(count: int) -> Iterator[Callable[..., futures.Future]]:
  """Hands out a function that runs others in threads, for programs to come.

  XLA compiles without Python's lock, on a core and a third. Whoever leaves,
  also by Ctrl-C, waits for none: what is not begun never is.

  Args:
    count: of programs.
  """
  pool = futures.ThreadPoolExecutor(
      max(1, min(count, _MOST, os.cpu_count() or 1)), 'compile')
  try:
    yield pool.submit
  finally:
    pool.shutdown(wait=False, cancel_futures=True)
