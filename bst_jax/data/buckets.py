"""Data sets in buckets, as gs://mine/datasets, which several machines share.

They are read where they lie: what is said of them and what lies beside the
records by etils' epath and fsspec, records by array_record itself.
"""
from collections.abc import Callable
import functools
import os
import threading
from typing import Any

_PATIENCE = 15.0  # seconds; the libraries themselves try for minutes
_READS = ('gs',)  # schemes that array_record can read
_LOG_IN = ('log in as one who may read it, by `gcloud auth '
           'application-default login`, or give the machine a service account '
           'with the role Storage Object Viewer')
REACH = ('See that this machine reaches storage.googleapis.com, and '
         f'{_LOG_IN}.')


def is_remote(path: str | os.PathLike) -> bool:
  """Whether a path is the address of a bucket, as gs://mine/data."""
  return '://' in os.fspath(path)


@functools.cache  # What can be read is asked for once.
def check(home: str) -> None:
  """Asks whether what lies at an address can be read.

  Args:
    home: address of a folder, which need not be there.

  Raises:
    ValueError: the kind of address is not read, the package for it is not
      there, or the bucket cannot be reached, does not exist or may not be read.
  """
  scheme, _, path = home.partition('://')
  asked = f'Data sets were to be read from {home}, but'
  if scheme not in _READS:
    raise ValueError(
        f'{asked} records are read from addresses as gs://BUCKET/FOLDER and '
        f'from folders alone. Copy the data sets to a disk, or mount the bucket '
        f'as a folder, as by `mount-s3 BUCKET FOLDER`.')
  try:
    import fsspec

    kind = fsspec.get_filesystem_class(scheme)
  except ImportError as error:
    raise ValueError(f"{asked} the package gcsfs is not installed: "
                     "pip install 'bst_jax[gcs]'") from error
  try:
    in_time(lambda: _listed(kind(), path))
  except TimeoutError as error:
    raise ValueError(
        f'{asked} it did not answer within {_PATIENCE:.0f} seconds. {REACH}'
    ) from error
  except FileNotFoundError as error:
    raise ValueError(
        f'{asked} there is no bucket {path.partition("/")[0]}, or it is empty. '
        'See its name in `gcloud storage ls`.') from error
  except Exception as error:
    if not _is_refusal(error):
      raise ValueError(f'{asked} that fails ({_line(error)}). See that '
                       f'`gcloud storage ls {home}` works, and {_LOG_IN}.'
                       ) from error
    raise ValueError(f'{asked} permission is denied ({_line(error)}). Please '
                     f'{_LOG_IN}.') from error


def in_time(function: Callable[[], Any]) -> Any:
  """What a function returns or raises.

  Raises:
    TimeoutError: it takes longer than 15 seconds; it is left alone then.
  """
  ended = {}

  def run():
    try:
      ended['value'] = function()
    except BaseException as error:
      ended['error'] = error

  # Not of an executor: Python would wait for it before it exits.
  thread = threading.Thread(target=run, daemon=True)
  thread.start()
  thread.join(_PATIENCE)
  if 'error' in ended:
    raise ended['error']
  if 'value' not in ended:
    raise TimeoutError(f'no answer within {_PATIENCE:.0f} seconds')
  return ended['value']


def refusal_to_make(name: str, home: str, by_folder: bool = False) -> str:
  """Why a data set is not made in a bucket, and what would work.

  Args:
    name: of the data set.
    home: address of all data sets.
    by_folder: whether its name tells of which folder it is made.
  """
  base = name.partition('/')[0]
  path = (' If it was made and copied, give the config.data.manual_dir that it '
          'was made with, which its name tells of; nothing need be there.'
          if by_folder else '')
  return (f'{name} was to be opened in {home}, but it is not there, and data '
          f'sets are made on disks only.{path} Make it once with '
          'config.data.data_dir=DIR, then copy it: '
          f'gcloud storage cp -r DIR/{base} {home}/')


def again(folder: str | os.PathLike) -> str:
  """How a folder of a data set that is damaged is made again, as a sentence."""
  if is_remote(folder):
    return f'Delete {folder}, and copy it there again from where it was made.'
  return f'Delete the folder {folder}; the data set is then made anew.'


def remedy(folder: str, file: str) -> str:
  """What to do about a file of records that cannot be read, as a sentence."""
  place = f'{folder.rstrip("/")}/{file}'
  return (f'See that `gcloud storage ls -l {place}` finds it, and copy it there '
          f'again from where the data set was made: gcloud storage cp {file} '
          f'{folder.rstrip("/")}/')


def _listed(files, path):
  """Lists a folder; raises what the bucket answers."""
  try:
    return files.ls(path)
  except FileNotFoundError:
    if not files.exists(path.partition('/')[0]):
      raise
    return []  # Nothing is there yet.


def _is_refusal(error):
  """Whether the server answered that one may not."""
  return (isinstance(error, PermissionError)
          or str(getattr(error, 'code', '')) in ('401', '403')
          or 'forbidden' in str(error).lower())


def _line(error):
  """An error in one line."""
  return ' '.join(str(error).split()) or type(error).__name__
