"""Files, and folders of them, that are whole or not there at all."""
from collections.abc import Collection, Iterator
import contextlib
import os
import pathlib
import shutil


@contextlib.contextmanager
def beside(path: str | os.PathLike) -> Iterator[pathlib.Path]:
  """A place beside `path` to write to; leaving the block renames it there.

    with files.beside('runs/a/config.json') as place:
      place.write_text(text)

  What was at `path` stays until the new file is whole and on disk, also where
  the block fails or the process is killed. Folders are made.
  """
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  # The suffix stays: matplotlib and others choose the format by it.
  place = path.with_name(f'{path.stem}.{os.getpid()}.tmp{path.suffix}')
  try:
    yield place
    with open(place, 'rb') as f:
      os.fsync(f.fileno())
    os.replace(place, path)
  finally:
    place.unlink(missing_ok=True)


def check_new(output: str | os.PathLike, leave: Collection[str] = ()) -> None:
  """Raises where a folder that a command is to write holds something.

  Args:
    output: may be there, or not.
    leave: names of files that do no harm.
  """
  output = pathlib.Path(output)
  if output.exists() and any(
      path.name not in leave for path in output.iterdir()):
    raise ValueError(f'{output} is not empty, and nothing is overwritten; '
                     'choose another --output.')


@contextlib.contextmanager
def folder_beside(path: str | os.PathLike) -> Iterator[pathlib.Path]:
  """A new folder beside `path`; leaving the block renames it there.

  What is at `path` is an empty folder or nothing. Where the block fails nothing
  is left behind.
  """
  path = pathlib.Path(path).resolve()
  path.parent.mkdir(parents=True, exist_ok=True)
  place = path.with_name(f'{path.name}.{os.getpid()}.tmp')
  place.mkdir()
  try:
    yield place
    for written in place.rglob('*'):
      if written.is_file():
        with open(written, 'rb') as f:
          os.fsync(f.fileno())
    if path.is_dir():
      path.rmdir()
    place.rename(path)
  finally:
    shutil.rmtree(place, ignore_errors=True)
