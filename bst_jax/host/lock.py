"""A workdir in use: one run at a time, also over a network file system.

Who works in a workdir leaves the file `in_use.json` there, with its host and
process, and renews the time of that file every few seconds. Locks of the kernel
(flock) do not reach other hosts on every file system; a file does on all.
"""
from collections.abc import Callable, Iterator
import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import socket
import tempfile
import threading
import time
import uuid

from absl import logging
from bst_jax.host import files, processes

FILE = 'in_use.json'
_BEAT = 10.0  # Seconds between two signs of life.
# Seconds without one after which a holder on another host is gone; network file
# systems show changes up to a minute late.
_SILENT = 90.0
_CONFIRM = 15.0  # Seconds that one who seems long silent is watched.
_LOOK = 0.5  # Seconds between two looks at who holds it.
_GRACE = 3.0  # Seconds until a holder that is told to stop says so in its file.
_STOPPING = 600.0  # Seconds that one who is stopping is waited for.

_held = {}  # path of the file -> Lock that this process holds


class LostError(OSError):
  """Another run took the workdir while this one gave no sign of life."""


@dataclasses.dataclass(frozen=True)
class Holder:
  """Who works in a workdir, as its file says.

  Attributes:
    token: of this holding, different each time.
    host: name of the machine.
    machine: boot of the machine and space of its process numbers; processes of
      equal ones can ask for each other. '' where that is not known.
    pid: number of the process.
    started: when that process began, in the machine's own count.
    since: when it took the workdir, for people.
    stopping: whether it was told to stop.
    beat: time of the file: the last sign of life.
  """

  token: str = ''
  host: str = 'a host that is not known'
  machine: str = ''
  pid: int = 0
  started: str = ''
  since: str = 'a moment ago'
  stopping: bool = False
  beat: float = 0.0

  def __str__(self) -> str:
    return f'process {self.pid} on {self.host}, since {self.since}'

  @property
  def is_alive(self) -> bool | None:
    """Whether the process is there; None where that cannot be asked here."""
    if not self.machine or self.machine != _machine():
      return None
    return _started(self.pid) == self.started


class Lock:
  """The holding of one workdir by this process.

  Args:
    workdir: that is held.
    stopping: whether this run was told to stop, which others then wait for.
  """

  def __init__(self, workdir: str | os.PathLike,
               stopping: Callable[[], bool] = lambda: False):
    self._path = pathlib.Path(os.path.abspath(workdir)) / FILE
    self._stopping = stopping
    self._me = Holder(
        uuid.uuid4().hex, socket.gethostname(), _machine(), os.getpid(),
        _started(os.getpid()), time.strftime('%Y-%m-%d %H:%M:%S'))
    self._ended = threading.Event()
    self._watched, self._watched_since = None, 0.0  # A holder elsewhere.
    self._silence = 0.0  # Seconds of it when it was first looked at.
    self._beats = False

  def lives(self, holder: Holder) -> bool:
    """Whether a holder is known to work on: a sign of life was seen."""
    return bool(holder.is_alive) or self._beats

  def take(self) -> Holder | None:
    """Takes the workdir, also from one who is gone; else who holds it."""
    with _alone(self._path.parent):
      holder = _read(self._path)
      if holder is not None:
        if not self.is_gone(holder):
          return holder
        logging.warning('%s was in use by %s, which ended without a word; '
                        'taking over.', self._path.parent, holder)
        self._path.unlink(missing_ok=True)
      if not _create(self._path, self._me):
        return _read(self._path) or Holder()
    _held[self._path] = self
    threading.Thread(target=self._live, daemon=True).start()
    return None

  def is_gone(self, holder: Holder) -> bool:
    """Whether a holder has ended, or gave no sign of life for long."""
    if holder.is_alive is not None:
      return not holder.is_alive
    clock = time.monotonic()
    if self._watched != holder:
      self._beats = bool(self._watched and self._watched.token == holder.token)
      self._watched, self._watched_since = holder, clock
      self._silence = _time_of(self._path.parent) - holder.beat
    watched = clock - self._watched_since
    return watched >= (_CONFIRM if self._silence >= _SILENT else _SILENT)

  def check(self) -> None:
    """Raises LostError where another has taken the workdir."""
    holder = _read(self._path)
    if holder is None:  # Somebody deleted it.
      if _create(self._path, self._me):
        return
      holder = _read(self._path) or Holder()
    if holder.token != self._me.token:
      raise LostError(
          f'{self._path.parent} was taken over by {holder}, as this process '
          f'gave no sign of life for {_SILENT:.0f} s (was it suspended, or the '
          'disk away?). It ends, so that checkpoints stay whole; the other one '
          'goes on from the last one.')

  def release(self) -> None:
    """Gives the workdir back."""
    self._ended.set()
    _held.pop(self._path, None)
    with _alone(self._path.parent), contextlib.suppress(OSError):
      holder = _read(self._path)
      if holder is not None and holder.token == self._me.token:
        self._path.unlink()

  def _live(self) -> None:
    """Renews the file until the end."""
    said, last = False, time.monotonic()
    while not self._ended.wait(1.0):
      says = self._stopping() and not said
      if not says and time.monotonic() - last < _BEAT:
        continue
      with contextlib.suppress(OSError), _alone(self._path.parent):
        holder = _read(self._path)
        if holder is None or holder.token != self._me.token:
          continue  # `check` says so.
        if says and not self._ended.is_set():
          with files.beside(self._path) as place:
            place.write_text(_text(dataclasses.replace(
                self._me, stopping=True)), 'utf-8')
          said = True
        os.utime(self._path)
        last = time.monotonic()


