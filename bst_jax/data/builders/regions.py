"""Region features of pictures, checked and in the form of all data sets."""
from collections.abc import Collection, Iterator, Sequence
import dataclasses
import os
from typing import Any
import zipfile

from bst_jax.data.builders import region_files
from bst_jax.data.builders.problems import Problems, Unusable
from bst_jax.data.builders.region_files import Place
import numpy as np

DTYPES = 'float16', 'float32'  # that features are stored as
_SLACK = 1.5  # pixels that a box may reach beyond its picture
_TRIED = 100  # pictures of a folder of which too much is missing
_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


def checked(features: np.ndarray, boxes: np.ndarray, width: float,
            height: float, size: int = 0) -> dict[str, np.ndarray]:
  """Features and boxes of a picture as all data sets have them.

  Args:
    features: float[n, F], or float[F, n] as VQA archives have it.
    boxes: float[n, 4], x1 y1 x2 y2 in pixels.
    width: of the picture, in the pixels of the boxes; 1 for shares.
    height: likewise.
    size: the F that is wanted; 0 for any.

  Returns:
    {'regions': float32[n, F], 'boxes': float32[n, 4]}, boxes as shares.

  Raises:
    ValueError: the shapes do not fit, or something is not finite or no box.
  """
  features = np.asarray(features, np.float32)
  boxes = np.asarray(boxes, np.float32)
  count = len(boxes)
  if boxes.ndim != 2 or boxes.shape[1] != 4 or not count:
    raise ValueError(f'boxes have the shape {boxes.shape}, not (n, 4)')
  if features.ndim == 2 and count not in features.shape[:1] and (
      features.shape[1] == count):
    features = features.T
  if features.ndim != 2 or len(features) != count:
    raise ValueError(f'features have the shape {features.shape}, which does '
                     f'not fit {count} boxes')
  if size and features.shape[1] != size:
    raise ValueError(f'regions have {features.shape[1]} features, not {size}')
  if not (width > 0 and height > 0):
    raise ValueError(f'the picture is {width} x {height}')
  if not (np.isfinite(features).all() and np.isfinite(boxes).all()):
    raise ValueError('some numbers are not finite')
  slack = _SLACK if max(width, height) > 2 else 1e-3
  if boxes.min() < -slack or (
      boxes > np.array([width, height] * 2) + slack).any():
    raise ValueError(f'boxes reach from {boxes.min():g} to {boxes.max():g} in '
                     f'a picture of {width:g} x {height:g}')
  shares = boxes / np.array([width, height] * 2, np.float32)
  return {'regions': np.ascontiguousarray(features),
          'boxes': shares.clip(0, 1)}


def stored(arrays: dict[str, np.ndarray], dtype: str) -> dict[str, np.ndarray]:
  """Checked arrays as a record has them: regions as `dtype`, boxes float32.

  Raises:
    ValueError: a number is too great for it.
  """
  regions = arrays['regions']
  if dtype == 'float16' and np.abs(regions).max() > np.finfo(np.float16).max:
    raise ValueError(
        f'regions reach {np.abs(regions).max():g}, which float16 cannot hold; '
        'config.data.store_dtype=float32 does')
  return arrays | {'regions': regions.astype(dtype)}


def load(place: Place, size: int = 0, dtype: str = 'float32'
         ) -> dict[str, np.ndarray]:
  """The arrays of a picture, as `checked` and `stored` give them.

  Raises:
    Unusable: they cannot be read, or are none.
  """
  try:
    return stored(checked(*region_files.load(place), size), dtype)
  except _DAMAGED as error:
    raise Unusable('unusable features',
                   f'picture {place.picture} of {place.where}: {error}'
                   ) from error


def places(folder: str | os.PathLike, wanted: Collection[str],
           problems: Problems) -> list[Place]:
  """Where the features of the wanted pictures are, in the order to read them.

  Args:
    folder: what `region_files.places` looks through.
    wanted: ids of pictures.
    problems: takes the pictures without features.
  """
  left, there = dict.fromkeys(wanted), []
  for place in region_files.places(folder, dict(left)):
    if place.picture in left:  # Once: the .tsv files have some twice.
      del left[place.picture]
      there.append(place)
  if problems.counts.total() + len(left) > problems.most:
    # It fails here and not after hours; what else is wrong is told along.
    for place in there[:_TRIED]:
      try:
        load(place)
      except Unusable as error:
        problems.add(error.kind, str(error))
  for picture in left:
    problems.add('missing features', f'picture {picture}')
  return there


def read(folder: str | os.PathLike, wanted: Collection[str],
         problems: Problems, size: int = 0) -> Iterator[tuple[str, dict]]:
  """Yields (picture, arrays) for the wanted pictures that have features.

  Args:
    folder: what `region_files.places` looks through.
    wanted: ids of pictures.
    problems: takes pictures without features, and with unusable ones.
    size: features of a region; 0: those that the first picture has.
  """
  for place in places(folder, wanted, problems):
    try:
      arrays = load(place, size)
    except Unusable as error:
      problems.add(error.kind, str(error))
      continue
    size = size or arrays['regions'].shape[1]
    yield place.picture, arrays


def first_usable(there: Sequence[Place], size: int = 0
                 ) -> tuple[int, float] | None:
  """What the first usable picture tells of all; None where none is usable.

  Returns:
    (features of a region, bytes of its float32 arrays for one of its file).
  """
  for place in there:
    try:
      arrays = load(place, size)
    except Unusable:
      continue
    stored_bytes = sum(array.nbytes for array in arrays.values())
    return arrays['regions'].shape[1], stored_bytes / max(1, place.size)
  return None


@dataclasses.dataclass(frozen=True)
class Reader:
  """A place -> its arrays; an object that can be sent to another process.

  Attributes:
    size: features of a region; 0 for any.
    dtype: of the regions.
  """

  size: int
  dtype: str

  def __call__(self, place: Place) -> dict[str, Any]:
    return load(place, self.size, self.dtype)
