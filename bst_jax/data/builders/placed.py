"""Boxes of annotations on the picture that they are of: shares of its sides."""
from typing import NamedTuple

from bst_jax.data import image, picture_file
from bst_jax.data.builders.annotations import Objects
from bst_jax.data.builders.problems import Unusable
import numpy as np

LEAST = 0.1  # pixels of a side; a box below it shows nothing.
_EXIF, _MARKERS = 0xE1, 0xFF


class Placed(NamedTuple):
  """Objects whose boxes lie on their picture.

  Attributes:
    boxes: float32[N, 4], x1 y1 x2 y2 as shares of the picture.
    area: float64[N], in square pixels: as the file tells it, else of the box.
    kept: int64[N], which objects these are.
    changed: (what was done, id of the annotation) of each box that was cut or
      left out.
  """

  boxes: np.ndarray
  area: np.ndarray
  kept: np.ndarray
  changed: list[tuple[str, int]]


def boxes(objects: Objects, height: int, width: int) -> Placed:
  """Cuts boxes at the edges of a picture; what has no area then is left out.

  Args:
    objects: boxes in pixels, finite.
    height, width: of the picture, in pixels.
  """
  low, sides = objects.boxes[:, :2], objects.boxes[:, 2:]
  most = np.array([width, height], np.float64)
  cut_low, cut_high = low.clip(0, most), (low + sides).clip(0, most)
  kept = (cut_high - cut_low >= LEAST).all(1)
  # Rounding puts edges a hundredth of a pixel beyond; that is no news.
  beyond = np.maximum(-low, low + sides - most).max(1, initial=0) > LEAST
  changed = []
  for i in np.flatnonzero(~kept | beyond):
    if kept[i]:
      what = 'cut at the edge'
    elif (sides[i] < 0).any():
      what = 'left out, a negative side'
    elif (sides[i] < LEAST).any():
      what = f'left out, a side below {LEAST} pixels'
    else:
      what = 'left out, outside of the picture'
    changed.append((what, int(objects.id[i])))
  found = np.concatenate([cut_low, cut_high], 1) / np.tile(most, 2)
  area = np.where(np.isnan(objects.area), (cut_high - cut_low).prod(1),
                  objects.area)
  return Placed(found[kept].astype(np.float32), area[kept],
                np.flatnonzero(kept), changed)


def picture(data: bytes, name: str, height: int, width: int
            ) -> tuple[bytes, tuple[int, int], bool]:
  """A picture's file as its annotations mean it.

  Args:
    data: bytes of the file.
    name: what it is called in errors.
    height, width: as the annotations have them, 0 where they do not tell.

  Returns:
    The file's bytes, its height and width, and whether its EXIF orientation was
    taken out, since the annotations are of the picture as it is stored.

  Raises:
    Unusable: the file is damaged, or of another size.
  """
  own = _size(data, name)
  if own == (height, width) or not (height and width):
    return data, own, False
  stored = data
  if own == (width, height):
    stored = without_orientation(data)
  if stored is not data and _size(stored, name) == (height, width):
    return stored, (height, width), True
  raise Unusable(
      'picture of another size', f'{name} is {own[0]} x {own[1]} pixels, but '
      f'its annotations are of {height} x {width}')


def _size(data, name):
  try:
    return image.decode(data, name=name).shape[:2]
  except ValueError as error:
    raise Unusable('unreadable picture', str(error)) from error


def without_orientation(data: bytes) -> bytes:
  """A JPEG file without its EXIF data; other files as they are.

  A file is a marker of two bytes and then segments: a marker, the length of
  what follows with its own two bytes, and that; pixels begin behind the first
  one that is no header.
  """
  if picture_file.kind(data) != 'JPEG':
    return data
  kept, at = [data[:2]], 2
  while at + 4 <= len(data) and data[at] == _MARKERS and 0xE0 <= data[at + 1]:
    end = at + 2 + int.from_bytes(data[at + 2:at + 4], 'big')
    if data[at + 1] != _EXIF:
      kept.append(data[at:end])
    at = end
  return b''.join([*kept, data[at:]])