@contextlib.contextmanager
def held(workdir: str | os.PathLike, wait: float | None = None,
         stopping: Callable[[], bool] = lambda: False) -> Iterator[None]:
  """Holds a workdir for this run; of several processes the first one does.

  Who ended without giving it back is told from who works on: on this host by
  its process, on another by its signs of life.

  Args:
    workdir: is made if it is missing.
    wait: seconds to wait for another run to end; None for as long as it takes
      to know that it lives, and longer for one that was told to stop.
    stopping: whether this run was told to stop.

  Raises:
    ValueError: another run works there.
  """
  mine, began, told = Lock(workdir, stopping), time.monotonic(), False
  try:
    while True:
      with processes.together():
        decided = _decide(mine, workdir, wait, time.monotonic() - began)
      # That of the first process holds for all.
      said = processes.gather({'waits': decided})[0]['waits']
      if said is None:
        break
      if not told:
        logging.info('Waiting for %s.', said)
        told = True
      time.sleep(_LOOK)
    yield
  finally:
    mine.release()


def _decide(mine: Lock, workdir: str | os.PathLike, wait: float | None,
            waited: float) -> str | None:
  """None once taken, else who is waited for; raises where it is too long."""
  import jax

  if jax.process_index():
    return None
  pathlib.Path(workdir).mkdir(parents=True, exist_ok=True)
  holder = mine.take()
  if holder is None:
    return None
  if wait is not None:
    limit = wait
  elif holder.stopping:
    limit = _STOPPING
  else:
    limit = _GRACE if mine.lives(holder) else _SILENT + 60
  if waited >= limit:
    raise ValueError(_refusal(workdir, holder))
  what = 'which is stopping' if holder.stopping else 'to see whether it ends'
  return f'{holder}, in {workdir}, {what}'


def _refusal(workdir: str | os.PathLike, holder: Holder) -> str:
  gone = '' if holder.is_alive else (
      f' If that process is gone, delete {pathlib.Path(workdir) / FILE}.')
  return (
      f'{workdir} is in use: {holder}, works there, and two in one workdir '
      'would destroy each other\'s checkpoints. Give another --workdir, stop '
      'the other one (SIGTERM: it saves, and the same command goes on), or wait '
      f'for its end with --wait_for_workdir=SECONDS.{gone}')


def check(workdir: str | os.PathLike) -> None:
  """Raises LostError where this process held a workdir and lost it."""
  mine = _held.get(pathlib.Path(os.path.abspath(workdir)) / FILE)
  if mine is not None:
    mine.check()


def release_all() -> None:
  """Gives back all that this process holds, before it ends at once."""
  for mine in list(_held.values()):
    mine.release()


@contextlib.contextmanager
def _alone(folder: pathlib.Path) -> Iterator[None]:
  """Keeps other processes out of such a block, where the disk can do that.

  It closes the gap between reading the file and replacing it. Where there are
  no locks, `Lock.check` finds who fell into it.
  """
  try:
    import fcntl  # Not on every system.

    descriptor = os.open(folder, os.O_RDONLY)
  except (ImportError, OSError):
    yield
    return
  try:
    for _ in range(50):
      try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        break
      except BlockingIOError:
        time.sleep(0.1)
      except OSError:
        break
    yield
  finally:
    os.close(descriptor)


def _create(path: pathlib.Path, holder: Holder) -> bool:
  """Makes the file, whole, unless there is one."""
  place = path.with_name(f'.{FILE}.{holder.token}')
  try:
    with open(place, 'w', encoding='utf-8') as file:
      file.write(_text(holder))
      file.flush()
      os.fsync(file.fileno())
    try:
      os.link(place, path)
    except FileExistsError:
      # Network file systems ask twice, and then find what they made.
      return place.stat().st_nlink == 2
    except OSError:  # Buckets have no links.
      try:
        with open(path, 'x', encoding='utf-8') as file:
          file.write(_text(holder))
      except FileExistsError:
        return False
    made = _read(path)
    return made is not None and made.token == holder.token
  finally:
    place.unlink(missing_ok=True)


def _text(holder: Holder) -> str:
  return json.dumps(dataclasses.asdict(holder), indent=2) + '\n'


def _read(path: pathlib.Path) -> Holder | None:
  """Who the file names, or None where there is none.

  It is opened anew each time: that is when network file systems ask the server.
  """
  try:
    with open(path, encoding='utf-8') as file:
      beat = os.fstat(file.fileno()).st_mtime
      text = file.read()
  except FileNotFoundError:
    return None
  try:
    return Holder(**json.loads(text) | {'beat': beat})
  except (ValueError, TypeError):  # Half written, or no such file.
    return Holder(beat=beat)


def _time_of(folder: pathlib.Path) -> float:
  """The time by the clock of the disk, which need not be this host's."""
  with tempfile.TemporaryFile(dir=folder) as file:
    return os.fstat(file.fileno()).st_mtime


@functools.cache
def _machine() -> str:
  try:
    boot = pathlib.Path('/proc/sys/kernel/random/boot_id').read_text().strip()
    return f'{socket.gethostname()} {boot} {os.readlink("/proc/self/ns/pid")}'
  except OSError:
    return ''


def _started(pid: int) -> str:
  """When a process began, by the count of the kernel; '' for none."""
  try:
    text = pathlib.Path(f'/proc/{pid}/stat').read_text()
  except OSError:
    return ''
  # The name, in parentheses, may hold anything.
  fields = text.rpartition(')')[2].split()
  return '' if fields[0] in 'ZX' else fields[19]
