"""Files of region features: our own, .npz folders, bottom-up .tsv, GQA's .h5.

All that a folder holds of them is read: what bst_jax.features found in a picture,
else its .npz file, else its row of a .tsv file, else its rows of an .h5 file.
"""
from collections.abc import Callable, Collection, Iterator, Sequence
import os
import re
from typing import Any, NamedTuple
import zipfile

from absl import logging
from bst_jax.data import region_store, shards
from bst_jax.data.builders import found, region_h5, region_tsv
from bst_jax.data.builders.problems import Problems, Unusable
import numpy as np

_MOST_BYTES = 1 << 28  # of an unpacked .npz file; more is no picture's
_NAMED = 5  # files that are not read
# bottom-up-attention's archives hold parts, as x.tsv.0 and x.tsv.1.
_TSV = re.compile(r'\.tsv(\.\d+)?$')
_NOTES = '.txt', '.md', '.json', '.csv', '.log', '.sha256', '.md5'


class Place(NamedTuple):
  """Where the features of a picture are, without their content.

  Attributes:
    picture: its id.
    where: the same in words.
    path: of the file.
    size: bytes of it that are the picture's.
    at: what else its kind of file needs.
    wrong: what is known to be wrong with it, in words.
    more: other places of the picture, for where this one is damaged.
  """

  picture: str
  where: str
  path: str
  size: int
  at: tuple[Any, ...] = ()
  wrong: str = ''
  more: tuple['Place', ...] = ()


def places(folder: str | os.PathLike, wanted: Collection[str],
           problems: Problems | None = None) -> Iterator[Place]:
  """Places of the wanted pictures that have features, some of them twice.

  Files may lie anywhere below the folder: what bst_jax.features wrote, a .npz file
  for each picture, .tsv files of bottom-up-attention (also in parts, .tsv.0),
  GQA's gqa_objects_N.h5.

  Args:
    folder: with the files.
    wanted: ids of pictures.
    problems: takes the names of the files that are not read.

  Raises:
    ValueError: there are none, or one is damaged as a whole.
  """
  names = found.files(folder)
  problems = Problems() if problems is None else problems
  kinds = {kind: [n for n in names if is_kind(n)]
           for kind, (is_kind, _, _) in _KINDS.items()}
  others = _others(names)
  if not any(kinds.values()):
    raise ValueError(
        f'Region features were looked for below {folder}, but there are none'
        f'{_listed(others, ", only")}. Put there what bst_jax.features makes of '
        'pictures, a .npz file for each, .tsv files of bottom-up-attention, or '
        "GQA's gqa_objects_N.h5 files.")
  if others:
    logging.warning('Below %s these files are not read%s.', folder,
                    _listed(others, ':'))
    problems.remark(f'Not read{_listed(others, ":")}: features are '
                    '.array_record, .npz, .tsv, .tsv.N and gqa_objects_N.h5, '
                    'unpacked.')
  wanted, done = dict.fromkeys(wanted), set()
  for kind, there in kinds.items():
    if there and len(done) < len(wanted):
      for place in _KINDS[kind][1](folder, there, wanted):
        done.add(place.picture)
        yield place


def extractor(places: Sequence[Place], known: str | None = None) -> str:
  """Fingerprint of what made the features; '' where their files do not tell.

  Args:
    places: of the features.
    known: that of others, which must be the same; None where there are none.

  Raises:
    ValueError: several made them, whose numbers mean different things.
  """
  folders = {os.path.dirname(place.path) if place.path.endswith(
      region_store.SUFFIX) else '' for place in places}
  made = {folder: region_store.about(folder).extractor if folder else ''
          for folder in sorted(folders)}
  different = {*made.values()} | ({known} if known is not None else set())
  if len(different) > 1:
    raise ValueError(
        'Features of one data set are made by one extractor, but these are by '
        + ', '.join(sorted(name or 'one that is not known'
                           for name in different))
        + f', in {", ".join(folder or "other files" for folder in made)}. Leave '
        'those of one there.')
  return different.pop() if different else ''


