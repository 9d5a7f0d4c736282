"""GQA's object features: gqa_objects_N.h5 and gqa_objects_info.json.

The .h5 files hold `features` and `bboxes`, 100 rows a picture; the other tells
the file, place, size and number of regions of each picture.
"""
from collections.abc import Collection, Iterator, Sequence
import functools
import json
import os
import pathlib
import re
from typing import Any, NamedTuple

from bst_jax.elastic import typed

INFO = 'gqa_objects_info.json'
_OBJECTS = re.compile(r'gqa_objects_(\d+)\.h5')
_SPATIAL = re.compile(r'gqa_spatial_\d+\.h5')
_KEYS = 'file', 'idx', 'objectsNum', 'width', 'height'


class Entry(NamedTuple):
  """Where the features of a picture lie.

  Attributes:
    picture: its id.
    path: of the file.
    size: bytes of it that are the picture's.
    at: what `read` takes of it.
    wrong: what makes the entry useless, in words; '' if nothing does.
  """

  picture: str
  path: str
  size: int = 0
  at: tuple[Any, ...] = ()
  wrong: str = ''


def is_objects(path: str) -> bool:
  """Whether a file is named as one of object features."""
  return bool(_OBJECTS.fullmatch(os.path.basename(path)))


def is_spatial(path: str) -> bool:
  """Whether a file is one of the grids of features that GQA hands out, too."""
  return bool(_SPATIAL.fullmatch(os.path.basename(path)))


def entries(names: Sequence[str], wanted: Collection[str]) -> Iterator[Entry]:
  """Entries of the wanted pictures, in the order of the files.

  Args:
    names: paths of files, among which are those of objects and their INFO.
    wanted: ids of pictures.

  Raises:
    ValueError: a file is missing or damaged.
  """
  paths = {int(_OBJECTS.fullmatch(os.path.basename(n))[1]): n
           for n in names if is_objects(n)}
  info = _info(names, next(iter(paths.values())))
  about, by_file = _read_info(info), {}
  for picture in wanted:
    if picture not in about:
      continue
    one = about[picture]
    wrong = _wrong(one)
    if wrong:
      yield Entry(picture, info, wrong=wrong)
    else:
      by_file.setdefault(int(one['file']), []).append(picture)
  for number, pictures in sorted(by_file.items()):
    if number not in paths:
      for picture in pictures:
        yield Entry(picture, info,
                    wrong=f'it is in gqa_objects_{number}.h5, which is missing')
      continue
    _opened.cache_clear()  # It may be another file now.
    width = _width(paths[number])
    # In the order of the file, which is read as it lies.
    for picture in sorted(pictures, key=lambda p: about[p]['idx']):
      one = about[picture]
      count = int(one['objectsNum'])
      yield Entry(picture, paths[number], 4 * count * (width + 4),
                  (int(one['idx']), count, float(one['width']),
                   float(one['height'])))


def read(path: str, row: int, count: int, width: float, height: float
         ) -> tuple[Any, Any, float, float]:
  """(features, boxes, width, height) of the `count` regions of a row.

  Raises:
    ValueError, KeyError: the file does not have them.
  """
  file = _opened(path)
  rows, most = file['features'].shape[:2]
  if row >= rows:
    raise ValueError(f'idx is {row}, but there are {rows} pictures in it')
  if count > most:
    raise ValueError(f'objectsNum is {count}, but a picture has {most} rows')
  return (file['features'][row][:count], file['bboxes'][row][:count], width,
          height)


def _info(names, first):
  by_name = {os.path.basename(name): name for name in names}
  if INFO not in by_name:
    raise ValueError(f'{first} was to be read, but {INFO} is missing, which '
                     'tells what is in it. Fetch it from where they are from.')
  return by_name[INFO]


def _read_info(path):
  try:
    about = json.loads(pathlib.Path(path).read_text('utf-8-sig'))
  except (OSError, ValueError, RecursionError) as error:
    raise ValueError(f'{path} was to be read, but it is no JSON ({error}). '
                     'Fetch it again.') from error
  if not isinstance(about, dict):
    raise ValueError(f'{path} was to be read as {{picture: {{…}}, …}}, but it '
                     f'holds a {type(about).__name__}. Fetch it again.')
  return about


def _wrong(one: Any) -> str:
  """What is wrong with an entry of the info file; '' if nothing is."""
  if not isinstance(one, dict) or not {*_KEYS} <= one.keys():
    return f'its entry is {repr(one)[:80]}, without {", ".join(_KEYS)}'
  for key in _KEYS:
    value, is_size = one[key], key in ('width', 'height')
    if not typed.fits(value, float) or value < 0 or not (
        is_size or value == int(value)):
      return f'{key} is {repr(value)[:80]}, not a number as it should be'
  return ''


def _width(path):
  """Features of a region of a file."""
  try:
    shape = _opened(path)['features'].shape
    if len(shape) != 3:
      raise ValueError(f'features have the shape {shape}')
    return shape[-1]
  except (KeyError, AttributeError, ValueError) as error:
    raise ValueError(f'{path} was to be read, but it is no file of object '
                     f'features ({error}). Fetch it again.') from error


@functools.lru_cache(maxsize=1)
def _opened(path: str):
  """An .h5 file, kept open while its pictures are read one by one."""
  try:
    import h5py  # Only GQA's files need it.
  except ImportError as error:
    raise ValueError(
        f'{path} is an .h5 file, but h5py is not installed. Install it with: '
        'pip install h5py') from error

  try:
    return h5py.File(path, 'r')
  except OSError as error:
    raise ValueError(f'{path} was to be read, but it is damaged or '
                     f'cut short ({error}). Fetch it again.') from error
