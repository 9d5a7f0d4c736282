"""Raw pictures of a folder as bytes that are known to decode."""
from collections.abc import Iterable, Iterator
import io
import os
import pathlib

from bst_jax.data import image
from bst_jax.data.builders.found import Found
from bst_jax.data.builders.problems import Problems, Unusable
from PIL import Image

SUFFIXES = ('.jpg', '.jpeg', '.png')


def places(files: Found, wanted: Iterable[str],
           problems: Problems) -> list[tuple[str, str]]:
  """(picture, path) of the wanted pictures that have a file."""
  there = []
  for picture in wanted:
    path = files(picture)
    if path is None:
      problems.add('missing picture', f'picture {picture}')
    else:
      there.append((picture, path))
  return there


def load(path: str | os.PathLike) -> bytes:
  """The bytes of a PNG or JPEG file that is `checked`.

  Raises:
    Unusable: it is no such file.
  """
  try:
    return checked(pathlib.Path(path).read_bytes(), os.fspath(path))
  except (OSError, ValueError) as error:
    raise Unusable('unreadable picture', str(error)) from error


def read(files: Found, wanted: Iterable[str],
         problems: Problems) -> Iterator[tuple[str, dict]]:
  """Yields (picture, {'image': bytes of a PNG or JPEG file}) of usable ones."""
  for picture, path in places(files, wanted, problems):
    try:
      yield picture, {'image': load(path)}
    except Unusable as error:
      problems.add(error.kind, str(error))


def checked(data: bytes, name: str) -> bytes:
  """The bytes of a picture file, if all of it decodes as one RGB picture.

  Palette, grey, CMYK and transparent pictures pass: reading makes them RGB.
  """
  image.decode(data, name=name)
  opened = Image.open(io.BytesIO(data), formats=('PNG', 'JPEG'))
  # A JPEG of a phone may carry a preview behind the picture: no animation.
  if opened.format == 'PNG' and getattr(opened, 'n_frames', 1) > 1:
    raise ValueError(f'{name} was to be read as one picture, but it is '
                     'animated. Save the frame that is meant.')
  return data
