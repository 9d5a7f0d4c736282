"""What fits into the memory of this machine; told before anything is made."""
import os
import pathlib

# Where a container is told how much of the machine's memory it may use.
_LIMITS = ('/sys/fs/cgroup/memory.max',
           '/sys/fs/cgroup/memory/memory.limit_in_bytes')


def of_machine() -> int | None:
  """Bytes that this machine, or this container, has; None where not known."""
  found = []
  try:
    found.append(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES'))
  except (AttributeError, OSError, ValueError):  # Not every system tells.
    pass
  for path in _LIMITS:
    try:
      found.append(int(pathlib.Path(path).read_text()))
    except (OSError, ValueError):  # No such file, or no limit.
      pass
  return min((size for size in found if size > 0), default=None)


def check(needed: int, there: int | None, what: str, remedy: str) -> None:
  """Raises where something cannot fit, whatever else has to.

  Args:
    needed: bytes, no more than will be taken.
    there: bytes that there are; None where not known.
    what: takes them, as the first words of the error.
    remedy: what would do, a sentence.

  Raises:
    ValueError: it needs more than there is.
  """
  if there is not None and needed > there:
    raise ValueError(f'{what} take {needed / 1e9:,.1f} GB, and there are '
                     f'{there / 1e9:,.1f} GB of memory. {remedy}')
