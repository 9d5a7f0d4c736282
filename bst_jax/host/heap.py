"""Memory of the host that the C library keeps, or gives back, between uses."""
import ctypes
import functools

# Seconds of compiling from which on there is something to give back.
_LEAST = 1.0
_COMPILED = '/jax/core/compile/backend_compile_duration'
# Options of mallopt, by malloc.h of glibc, and what they are set to: no block has
# pages of its own, up to 2 GiB stay at the end of the heap, and all threads have
# one, or each would keep blocks for itself.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_KEPT = {_MMAP_MAX: 0, _TRIM_THRESHOLD: 2 ** 31 - 1, _ARENA_MAX: 1}


@functools.cache
def give_back_after_compiling() -> None:
  """From now on, what compiling has left goes back to the system, each time.

  A compiler frees what it took in small pieces, which glibc keeps for later:
  gigabytes beside a large step, on which the arrays of the step come on top.
  """
  import jax

  jax.monitoring.register_event_duration_secs_listener(_compiled)


def _compiled(event, seconds, **_):
  if event == _COMPILED and seconds > _LEAST:
    give_back()


def keep_large_blocks() -> bool:
  """From now on, large blocks that are freed stay for the next of their size.

  glibc else takes those above 32 MiB from the system each time, page by page, and
  the system fills each page with zeros: on a CPU a program's intermediate arrays
  are such blocks, and a good part of a detector's time went so, see
  docs/results.md. What compiling has left is given back all the same.

  Returns:
    Whether they do; false where the C library is not glibc.
  """
  try:
    option = ctypes.CDLL(None).mallopt
  except (AttributeError, OSError, TypeError):
    return False
  return all([option(name, value) for name, value in _KEPT.items()])


def give_back() -> bool:
  """Returns freed memory to the system; whether there was any to return.

  False, too, where the C library has no way to: it is not glibc.
  """
  try:
    trim = ctypes.CDLL(None).malloc_trim
  except (AttributeError, OSError, TypeError):
    return False
  return bool(trim(0))