def load(place: Place) -> tuple[np.ndarray, np.ndarray, float, float]:
  """(features, boxes, width, height) of a place, unchecked.

  Raises:
    Exception: they are damaged; which it is depends on how.
  """
  if place.wrong:
    raise ValueError(place.wrong)
  return next(read for is_kind, _, read in _KINDS.values()
              if is_kind(place.path))(place)


def _others(names: Sequence[str]) -> list[str]:
  """Files that nothing reads, but for notes and lists."""
  return [name for name in names
          if not any(is_kind(name) for is_kind, _, _ in _KINDS.values())
          and not name.lower().endswith(_NOTES)
          and not region_h5.is_spatial(name)]


def _listed(names, before):
  more = f' and {len(names) - _NAMED} more' if len(names) > _NAMED else ''
  return f'{before} {", ".join(names[:_NAMED])}{more}' if names else ''


def _own(folder, names, wanted):
  """Places in the files of `region_store`."""
  there, sizes = found.Found(), {}
  for picture, path, i in region_store.places(folder, names):
    there.add(picture, (path, i))
    sizes[path] = i + 1
  each = {path: found.size(path) // count for path, count in sizes.items()}
  for picture in wanted:
    try:
      place = there(picture)
    except Unusable as error:
      yield Place(picture, str(folder), '', 0, wrong=str(error))
      continue
    if place is not None:
      path, i = place
      yield Place(picture, f'record {i} of {path}', path, each[path], (i,))


def _rows(place):
  with shards.POOL.reader(place.path) as reader:
    rows = region_store.decoded(reader.read([*place.at])[0])
  return rows['regions'], rows['boxes'], 1.0, 1.0  # Boxes are shares.


def _npz(folder, names, wanted):
  del names
  files = found.Found([folder], ('.npz',))
  for picture in wanted:
    try:
      path = files(picture)
    except Unusable as error:
      yield Place(picture, str(folder), '', 0, wrong=str(error))
      continue
    if path is not None:
      yield Place(picture, path, path, found.size(path))


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
    sizes = [_number(file, *keys) for keys in (
        ('image_w', 'width'), ('image_h', 'height'))]
    if (sizes[0] is None) != (sizes[1] is None):
      raise ValueError(
          f'it tells one side of the picture alone: {sorted(file)}')
    width, height = (1.0 if side is None else side for side in sizes)
    boxes = file['bbox']
    count = _number(file, 'num_bbox', 'num_boxes')
    if count is not None and boxes.shape[:1] != (count,):
      raise ValueError(f'it tells of {count:g} boxes, but bbox has the shape '
                       f'{boxes.shape}')
    return file['x'], boxes, width, height


def _number(file, *keys) -> float | None:
  """The one number of the first of these arrays; None where there is none."""
  for key in keys:
    if key in file:
      value = file[key]
      if value.size != 1 or value.dtype.kind not in 'fiu':
        raise ValueError(f'{key} is no number, but {value.dtype} of shape '
                         f'{value.shape}')
      return float(value.reshape(()))
  return None


def _tsv(folder, names, wanted):
  del folder
  for path in names:
    for picture, number, start, length in region_tsv.rows(path, wanted):
      yield Place(picture, f'line {number} of {path}', path, length,
                  (start, length))


def _h5(folder, names, wanted):
  del names
  for one in region_h5.entries(found.files(folder), wanted):
    yield Place(one.picture, one.path, one.path, one.size, one.at, one.wrong)


# Kind -> which files are such, how pictures are found in them, and one is read.
_KINDS: dict[str, tuple[Callable[[str], bool], Callable, Callable]] = {
    'array_record': (lambda path: path.endswith(region_store.SUFFIX), _own,
                     _rows),
    'npz': (lambda path: path.lower().endswith('.npz'), _npz, _arrays),
    'tsv': (lambda path: bool(_TSV.search(path.lower())), _tsv,
            lambda place: region_tsv.read(place.path, *place.at)),
    'h5': (region_h5.is_objects, _h5,
           lambda place: region_h5.read(place.path, *place.at))}
