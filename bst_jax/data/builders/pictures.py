"""Raw pictures of a folder as bytes that are known to decode."""
from collections.abc import Iterable, Iterator
import os
import pathlib

from bst_jax.data import image, picture_file
from bst_jax.data.builders.found import Found
from bst_jax.data.builders.problems import Problems, Unusable

SUFFIXES = picture_file.SUFFIXES


def places(files: Found, wanted: Iterable[str],
           problems: Problems) -> list[tuple[str, str]]:
  """(picture, path) of the wanted pictures that have a file."""
  there = []
  for picture in wanted:
    try:
      path = files(picture)
    except Unusable as error:
      problems.add(error.kind, str(error))
      continue
    if path is None or not os.path.isfile(path):
      problems.add('missing picture', f'picture {picture}' + (
          f': {path} is a link that leads nowhere' if path else ''))
    else:
      there.append((picture, path))
  return there


def load(path: str | os.PathLike) -> bytes:
  """The bytes of a picture file that is `checked`.

  Raises:
    Unusable: it is no such file.
  """
  try:
    return checked(pathlib.Path(path).read_bytes(), os.fspath(path))
  except (OSError, ValueError) as error:
    raise Unusable('unreadable picture', str(error)) from error


def read(files: Found, wanted: Iterable[str],
         problems: Problems) -> Iterator[tuple[str, dict]]:
  """Yields (picture, {'image': bytes of its file}) of usable ones."""
  for picture, path in places(files, wanted, problems):
    try:
      yield picture, {'image': load(path)}
    except Unusable as error:
      problems.add(error.kind, str(error))


def checked(data: bytes, name: str) -> bytes:
  """The bytes of a picture file, if all of it decodes as one picture."""
  image.decode(data, name=name)
  return data
