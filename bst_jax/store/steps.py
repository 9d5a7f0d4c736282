"""The checkpoints that a workdir holds, and the newest that can be read."""
from collections.abc import Callable, Iterable, Iterator
import contextlib
import logging as python_logging
import os
import sys
from typing import Any

from absl import logging
from bst_jax.host import processes
from etils import epath

_FOLDER = 'checkpoints'


class UnusableError(Exception):
  """A checkpoint is damaged, as opposed to another model's."""


@contextlib.contextmanager
def reading() -> Iterator[None]:
  """Turns whatever is raised on damaged files into UnusableError.

  It is then said once: what orbax, its tasks and the threads of TensorStore
  tell of each file and tensor is dropped. What is logged of files that can be
  read after all is said behind that.
  """
  with _quiet() as dropped:
    try:
      yield
    except MemoryError:  # No damage, and the next would not fit either.
      raise
    except Exception as error:
      if 'RESOURCE_EXHAUSTED' in str(error):
        raise
      dropped.damaged = True
      first = error  # Orbax wraps what it does not know into its own.
      while first.__cause__ is not None:
        first = first.__cause__
      reason = ' '.join(str(first).split())[:200]
      raise UnusableError(f'{type(first).__name__}: {reason}') from error


class _Dropped:
  """What libraries tell while a checkpoint is read.

  Attributes:
    records: that orbax logged.
    damaged: whether all that is told is of files that could not be read.
  """

  def __init__(self):
    self.records, self.damaged = [], False

  def keeps(self, record: python_logging.LogRecord) -> bool:
    """Whether a record is to be logged now."""
    if f'{os.sep}orbax{os.sep}' not in record.pathname:
      return True
    self.records.append(record)
    return False


@contextlib.contextmanager
def _quiet() -> Iterator[_Dropped]:
  """Keeps back what is told in the block, and for good where it is of damage.

  Where one tensor is damaged, orbax leaves the others unread: their tasks, and
  threads that hand over to a loop that is closed, tell so much later.
  """
  dropped = _Dropped()
  absl, tasks = (python_logging.getLogger(name) for name in (
      'absl', 'asyncio'))
  absl.addFilter(dropped.keeps)
  is_first = _is_news not in tasks.filters
  if is_first:
    tasks.addFilter(_is_news)
    before, sys.unraisablehook = sys.unraisablehook, _told_unless(
        sys.unraisablehook)
  try:
    yield dropped
  finally:
    absl.removeFilter(dropped.keeps)
    if not dropped.damaged:
      if is_first:
        tasks.removeFilter(_is_news)
        sys.unraisablehook = before
      for record in dropped.records:
        absl.handle(record)


def _is_news(record: python_logging.LogRecord) -> bool:
  """Whether asyncio says more than that one more tensor was not read."""
  return 'exception was never retrieved' not in record.getMessage()


def _told_unless(before: Callable[[Any], None]) -> Callable[[Any], None]:
  """A hook that passes on all but what TensorStore's threads run into."""
  def hook(raised):
    # Other errors of this kind have an object that they were raised in.
    if raised.object is not None or (
        'Event loop is closed' not in str(raised.exc_value)):
      before(raised)
  return hook


@contextlib.contextmanager
def writing(place: epath.Path) -> Iterator[None]:
  """Turns what is raised while a checkpoint is written into OSError, with what
  is left in the folder.
  """
  try:
    yield
  except Exception as error:
    if processes.is_lost(error):
      raise
    reason = ' '.join(str(error).split())[:300]
    found = steps(place)
    rest = (f'The newest complete one is that of step {found[-1]}: make room, '
            'and the same command goes on from there.' if found else
            'There is no complete one yet: make room, and start again.')
    raise OSError(f'A checkpoint could not be written to {place} '
                  f'({reason}). {rest}') from error


def folder(workdir: str | os.PathLike) -> epath.Path:
  """Where a workdir has its checkpoints."""
  workdir = os.fspath(workdir)
  if '://' not in workdir:
    workdir = os.path.abspath(workdir)  # Orbax rejects relative paths.
  return epath.Path(workdir) / _FOLDER


