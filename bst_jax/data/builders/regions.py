"""Region features of pictures: .npz folders, bottom-up .tsv, GQA's .h5."""
import base64
from collections.abc import Collection, Iterator
import json
import os
import pathlib
import zipfile

from bst_jax.data.builders.found import files, Found
from bst_jax.data.builders.problems import Problems
import numpy as np

_SLACK = 1.5  # pixels that a box may reach beyond its picture
_MOST_BYTES = 1 << 28  # of an unpacked .npz file; more is no picture's
_COLUMNS = 6  # of bottom-up-attention's .tsv


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


def read(folder: str | os.PathLike, wanted: Collection[str],
         problems: Problems, size: int = 0) -> Iterator[tuple[str, dict]]:
  """Yields (picture, arrays) for the wanted pictures that have features.

  The folder holds one of three kinds, looked for anywhere below it: a .npz
  file for each picture, .tsv files of bottom-up-attention, or GQA's .h5.

  Args:
    folder: with the files.
    wanted: ids of pictures.
    problems: takes pictures without features, and with unusable ones.
    size: features of a region; 0: those that the first picture has.
  """
  names = files(folder)
  kind = next((kind for kind in ('.npz', '.tsv', '.h5')
               if any(n.endswith(kind) for n in names)), None)
  if kind is None:
    raise ValueError(
        f'Region features were looked for below {folder}, but there are none. '
        'Put a .npz file for each picture there, .tsv files of '
        "bottom-up-attention, or GQA's .h5 files.")
  left = dict.fromkeys(wanted)
  for picture, where, make in _KINDS[kind](folder, names, left):
    if picture not in left:  # A second time: the .tsv files have some twice.
      continue
    del left[picture]
    try:
      arrays = checked(*make(), size)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile
            ) as error:
      problems.add('unusable features', f'picture {picture} of {where}: {error}')
      continue
    size = size or arrays['regions'].shape[1]
    yield picture, arrays
  for picture in left:
    problems.add('missing features', f'picture {picture}')


def _npz(folder, names, wanted):
  found = Found([folder], ('.npz',))
  for picture in list(wanted):
    path = found(picture)
    if path is not None:
      yield picture, path, lambda path=path: _arrays(path)


def _arrays(path: str):
  """(features, boxes, width, height) of an .npz file.

  It holds x and bbox, and image_w and image_h, or width and height, where
  boxes are in pixels; without them they are shares.
  """
  with zipfile.ZipFile(path) as packed:
    size = sum(member.file_size for member in packed.infolist())
    if size > _MOST_BYTES:
      raise ValueError(f'it unpacks to {size:,} bytes; {_MOST_BYTES:,} are '
                       'allowed')
  with np.load(path, allow_pickle=False) as file:
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
  """
  for path in (n for n in names if n.endswith('.tsv')):
    with open(path, encoding='ascii', errors='replace') as file:
      for number, line in enumerate(file, 1):
        cells = line.rstrip('\n').split('\t')
        picture = cells[0].strip()
        if picture in wanted:
          yield picture, f'line {number} of {path}', (
              lambda cells=cells: _row(cells))


def _row(cells):
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
  try:
    import h5py  # Only GQA's files need it.
  except ImportError as error:
    raise ValueError(
        f'{folder} has .h5 files, but h5py is not installed. Install it with: '
        'pip install h5py') from error

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
    try:
      opened = h5py.File(paths[number], 'r')
    except OSError as error:
      raise ValueError(f'{paths[number]} was to be read, but it is damaged or '
                       f'cut short ({error}). Fetch it again.') from error
    with opened as file:
      # In the order of the file, which is read as it lies.
      for picture in sorted(pictures, key=lambda p: about[p]['idx']):
        yield picture, paths[number], (
            lambda one=about[picture], file=file: _object(file, one))


def _object(file, about):
  place, count = int(about['idx']), int(about['objectsNum'])
  return (file['features'][place][:count], file['bboxes'][place][:count],
          float(about['width']), float(about['height']))


_KINDS = {'.npz': _npz, '.tsv': _tsv, '.h5': _h5}
