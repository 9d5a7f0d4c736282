"""Files of a user's own that lie in a bucket, fetched once to be made from.

All of them are read at random, so that they are copied to a disk first. A fetch
that was cut off goes on: whole files stay.
"""
from collections.abc import Iterator
import concurrent.futures
import contextlib
import datetime
import hashlib
import os
import pathlib
import shutil
from typing import Any

from absl import logging
from bst_jax.data import buckets
from bst_jax.host import alive

_AT_ONCE = 8  # files
_RESERVE = 1 << 28  # bytes of a disk that are left free


def place(address: str, home: str | os.PathLike) -> pathlib.Path:
  """The folder that the files of an address are fetched to.

  Args:
    address: as gs://mine/photos.
    home: folder of all data sets.
  """
  name = address.rstrip('/').rpartition('/')[2]
  digest = hashlib.sha256(address.rstrip('/').encode()).hexdigest()[:8]
  return pathlib.Path(home, 'fetched', f'{name}_{digest}')


def fetch(address: str, home: str | os.PathLike) -> str:
  """Copies what lies below an address to a disk, but for what is there.

  Files keep the time at which they were written to the bucket.

  Args:
    address: of a folder, as gs://mine/photos.
    home: folder of all data sets.

  Returns:
    The folder that they are in.

  Raises:
    ValueError: the bucket cannot be read, has no such files, or the disk has no
      room for them.
  """
  folder = place(address, home)
  with _named(address):
    import fsspec

    files, path = fsspec.core.url_to_fs(address)
    listed = buckets.in_time(lambda: files.find(path, detail=True))
  if not listed:
    raise ValueError(f'config.data.manual_dir is {address}, but there are no '
                     f'files. See `gcloud storage ls {address}`.')
  wanted = {name: folder / os.path.relpath(name, path)
            for name, about in listed.items()
            if not _is_there(folder / os.path.relpath(name, path), about)}
  _check_room(folder, sum(listed[name]['size'] for name in wanted))
  logging.info('%d of the %d files of %s are fetched to %s; it may be deleted '
               'when the data set is made.', len(wanted), len(listed), address,
               folder)
  with _named(address), concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
    waiting = [pool.submit(_fetch, files, name, target, listed[name])
               for name, target in wanted.items()]
    try:
      with alive.counted(f'fetching {address}', len(waiting), 'files') as count:
        for done in concurrent.futures.as_completed(waiting):
          done.result()
          count(1)
    except BaseException:
      pool.shutdown(wait=False, cancel_futures=True)
      raise
  return os.fspath(folder)


def _fetch(files: Any, name: str, target: pathlib.Path, about: Any) -> None:
  """Copies one file beside its place, then renames it."""
  target.parent.mkdir(parents=True, exist_ok=True)
  part = target.with_name(f'.{target.name}.part')
  files.get_file(name, os.fspath(part))
  os.utime(part, (_time(about),) * 2)
  os.replace(part, target)


def _is_there(target, about):
  try:
    found = target.stat()
  except OSError:
    return False
  return (found.st_size, found.st_mtime) == (about['size'], _time(about))


def _time(about):
  """When a file was written, in whole seconds; 0 where nobody says."""
  for key in ('mtime', 'updated', 'LastModified', 'created'):
    when = about.get(key)
    if isinstance(when, str):
      with contextlib.suppress(ValueError):
        when = datetime.datetime.fromisoformat(when)
    if isinstance(when, datetime.datetime):
      return int(when.timestamp())
    if isinstance(when, (int, float)):
      return int(when)
  return 0


def _check_room(folder, needed):
  folder.mkdir(parents=True, exist_ok=True)
  free = shutil.disk_usage(folder).free
  if needed and needed + _RESERVE > free:
    raise ValueError(
        f'{needed / 1e9:,.1f} GB of files were to be fetched to {folder}, but '
        f'{free / 1e9:,.1f} GB of that disk are free. Make room, or give another '
        'place as config.data.data_dir.')


@contextlib.contextmanager
def _named(address: str) -> Iterator[None]:
  """Says of a bucket what cannot be read there."""
  try:
    yield
  except (ImportError, ValueError) as error:  # As of fsspec.
    raise ValueError(
        f'config.data.manual_dir is {address}, but such addresses are not known '
        f"here ({error}). For gs:// pip install 'bst_jax[gcs]'.") from error
  except (OSError, TimeoutError, RuntimeError) as error:
    raise ValueError(
        f'config.data.manual_dir is {address}, but it cannot be read '
        f'({" ".join(str(error).split()) or type(error).__name__}). '
        f'{buckets.REACH}') from error
