"""Memory of the host that the C library keeps though nobody uses it."""
import ctypes
import functools

# Seconds of compiling from which on there is something to give back.
_LEAST = 1.0
_COMPILED = '/jax/core/compile/backend_compile_duration'


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


def give_back() -> bool:
  """Returns freed memory to the system; whether there was any to return.

  False, too, where the C library has no way to: it is not glibc.
  """
  try:
    trim = ctypes.CDLL(None).malloc_trim
  except (AttributeError, OSError, TypeError):
    return False
  return bool(trim(0))
