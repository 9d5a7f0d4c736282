"""Region features of pictures, checked and in the form of all data sets."""
from collections.abc import Collection, Iterator, Sequence
import os

from absl import logging
from bst_jax.data.builders import region_files
from bst_jax.data.builders.problems import Problems, Unusable
from bst_jax.data.builders.region_files import Place
import numpy as np

DTYPES = 'float16', 'float32'  # that features are stored as
_ASKED = 5  # pictures that tell the features of a region
_SLACK = 1.5  # pixels that a box may reach beyond its picture
# What rows may have behind their features: so many numbers, x1 y1 x2 y2, then
# width and height; whether in pixels, else as shares of the picture.
POSITIONS = {'corners': (4, False), 'corners_in_pixels': (4, True),
             'corners_and_sides': (6, False),
             'corners_and_sides_in_pixels': (6, True)}
_APART = 0.02  # of a picture, that a position may differ from its box
_TRIED = 500  # pictures of a folder of which too much is missing


def checked(features: np.ndarray, boxes: np.ndarray, width: float,
            height: float, size: int = 0, position: str = ''
            ) -> dict[str, np.ndarray]:
  """Features and boxes of a picture as all data sets have them.

  Args:
    features: float[n, F], or float[F, n] as VQA archives have it.
    boxes: float[n, 4], x1 y1 x2 y2 in pixels.
    width: of the picture, in the pixels of the boxes; 1 for shares.
    height: likewise.
    size: the F that is wanted; 0 for any.
    position: name in `POSITIONS` of what every row has behind its features; it
      must be that of the box, and is left out: models make six numbers of every
      box themselves. '': nothing.

  Returns:
    {'regions': float32[n, F], 'boxes': float32[n, 4]}, boxes as shares.

  Raises:
    ValueError: the shapes do not fit, or something is not finite or no box; or
      a position is not that of its box.
  """
  features, boxes = _floats(features, 'features'), _floats(boxes, 'boxes')
  count = len(boxes) if boxes.ndim else 0
  if boxes.ndim != 2 or boxes.shape[1] != 4 or not count:
    raise ValueError(f'boxes have the shape {boxes.shape}, not (n, 4)')
  if features.ndim == 2 and count not in features.shape[:1] and (
      features.shape[1] == count):
    features = features.T
  if features.ndim != 2 or len(features) != count:
    raise ValueError(f'features have the shape {features.shape}, which does '
                     f'not fit {count} boxes')
  if position:
    features, places = np.split(features, [-POSITIONS[position][0]], axis=1)
  if size and features.shape[1] != size:
    raise ValueError(f'regions have {features.shape[1]} features, not {size}'
                     + _layouts(features.shape[1], size, position))
  if not (width > 0 and height > 0):
    raise ValueError(f'the picture is {width} x {height}')
  if not (np.isfinite(features).all() and np.isfinite(boxes).all()):
    raise ValueError('some numbers are not finite')
  slack = _SLACK if max(width, height) > 2 else 1e-3
  if boxes.min() < -slack or (
      boxes > np.array([width, height] * 2) + slack).any():
    raise ValueError(f'boxes reach from {boxes.min():g} to {boxes.max():g} in '
                     f'a picture of {width:g} x {height:g}')
  if (boxes[:, 2:] < boxes[:, :2] - slack).any():
    raise ValueError('some boxes end before they begin: they must be x1 y1 x2 '
                     'y2, not x y width height')
  if max(width, height) > 2 and boxes.max() <= 1:
    raise ValueError(f'all boxes lie in one pixel of {width:g} x {height:g}: '
                     'if they are shares of the picture, leave its size out')
  shares = boxes / np.array([width, height] * 2, np.float32)
  if position:
    _check_position(places, shares, width, height, position)
  return {'regions': np.ascontiguousarray(features),
          'boxes': shares.clip(0, 1)}


def _layouts(there, size, position):
  """What numbers of another size may be, where that is known."""
  if 2 * there == size:
    return ('; half as many: a .tsv file holds float32, and these bytes may be '
            'float16')
  names = [name for name, (count, _) in POSITIONS.items()
           if there - size == count]
  if not names or position:
    return ''
  return (f': each row is {there} numbers, where {size} features and a box '
          f'beside them are wanted, of which models make 6. If its last '
          f'{there - size} are the position, set config.data.position to '
          + ' or '.join(names))


