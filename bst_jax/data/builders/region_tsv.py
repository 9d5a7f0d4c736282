"""Rows of bottom-up-attention's .tsv files, found without reading them.

A row is image_id, image_w, image_h, num_boxes, boxes, features, the last two
float32 in base64.
"""
import base64
from collections.abc import Collection, Iterator
import os
from typing import Any

import numpy as np

_COLUMNS = 6
_FIRST_BYTES = 1 << 10  # of a row that hold all but boxes and features
_MOST_BYTES = 1 << 28  # of a row; more is no picture's


def rows(path: str | os.PathLike, wanted: Collection[str]
         ) -> Iterator[tuple[str, int, int, int]]:
  """(picture, number of its line, first byte, bytes) of the wanted pictures.

  Only the beginnings of rows are read. The length of a row follows from its
  number of boxes once one row has told the size of the features; where no line
  ends there, the row is read to its end.

  Raises:
    ValueError: the file cannot be read.
  """
  try:
    with open(path, 'rb') as file:
      yield from _rows(file, wanted)
  except OSError as error:
    raise ValueError(f'{path} was to be read, but cannot be ({error}). Copy it '
                     'again, or take it away.') from error


def _rows(file, wanted):
  start, number, size = 0, 0, 0
  while first := file.read(_FIRST_BYTES):
    number += 1
    cells = first.split(b'\t', _COLUMNS - 2)
    length = _row_length(cells, size)
    file.seek(start + max(0, length - 1))
    if not length or file.read(1) != b'\n':
      file.seek(start)
      line = file.readline(_MOST_BYTES)
      length, size = len(line), _feature_size(line) or size
      while line and not line.endswith(b'\n'):  # No row, or the last one.
        line = file.readline(_MOST_BYTES)
        length += len(line)
    picture = cells[0].split(b'\n')[0].decode('ascii', 'replace').strip()
    if picture in wanted:
      yield picture, number, start, length
    start += length
    file.seek(start)


def _base64_length(size: int) -> int:
  """Characters of so many bytes."""
  return 4 * -(-size // 3)


def _row_length(cells: list[bytes], size: int) -> int:
  """Bytes of a row with `size` features a region; 0 where that is unknown."""
  if any(b'\n' in cell for cell in cells[:4]):  # It is cut off.
    return 0
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


def read(path: str | os.PathLike, start: int, length: int
         ) -> tuple[Any, Any, int, int]:
  """(features, boxes, width, height) of a row.

  Raises:
    ValueError, OverflowError, OSError: it is malformed.
  """
  if length > _MOST_BYTES:
    raise ValueError(f'the row has {length:,} bytes; {_MOST_BYTES:,} are '
                     'allowed')
  with open(path, 'rb') as file:
    file.seek(start)
    line = file.read(length).decode('ascii', 'replace')
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
