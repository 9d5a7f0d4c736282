"""Writes captions by the files beside it, with numpy and ONNX Runtime alone.

  python caption.py regions.npz another.npz
  python caption.py --int8 regions.npz

A file holds the regions of one picture, as a detector finds them: x float[n, F]
with their features, the surest first, and bbox float[n, 4], x1 y1 x2 y2 as
shares of the picture, or in pixels beside image_w and image_h. A model that
reads tags takes tags int[g], numbers of words, if the file has any.
"""
import json
import pathlib
import sys

import numpy as np


def write(encoder, step, about, batch):
  """The most probable word, again and again: int32[P, length].

  Args:
    encoder, step: the two programs, as {name: array} -> {name: array}.
    about: what caption.json holds.
    batch: what the encoder reads of P pictures.
  """
  context = encoder(batch)
  rows = len(context['real'])
  texts = {name: np.zeros((rows, *shape), np.float32)
           for name, shape in about['texts'].items()}
  tokens = np.zeros((rows, about['length']), np.int32)
  tokens[:, 0] = about['start']
  alive = np.ones(rows, bool)
  for place in range(1, about['length']):
    found = step({**context, **texts, 'last': tokens[:, place - 1],
                  'place': np.array(place, np.int32)})
    texts = {name: found[f'next.{name}'] for name in texts}
    word = allowed(found['logits'], tokens, place, about).argmax(-1)
    tokens[:, place] = np.where(alive, word, 0)
    alive &= word != about['end']
    if not alive.any():
      break
  return tokens


def allowed(logits, tokens, place, about):
  """float[P, V], minus infinity for what may not stand at a place."""
  logits = np.array(logits)
  logits[:, about['never']] = -np.inf
  if place <= about['least']:
    logits[:, about['end']] = -np.inf
  block = about['block']
  for row, said in zip(logits, tokens):
    for first in range(place - block + 1 if block else 0):
      *before, last = said[first:first + block]
      if np.array_equal(before, said[place - block + 1:place]):
        row[last] = -np.inf
  return logits


def read(path, about):
  """What the encoder reads of a file of regions, a batch of one."""
  with np.load(path) as file:
    found = dict(file)
  size = about['inputs']['regions'][2][1]
  if not {'x', 'bbox'} <= set(found) or found['x'].shape[1:] != (size,) or (
      found['bbox'].shape != (len(found['x']), 4)):
    raise ValueError(
        f'{path} was to be read as regions, but has '
        f'{ {name: x.shape for name, x in found.items()} }; give x of [n, {size}] '
        'and bbox of [n, 4], by the detector of the training.')
  sides = [found.get(key, found.get(other, 1)) for key, other in (
      ('image_w', 'width'), ('image_h', 'height'))]
  rows = {'regions': found['x'], 'boxes': found['bbox'] / np.array(
      sides * 2, np.float32), 'tags': found.get('tags', ())}
  batch = {}
  for name, (fill, dtype, shape) in about['inputs'].items():
    batch[name] = np.full((1, *shape), fill, dtype)
    some = rows[name][:shape[0]]
    batch[name][0, :len(some)] = some
  return batch


def text(tokens, about):
  """The words of int[length]."""
  said = [int(token) for token in tokens[1:]]
  said = said[:said.index(about['end'])] if about['end'] in said else said
  return ''.join(about['pieces'][token] for token in said).strip()


def main():
  """Prints a caption of each file that the command line names."""
  import onnxruntime

  paths = [path for path in sys.argv[1:] if path != '--int8']
  if not paths:
    sys.exit(__doc__)
  here = pathlib.Path(__file__).parent
  about = json.loads((here / 'caption.json').read_text('utf-8'))
  sessions = [onnxruntime.InferenceSession(
      str(here / f'{name}.{"int8." * ("--int8" in sys.argv)}onnx'),
      providers=['CPUExecutionProvider']) for name in ('encoder', 'step')]

  def program(session):
    takes = [one.name for one in session.get_inputs()]
    gives = [one.name for one in session.get_outputs()]
    return lambda given: dict(zip(gives, session.run(
        gives, {key: given[key] for key in takes})))

  # Files may take several rows at a time, and no other number.
  rows = sessions[0].get_inputs()[0].shape[0]
  for path in paths:
    batch = {name: np.repeat(x, rows if isinstance(rows, int) else 1, 0)
             for name, x in read(path, about).items()}
    tokens = write(*map(program, sessions), about, batch)
    print(text(tokens[0], about), flush=True)
