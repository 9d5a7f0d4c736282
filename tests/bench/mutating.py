"""Changes of files at random, each told in words."""
import io
import json
import pathlib
import shutil
from typing import Any

from bst_jax import elastic
import jax
import numpy as np

HARMLESS, HARMFUL = True, False
# In place of a value that a file has.
_VALUES = (None, True, False, -1, 0, 1.5, float('nan'), float('inf'), 10 ** 30,
           '', 'x', '²', '1/2', [], [[]], [None], {}, {'a': 1}, [1, 2])


def file(path: pathlib.Path, rng: Any) -> tuple[str, bool]:
  """Changes the bytes of a file; returns what it did, and if it matters."""
  data = bytearray(path.read_bytes())
  place = int(rng.integers(0, max(1, len(data))))
  length = 1 + int(rng.integers(0, max(1, len(data) // 3)))
  part = slice(place, place + length)
  kind = rng.integers(0, 11)
  if kind == 0:
    what, data = f'cut off at {place}', data[:place]
  elif kind == 1:
    what, data = f'{length} bytes lost at {place}', data[:place] + data[
        place + length:]
  elif kind in (2, 3):
    what, data[part] = f'{length} bytes at {place} are zero', bytes(
        len(data[part]))
  elif kind == 4:
    what, data[part] = f'{length} bytes at {place} are others', rng.bytes(
        len(data[part]))
  elif kind in (5, 6):
    what, data[place:place + 1] = f'byte {place} is another', bytes(
        255 - b for b in data[place:place + 1])
  elif kind == 7:
    what, data[place:place] = f'{length} bytes come in at {place}', rng.bytes(
        length)
  elif kind == 8:
    what, data = 'it is empty', b''
  elif kind == 9:
    what, data = 'it is a page', b'<!DOCTYPE html><html>404'
  else:
    path.unlink()
    return f'{path.name} is missing', HARMFUL
  path.write_bytes(data)
  return f'{path.name}: {what}', HARMFUL


def json_file(path: pathlib.Path, rng: Any) -> tuple[str, bool]:
  """Changes a JSON file: its form without harm, its bytes, or its values."""
  way = rng.random()
  if way < 0.15:
    return _rewritten(path, rng)
  if way < 0.4:
    return file(path, rng)
  value = json.loads(path.read_text('utf-8'))
  what = value_in(value, rng)
  path.write_text(json.dumps(value), 'utf-8')
  return f'{path.name}: {what}', HARMFUL


def _rewritten(path, rng):
  value = json.loads(path.read_text('utf-8'))
  kind = rng.integers(0, 4)
  if kind == 0:
    path.write_text(json.dumps(value), 'utf-8-sig')
    return f'{path.name}: a mark of byte order', HARMLESS
  if kind == 1:
    path.write_bytes(json.dumps(value, indent=4).replace('\n', '\r\n').encode())
    return f'{path.name}: lines of Windows', HARMLESS
  if kind == 2:
    path.write_text(f'\n{json.dumps(value, ensure_ascii=False)}\n\n', 'utf-8')
    return f'{path.name}: empty lines', HARMLESS
  path.write_text(json.dumps(value), 'utf-16')
  return f'{path.name}: UTF-16', HARMFUL


def value_in(value: Any, rng: Any) -> str:
  """Changes a value somewhere in a tree of lists and dicts."""
  places = [*_places(value)]
  if not places:
    return 'nothing is in it'
  holder, key, path = places[rng.integers(0, len(places))]
  kind = rng.integers(0, 6)
  if kind == 0:
    del holder[key]
    return f'{path} is gone'
  if kind == 1 and isinstance(holder, dict):
    holder[f'{key}x'] = holder.pop(key)
    return f'{path} is called {key}x'
  if kind == 1:
    holder.insert(key, holder[key])
    return f'{path} is there twice'
  new = _VALUES[rng.integers(0, len(_VALUES))]
  if kind == 2:
    new = str(holder[key])
  holder[key] = new
  return f'{path} is {new!r}'


def _places(value, path=''):
  """(list or dict, key, where it is in words) of everything in a tree."""
  items = (value.items() if isinstance(value, dict) else
           enumerate(value) if isinstance(value, list) else ())
  for key, inner in list(items):
    name = f'{path}.{key}'.lstrip('.')
    yield value, key, name
    yield from _places(inner, name)


def arrays(path: pathlib.Path, rng: Any) -> tuple[str, bool]:
  """Changes an array of an .npz file, or only how it is kept."""
  with np.load(path) as kept:
    found = dict(kept)
  key = rng.choice(sorted(found))
  old = found[key]
  harmless = {'as float64': old.astype(np.float64),
              'column by column': np.asfortranarray(old),
              'as >f4': old.astype('>f4')}
  harmful = {'as text': old.astype(str), 'as objects': old.astype(object),
             'without its first row': np.atleast_1d(old)[1:],
             'flat': old.ravel(), 'of NaN': np.full(old.shape, np.nan),
             'of 1e9': np.full(old.shape, 1e9), 'with an axis more': old[None],
             'negative': -np.abs(old.astype(float)) - 9}
  changes = harmless if rng.random() < 0.3 else harmful
  what = rng.choice(sorted(changes))
  found[key] = changes[what]
  file_ = io.BytesIO()
  np.savez(file_, **found)
  path.write_bytes(file_.getvalue())
  return f'{path.name}: {key} {what}', changes is harmless


def remove(path: pathlib.Path) -> None:
  """Removes a file or a folder that may be there."""
  if path.is_dir():
    shutil.rmtree(path)
  else:
    path.unlink(missing_ok=True)


def flat(params: Any) -> dict[str, np.ndarray]:
  """Parameters by their paths."""
  return {'/'.join(map(str, path)) if isinstance(path, tuple) else path:
          np.asarray(value) for path, value in elastic.flatten(params).items()}


def shapes(params: Any) -> Any:
  """Shapes of a tree of arrays."""
  return jax.tree.map(np.shape, params)
