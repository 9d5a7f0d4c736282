"""The record files of a split, opened when they are read, few at a time."""
import bisect
import collections
from collections.abc import Iterator, Sequence
import contextlib
import errno
import functools
import itertools
import os
import threading
from typing import Any

from array_record.python import array_record_module
from bst_jax.data import buckets
from etils import epath

try:
  import resource
except ImportError:  # Not a POSIX system: its limit is not known.
  resource = None

MOST_OPEN = 192  # Record files; with all else a process has 256 open at most.
_LEAST_OPEN = 2
_OPTIONS = 'readahead_buffer_size:0,max_parallelism:0'  # For random access.
_MANY, _MOST_BYTES = 64, 1 << 24  # records read at once, in order
_BUFFER = 1 << 15  # bytes of a reader; larger ones read more than is asked for


class _Entry:
  """A file that is open, or is being opened; `users` are reading it."""

  def __init__(self):
    self.reader, self.users, self.lock = None, 0, threading.Lock()


class Pool:
  """Readers of record files, of which the least recently used are closed.

  Threads may read at once, also the same file.
  """

  def __init__(self, most: int = MOST_OPEN):
    """Opens `most` files at a time, or fewer where the system allows fewer."""
    self._most = most
    self._entries: collections.OrderedDict[tuple, _Entry] = (
        collections.OrderedDict())
    self._changed = threading.Condition()

  def __len__(self) -> int:
    return len(self._entries)

  @contextlib.contextmanager
  def reader(self, path: str, version: Any = None) -> Iterator[Any]:
    """A reader of the file, which stays open while it is in use here.

    Args:
      path: of the file.
      version: what tells it from one that was there before it.

    Raises:
      OSError: it cannot be opened, also for too many open files.
      RuntimeError: it is damaged.
    """
    key = path, version
    entry = self._taken(key)
    try:
      with entry.lock:
        if entry.reader is None:
          entry.reader = self._opened(path)
      yield entry.reader
    finally:
      with self._changed:
        entry.users -= 1
        if entry.reader is None and not entry.users:
          self._entries.pop(key, None)
        self._changed.notify_all()

  def close(self) -> None:
    """Closes what nobody reads."""
    with self._changed:
      while self._close_one():
        pass

  def _taken(self, key):
    with self._changed:
      while key not in self._entries and (
          len(self._entries) >= min(self._most, allowed())):
        if not self._close_one():
          self._changed.wait()
      entry = self._entries.setdefault(key, _Entry())
      self._entries.move_to_end(key)
      entry.users += 1
      return entry

  def _close_one(self):
    """Whether a file could be closed: the one that was not used longest."""
    for key, entry in self._entries.items():
      if not entry.users:
        del self._entries[key]
        if entry.reader is not None:
          entry.reader.close()
        return True
    return False

  def _opened(self, path):
    """A new reader; others are closed for it where the system has no more."""
    while True:
      try:
        return _reader(path)
      except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
          raise
        with self._changed:
          self._most = max(_LEAST_OPEN, len(self._entries) - 1)
          if not self._close_one():
            raise


def allowed() -> int:
  """How many record files may be open: half of what the system allows."""
  if resource is None:
    return MOST_OPEN
  limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
  if limit == resource.RLIM_INFINITY:
    return MOST_OPEN
  return max(_LEAST_OPEN, limit // 2)


def _reader(path):
  """A reader that is known to work: a failure to open shows only later."""
  opening = functools.partial(
      array_record_module.ArrayRecordReader, path, options=_OPTIONS,
      file_reader_buffer_size=_BUFFER)
  try:
    # Without a network the library tries for minutes.
    reader = buckets.in_time(opening) if buckets.is_remote(path) else opening()
    if reader.ok() and reader.num_records():
      return reader
    if not reader.ok():
      reader.read([0])  # Raises what is wrong.
    reader.close()
  except RuntimeError:
    _probe(path)
    raise
  _probe(path)
  raise RuntimeError('it has no records')


def _probe(path):
  """Raises the system's own error where a file cannot be opened or read."""
  with epath.Path(path).open('rb') as file:
    file.read(1)


def _version(path):
  """Changes with a file; None where it is not there, or in a bucket."""
  try:
    about = os.stat(path)
  except OSError:
    return None
  return about.st_ino, about.st_size, about.st_mtime_ns


POOL = Pool()


class Shards(Sequence):
  """The records of a split as bytes.

  Attributes:
    paths: its files.
  """

  def __init__(self, paths: Sequence[str], lengths: Sequence[int],
               pool: Pool = POOL):
    """Takes the files and how many records each has."""
    self.paths, self._pool = list(paths), pool
    self._versions = [_version(path) for path in self.paths]
    self._lengths, self._ends = list(lengths), list(
        itertools.accumulate(lengths))

  def __len__(self) -> int:
    return self._ends[-1] if self._ends else 0

  def __getitem__(self, i: int) -> bytes:
    which, place = self._place(i)
    with self._reader(which) as reader:
      return reader.read([place])[0]

  def __iter__(self) -> Iterator[bytes]:
    """All records in order, read by many at a time, which is far quicker."""
    for which, length in enumerate(self._lengths):
      at, many = 0, 1
      while at < length:
        with self._reader(which) as reader:
          records = reader.read(at, min(at + many, length))
        if not records:
          raise RuntimeError(f'it has {at} records, not {length}')
        yield from records
        at += len(records)
        largest = max(map(len, records), default=0)
        many = max(1, min(_MANY, 2 * many, _MOST_BYTES // max(largest, 1)))

  def path(self, i: int) -> str:
    """The file of a record."""
    return self.paths[self._place(i)[0]]

  def check(self) -> Iterator[tuple[str, Exception]]:
    """Files that are missing, cut short or of other records, and why.

    In a bucket, where each takes its time, of the first one only.
    """
    for which, (path, length) in enumerate(zip(self.paths, self._lengths)):
      if which and buckets.is_remote(path):
        return
      try:
        with self._reader(which) as reader:
          if reader.num_records() != length:
            yield path, RuntimeError(
                f'it has {reader.num_records()} records, not {length}')
      except (OSError, RuntimeError) as error:
        yield path, error

  def _reader(self, which):
    return self._pool.reader(self.paths[which], self._versions[which])

  def _place(self, i):
    """The shard of a record, and its place there."""
    which = bisect.bisect_right(self._ends, i)
    return which, i - (self._ends[which - 1] if which else 0)


def advice(error: BaseException) -> str:
  """What helps against too many open files; '' where that is not what failed.
  """
  seen, found = set(), error
  while found is not None and id(found) not in seen:
    seen.add(id(found))
    if getattr(found, 'errno', None) in (errno.EMFILE, errno.ENFILE) or (
        os.strerror(errno.EMFILE) in str(found)):
      return ('too many files are open in this process: nothing is wrong with '
              'the data. Allow more, as by `ulimit -n 1024`, or close what '
              'else holds files open.')
    found = found.__cause__ or found.__context__
  return ''
