"""Files that are whole or not there at all."""
from collections.abc import Iterator
import contextlib
import os
import pathlib


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
