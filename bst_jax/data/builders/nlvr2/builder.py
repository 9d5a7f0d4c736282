"""NLVR2 as a TFDS data set in ArrayRecord files.

A pair is two records, the left and the right picture; the statements about both
stand in the left one.
"""
from collections.abc import Mapping
import io
import os
import pathlib

from bst_jax.data.builders import json_stream, of_pictures, pictures
from bst_jax.data.builders.problems import Unusable
import numpy as np
from PIL import Image
import tensorflow_datasets as tfds

# Split -> its file; `test` is the public one of the two.
_FILES = {'train': 'train.json', 'dev': 'dev.json', 'test': 'test1.json'}
_LABELS = {'true': True, 'false': False}


class Nlvr2(of_pictures.OfPictures):
  """NLVR2's statements about two photographs, true or false."""

  VERSION = tfds.core.Version('1.0.0')
  PART = 'statements', tfds.features.Sequence({
      'statement': tfds.features.Text(), 'other': np.int64, 'label': np.bool_})
  CITATION = ('A. Suhr et al., A Corpus for Reasoning About Natural Language '
              'Grounded in Photographs, ACL 2019')
  BUILDER_CONFIGS = [tfds.core.BuilderConfig(
      name='images', description='Raw pictures with statements about pairs.')]
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
  Put into manual_dir what is to be used of train.json, dev.json and test1.json,
  of https://github.com/lil-lab/nlvr/tree/master/nlvr2/data; a split whose file is
  missing is left out. Put below manual_dir/images the pictures, which their
  authors give on request: train/DIRECTORY/NAME.png, or train/NAME.png, and
  dev/NAME.png, test1/NAME.png. About one in twenty can no longer be had by its
  address: config.data.max_bad says how many statements may be left out.
  """

  def splits(self, folder: pathlib.Path, problems):
    found = {}
    for split, name in _FILES.items():
      path = folder / name
      if path.is_file():
        found[split] = _items(path, folder / 'images', problems)
    return found

  @staticmethod
  def read(item):
    name, path, other_path, other, statements = item
    try:
      image = pictures.load(path)
      if statements:  # They are of use where both pictures are.
        pictures.load(other_path)
    except Unusable as error:
      # Its place is kept: statements name pictures by their places.
      return {'image_id': name, 'image': _BLANK, 'statements': []}, (
          name, [str(error)] * len(statements))
    return {'image_id': name, 'image': image, 'statements': [
        {'statement': text, 'other': other, 'label': label}
        for text, label in statements]}, (name, [])


def _items(path, folder, problems):
  """(id, file, file of the other, its place, statements) of each picture."""
  pairs, lines = {}, 0
  for number, entry in json_stream.lines(path):
    lines += 1
    said = _statement(entry)
    if said is None:
      problems.add('malformed statement', f'{path.name}, line {number}')
      continue
    pair, text, label, places = said
    pairs.setdefault(pair, ([], places))[0].append((text, label))
  items, missing = [], 0
  for pair, (statements, places) in pairs.items():
    names = [f'{pair}-img{i}' for i in (0, 1)]
    files = [_first(folder, name, places) for name in names]
    if None in files:
      missing += len(statements)
      tried = ' and '.join(str(folder / place / f'{names[files.index(None)]}.png')
                           for place in places)
      for _ in statements:
        problems.add('missing picture', f'{tried} ({path.name}: {missing} of '
                     f'{lines} statements so far)')
      continue
    for i, (name, file) in enumerate(zip(names, files)):
      items.append((name, file, files[1 - i], len(items) + 1 - 2 * i,
                    tuple(statements) if i == 0 else ()))
  return items


def _statement(entry):
  """Pair, words, label, folders that pictures may be in; None for no statement.
  """
  if not isinstance(entry, Mapping) or not all(
      isinstance(entry.get(key), str) for key in ('identifier', 'sentence')):
    return None
  label = _LABELS.get(str(entry.get('label')).lower())
  pair, _, last = entry['identifier'].rpartition('-')
  if label is None or not pair or not last:
    return None
  split = pair.split('-')[0]
  # The training pictures lie one folder deeper, or do not.
  places = [split] + ([f'{split}/{entry["directory"]}'] if 'directory' in entry
                      else [])
  return pair, ' '.join(entry['sentence'].split()), label, tuple(places[::-1])


def _first(folder, name, places):
  """Path of a picture in the first of the folders that has it; None for none."""
  for place in places:
    for ending in ('.png', '.jpg', '.jpeg'):
      path = os.path.join(folder, place, name + ending)
      if os.path.isfile(path):
        return path
  return None


def _blank() -> bytes:
  """A file of one grey pixel."""
  out = io.BytesIO()
  Image.new('RGB', (1, 1), (127, 127, 127)).save(out, 'png')
  return out.getvalue()


_BLANK = _blank()