def steps(place: epath.Path) -> list[int]:
  """Steps of the folder's finished checkpoints, ascending."""
  if not place.exists():
    return []
  return sorted(int(path.name) for path in place.iterdir()
                if path.name.isdecimal())


def check_any(workdir: str | os.PathLike) -> None:
  """Raises a ValueError where a workdir has no checkpoint; asks no process."""
  if not steps(folder(workdir)):
    raise ValueError(_nothing_there(folder(workdir)))


def newest_readable(workdir: str | os.PathLike, step: int | None,
                    read: Callable[[epath.Path], Any],
                    ) -> tuple[Any, list[epath.Path]]:
  """Result of `read` on the newest checkpoint on which it does not fail.

  Args:
    workdir: folder that holds `checkpoints`.
    step: the only one to try, or None for all, newest first.
    read: function of a checkpoint's path; raises UnusableError on damage.

  Returns:
    What `read` returned, and the paths of the newer ones that it failed on.
  """
  place = folder(workdir)
  # A shared disk may show them to some processes before others.
  found = processes.gather({'steps': steps(place)})[0]['steps']
  if not found:
    raise ValueError(_nothing_there(place))
  if step is not None and step not in found:
    raise ValueError(
        f'Checkpoint {step} was asked for, but {place} has only the steps '
        f'{listed(found)}; give one of them, or none for the newest.')

  failures = {}  # path -> reason
  for candidate in reversed(found) if step is None else [step]:
    path = place / str(candidate)
    result, reason = None, ''
    try:
      result = read(path)
    except UnusableError as error:
      reason = str(error)
    if processes.all_agree(not reason):
      if failures:
        logging.warning(
            'Using checkpoint %s, as the newer %s cannot be read (%s).', path,
            listed(failures), next(iter(failures.values())))
      return result, list(failures)
    failures[path] = reason or 'another process could not read it'

  tried = '; '.join(f'{path.name} ({why})' for path, why in failures.items())
  others = [known for known in found if known != step]
  if step is not None and others:
    remedy = f'Other steps there: {listed(others)}.'
  else:
    remedy = ('Restore the folder from a copy, or start again in a new '
              'workdir.')
  raise ValueError(
      f'A readable checkpoint was looked for in {place}, but every one tried '
      f'is damaged or unfinished: {tried}. {remedy}')


def clean(place: epath.Path) -> None:
  """Removes what a killed process had not finished writing."""
  if not place.exists():
    return
  for path in place.iterdir():
    if '.orbax-checkpoint-tmp' in path.name:
      logging.info('Removing the unfinished checkpoint %s.', path)
      path.rmtree()


def move_aside(path: epath.Path) -> None:
  """Renames a checkpoint that cannot be read, so that none takes it again."""
  target, n = path.parent / f'{path.name}.unusable', 1
  while target.exists():
    n += 1
    target = path.parent / f'{path.name}.unusable{n}'
  logging.warning('Moved the checkpoint that cannot be read to %s.', target)
  path.rename(target)


def listed(items: Iterable[Any], most: int = 8) -> str:
  """The first of some names, and how many more there are."""
  items = [getattr(item, 'name', str(item)) for item in items]
  more = f' and {len(items) - most} more' if len(items) > most else ''
  return ', '.join(items[:most]) + more


def _nothing_there(place: epath.Path) -> str:
  workdir = place.parent
  if not workdir.exists():
    why = f'{workdir} does not exist'
  elif not place.exists():
    names = sorted(path.name for path in workdir.iterdir())
    why = (f"it has no folder '{_FOLDER}', only {listed(names)}" if names
           else 'it is empty')
  else:
    names = sorted(path.name for path in place.iterdir())
    why = (f"its '{_FOLDER}' has no finished one, only {listed(names)}"
           if names else f"its '{_FOLDER}' is empty")
  return (f'A checkpoint was looked for in workdir {workdir}, but {why}. Give '
          'a workdir that bst_jax.train, extract or convert has written.')
