"""Files of region features: .npz folders, bottom-up .tsv, GQA's .h5."""
import base64
from collections.abc import Collection, Iterator
import functools
import json
import os
import pathlib
from typing import Any, NamedTuple
import zipfile

from bst_jax.data.builders.found import files, Found
import numpy as np

_MOST_BYTES = 1 << 28  # of an unpacked .npz file; more is no picture's
_COLUMNS = 6  # of bottom-up-attention's .tsv
_FIRST_BYTES = 1 << 10  # of a row that hold all but boxes and features


class Place(NamedTuple):
  """Where the features of a picture are, without their content.

  Attributes:
    picture: its id.
    where: the same in words.
    path: of the file.
    size: bytes of it that are the picture's.
    at: what else its kind of file needs.
  """

  picture: str
  where: str
  path: str
  size: int
  at: tuple[Any, ...] = ()


def places(folder: str | os.PathLike, wanted: Collection[str]
           ) -> Iterator[Place]:
  """Places of the wanted pictures that have features.

  The folder holds one of three kinds, looked for anywhere below it: a .npz
  file for each picture, .tsv files of bottom-up-attention, or GQA's .h5.
  """
  names = files(folder)
  kind = next((kind for kind in _KINDS
               if any(n.endswith(kind) for n in names)), None)
  if kind is None:
    raise ValueError(
        f'Region features were looked for below {folder}, but there are none. '
        'Put a .npz file for each picture there, .tsv files of '
        "bottom-up-attention, or GQA's .h5 files.")
  return _KINDS[kind][0](folder, names, wanted)


def load(place: Place) -> tuple[np.ndarray, np.ndarray, float, float]:
  """(features, boxes, width, height) of a place, unchecked.

  Raises:
    OSError, ValueError, KeyError, EOFError, BadZipFile: they are damaged.
  """
  return _KINDS[pathlib.Path(place.path).suffix][1](place)


def _npz(folder, names, wanted):
  found = Found([folder], ('.npz',))
  for picture in wanted:
    path = found(picture)
    if path is not None:
      yield Place(picture, path, path, os.path.getsize(path))


def _arrays(place):
  """An .npz file holds x and bbox, and image_w and image_h, or width and
  height, where boxes are in pixels; without them they are shares.
  """
  with zipfile.ZipFile(place.path) as packed:
    size = sum(member.file_size for member in packed.infolist())
    if size > _MOST_BYTES:
      raise ValueError(f'it unpacks to {size:,} bytes; {_MOST_BYTES:,} are '
                       'allowed')
  with np.load(place.path, allow_pickle=False) as file:
    for key in ('x', 'bbox'):
      if key not in file:
        raise ValueError(f'it has no {key!r}, only {sorted(file)}')
    width, height = (
        float(next((file[k] for k in keys if k in file), 1.0))
        for keys in (('image_w', 'width'), ('image_h', 'height')))
    return file['x'], file['bbox'], width, height


def _tsv(folder, names, wanted):
  """Rows of image_id, image_w, image_h, num_boxes, boxes, features, the last
  two float32 in base64.

  Only their beginnings are read. The length of a row follows from its number of
  boxes once one row has told the size of the features; where no line ends
  there, the row is read to its end.
  """
  for path in (n for n in names if n.endswith('.tsv')):
    with open(path, 'rb') as file:
      start, number, size = 0, 0, 0
      while first := file.read(_FIRST_BYTES):
        number += 1
        cells = first.split(b'\t', _COLUMNS - 2)
        length = _row_length(cells, size)
        file.seek(start + max(0, length - 1))
        if not length or file.read(1) != b'\n':
          file.seek(start)
          line = file.readline()
          length, size = len(line), _feature_size(line) or size
        picture = cells[0].split(b'\n')[0].decode('ascii', 'replace').strip()
        if picture in wanted:
          yield Place(picture, f'line {number} of {path}', path, length,
                      (start,))
        start += length
        file.seek(start)


def _base64_length(size: int) -> int:
  """Characters of so many bytes."""
  return 4 * -(-size // 3)


def _row_length(cells: list[bytes], size: int) -> int:
  """Bytes of a row with `size` features a region; 0 where that is unknown."""
  try:
    count = int(float(cells[3]))
  except (IndexError, ValueError, OverflowError):
    return 0
  return (sum(map(len, cells[:4])) + _COLUMNS + _base64_length(16 * count)
          + _base64_length(4 * count * size)) if count > 0 and size else 0


def _feature_size(line: bytes) -> int:
  """Features of a region of a whole row; 0 where it is malformed."""
  cells = line.rstrip(b'\r\n').split(b'\t')
  try:
    count = int(float(cells[3]))
    size = (len(cells[5]) * 3 // 4 - cells[5].count(b'=')) // 4
    return size // count
  except (IndexError, ValueError, OverflowError, ZeroDivisionError):
    return 0


def _row(place):
  start, = place.at
  with open(place.path, 'rb') as file:
    file.seek(start)
    line = file.read(place.size).decode('ascii', 'replace')
  cells = line.rstrip('\r\n').split('\t')
  if len(cells) != _COLUMNS:
    raise ValueError(f'{len(cells)} columns, not {_COLUMNS}')
  width, height, count = (int(float(c)) for c in cells[1:4])
  boxes, features = (
      np.frombuffer(base64.b64decode(c, validate=True), '<f4')
      for c in cells[4:])
  if count < 1 or boxes.size != 4 * count or features.size % count:
    raise ValueError(f'{boxes.size} numbers of boxes and {features.size} of '
                     f'features do not fit {count} regions')
  return (features.reshape(count, -1), boxes.reshape(count, 4), width, height)


def _h5(folder, names, wanted):
  """gqa_objects_*.h5 with features and bboxes, 100 a picture, and
  gqa_objects_info.json that tells place, size and number of regions.
  """
  info = next((n for n in names if n.endswith('_info.json')), None)
  if info is None:
    raise ValueError(f'{folder} has .h5 files, but gqa_objects_info.json is '
                     'missing. Fetch it from where they are from.')
  try:
    about = json.loads(pathlib.Path(info).read_text('utf-8'))
  except ValueError as error:
    raise ValueError(f'{info} was to be read, but it is no JSON ({error}). '
                     'Fetch it again.') from error
  by_file = {}
  for picture in wanted:
    if {'file', 'idx', 'objectsNum', 'width', 'height'} <= about.get(
        picture, {}).keys():
      by_file.setdefault(int(about[picture]['file']), []).append(picture)
  paths = {int(n.removesuffix('.h5').rsplit('_', 1)[1]): n
           for n in names if n.endswith('.h5')}
  for number, pictures in sorted(by_file.items()):
    if number not in paths:
      continue  # Its pictures are reported as missing.
    _opened.cache_clear()  # It may be another file now.
    width = _opened(paths[number])['features'].shape[-1]
    # In the order of the file, which is read as it lies.
    for picture in sorted(pictures, key=lambda p: about[p]['idx']):
      one = about[picture]
      count = int(one['objectsNum'])
      size = 4 * count * (width + 4)
      yield Place(picture, paths[number], paths[number], size,
                  (int(one['idx']), count, float(one['width']),
                   float(one['height'])))


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


def _object(place):
  row, count, width, height = place.at
  file = _opened(place.path)
  return (file['features'][row][:count], file['bboxes'][row][:count], width,
          height)


# Ending -> how pictures are found in such files, and one is read.
_KINDS = {'.npz': (_npz, _arrays), '.tsv': (_tsv, _row), '.h5': (_h5, _object)}