def _check_position(places, shares, width, height, position):
  """Raises where positions are not those of boxes float[n, 4]."""
  wanted = np.concatenate([shares, shares[:, 2:] - shares[:, :2]], 1)
  if POSITIONS[position][1]:
    places = places / np.array([width, height] * 3, np.float32)[
        :places.shape[1]]
  apart = np.abs(places - wanted[:, :places.shape[1]]).max(1)
  if not (apart <= _APART).all():
    first = int(np.argmax(~(apart <= _APART)))
    raise ValueError(
        f'config.data.position is {position!r}, but behind the features of '
        f'region {first} stands {places[first].tolist()}, where its box is '
        f'{shares[first].tolist()} as shares of the picture')


def _floats(array, what):
  """The array as float32; a number that is too great becomes infinite."""
  array = np.asarray(array)
  if array.dtype.kind not in 'fiub':
    raise ValueError(f'{what} are {array.dtype}, no numbers')
  with np.errstate(over='ignore'):
    return array.astype(np.float32)


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


def load(place: Place, size: int = 0, dtype: str = 'float32',
         position: str = '') -> dict[str, np.ndarray]:
  """The arrays of a picture, as `checked` and `stored` give them.

  Of several places the first is taken that is whole.

  Raises:
    Unusable: they cannot be read, or are none.
  """
  first = None
  for one in (place, *place.more):
    try:
      arrays = stored(checked(*region_files.load(one), size, position), dtype)
    except MemoryError:
      raise
    except Exception as error:  # Readers raise anything on damaged files.
      first = first or error
    else:
      if first is not None:
        logging.info('Picture %s of %s is damaged (%s); its features are read '
                     'from %s.', place.picture, place.where, first, one.where)
      return arrays
  raise Unusable(
      'unusable features',
      f'picture {place.picture} of {place.where}: '
      f'{str(first) or type(first).__name__}') from first


def places(folder: str | os.PathLike, wanted: Collection[str],
           problems: Problems) -> list[Place]:
  """Where the features of the wanted pictures are, in the order to read them.

  Args:
    folder: what `region_files.places` looks through.
    wanted: ids of pictures.
    problems: takes the pictures without features.
  """
  left, first = dict.fromkeys(wanted), {}
  for place in region_files.places(folder, dict(left), problems):
    left.pop(place.picture, None)
    # The .tsv files have some twice, of which one may be cut off.
    same = first.setdefault(place.picture, place)
    if same is not place:
      first[place.picture] = same._replace(more=(*same.more, place))
  there = [*first.values()]
  if problems.counts.total() + len(left) > problems.most:
    # It fails here and not after hours; what else is wrong is told along.
    with problems.gathered():
      for place in there[:_TRIED]:
        try:
          load(place)
        except Unusable as error:
          problems.add(error.kind, str(error))
      _add_missing(left, problems)
  else:
    _add_missing(left, problems)
  return there


def _add_missing(left, problems):
  for picture in left:
    problems.add('missing features', f'picture {picture}')


def read(folder: str | os.PathLike, wanted: Collection[str],
         problems: Problems, size: int = 0, position: str = ''
         ) -> Iterator[tuple[str, dict]]:
  """Yields (picture, arrays) for the wanted pictures that have features.

  Args:
    folder: what `region_files.places` looks through.
    wanted: ids of pictures.
    problems: takes pictures without features, and with unusable ones.
    size: features of a region; 0: those that the first pictures have.
    position: as of `checked`.
  """
  with problems.gathered():
    there = places(folder, wanted, problems)
    size, _ = first_usable(there, size, position) or (size, 0)
    for place in there:
      try:
        arrays = load(place, size, position=position)
      except Unusable as error:
        problems.add(error.kind, str(error))
        continue
      yield place.picture, arrays


def first_usable(there: Sequence[Place], size: int = 0, position: str = ''
                 ) -> tuple[int, float] | None:
  """What the first usable pictures tell of all; None where none is usable.

  Of several, as the first row may be one that is cut off.

  Returns:
    (features of a region, bytes of its float32 arrays for one of its file).
  """
  shares = {}
  each_alone = (one for place in there
                for one in (place._replace(more=()), *place.more))
  for place in each_alone:
    try:
      arrays = load(place, size, position=position)
    except Unusable:
      continue
    stored_bytes = sum(array.nbytes for array in arrays.values())
    shares.setdefault(arrays['regions'].shape[1], []).append(
        stored_bytes / max(1, place.size))
    if sum(map(len, shares.values())) == _ASKED:
      break
  size, each = max(shares.items(), key=lambda item: len(item[1]),
                   default=(0, [0]))
  return (size, each[0]) if shares else None
