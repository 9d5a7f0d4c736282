"""Visual Genome's objects and attributes as a TFDS data set."""
import collections
from collections.abc import Mapping
import math
import pathlib
from typing import Any

from absl import logging
from bst_jax.data.builders import json_stream, of_objects, splitting
from bst_jax.data.builders.annotations import Columns, Picture
from bst_jax.data.builders.located import Located
from bst_jax.data.builders.visual_genome import names as names_lib
from bst_jax.elastic import check_name
import tensorflow_datasets as tfds

_SHARE = 0.05  # of the pictures is for evaluation where no lists say which.
_CLASSES, _ATTRIBUTES = 1600, 400


class VisualGenome(of_objects.OfObjects):
  """Visual Genome's pictures with named boxes and their attributes."""

  VERSION = tfds.core.Version('1.0.0')
  CITATION = ('R. Krishna et al., Visual Genome: Connecting Language and '
              'Vision Using Crowdsourced Dense Image Annotations, IJCV 2017')
  BUILDER_CONFIGS = [tfds.core.BuilderConfig(
      name='images', description='Raw pictures with boxes and attributes.')]
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
  Put into manual_dir objects.json and attributes.json of version 1.2 or later
  and object_alias.txt, of https://homes.cs.washington.edu/~ranjay/visualgenome,
  and unpack images.zip and images2.zip below it: VG_100K/2.jpg and
  VG_100K_2/1.jpg.
  attributes.json and object_alias.txt may be left out. Beside them may lie
    objects_vocab.txt, attributes_vocab.txt: a class a line, synonyms behind
      commas; else the 1,600 and 400 most frequent names are taken,
    train.txt, val.txt, test.txt: a picture a line, as 2 or VG_100K/2.jpg; else
      one picture of twenty is for evaluation.
  Objects of other names are left out and counted. Relations are not read.
  """

  def gathered(self, folder: pathlib.Path, problems) -> of_objects.Sorted:
    path = folder / 'objects.json'
    if not path.is_file():
      return of_objects.Sorted((), (), (), {})
    alias = names_lib.aliases(folder / 'object_alias.txt')
    attributes, counts = _attributes(folder / 'attributes.json')
    kinds, kind_numbers = names_lib.vocabulary(
        folder / 'attributes_vocab.txt', counts, _ATTRIBUTES)
    columns, pictures, said = Columns(), [], {}
    counts = collections.Counter()
    for _, entry in json_stream.members(path):
      number = _of(entry, path, 'image_id', 'id')
      pictures.append(Picture(number, f'{number}.jpg'))
      known = [(one, name) for one in _of(entry, path, 'objects')
               if (name := _name(one, path, alias))]
      boxes = [_box(one, path) for one, _ in known]
      ids = [_of(one, path, 'object_id', 'id') for one, _ in known]
      named = [name for _, name in known]
      for i, told in names_lib.merged(
          boxes, named, [attributes.get(id, ()) for id in ids]):
        counts[named[i]] += 1
        columns.add(
            number, ids[i], boxes[i], said.setdefault(named[i], len(said)),
            attributes=sorted({kind_numbers[kind] for kind in told
                               if kind in kind_numbers}))
    return self._sorted(folder, problems, columns, pictures, said, counts,
                        kinds)

  def _sorted(self, folder, problems, columns, pictures, said, counts, kinds):
    """What there is, of names that are classes alone."""
    classes, numbers = names_lib.vocabulary(
        folder / 'objects_vocab.txt', counts, _CLASSES)
    left_out = collections.Counter(
        {name: count for name, count in counts.items() if name not in numbers})
    if left_out:
      logging.warning(
          '%s: %d objects of %d names that are no class are left out, as %s.',
          self.name, left_out.total(), len(left_out), ', '.join(
              name for name, _ in left_out.most_common(5)))
    annotations = columns.relabelled(
        {place: numbers[name] for name, place in said.items()
         if name in numbers}).of(pictures, range(len(classes)),
                                 lambda what, id, number: None)
    paths = of_objects.paths(annotations, Located(folder), problems)
    lists = splitting.lists(folder)
    if lists:  # A picture that is in none is left out.
      splits = [splitting.listed(lists, one.file, one.id) for one in pictures]
    else:
      splits = [splitting.by_share(str(one.id), _SHARE) for one in pictures]
    return of_objects.Sorted(classes, range(len(classes)), kinds,
                             of_objects.parted(annotations, paths, splits))


def _of(entry: Any, path, *keys: str) -> Any:
  """What an entry has under one of these keys, the first that is there."""
  if isinstance(entry, Mapping):
    for key in keys:
      if key in entry:
        return entry[key]
    check_name(keys[0], sorted(entry), f'field of an entry of {path}')
  raise ValueError(f'{path} was to be read, but one of its entries is '
                   f'{str(entry)[:80]}. Fetch the file again.')


def _name(one, path, alias) -> str:
  """The name of an object, '' where it has none; synsets are not asked for."""
  said = _of(one, path, 'names', 'name')
  said = [said] if isinstance(said, str) else said or []
  name = next((names_lib.plain(one) for one in said if isinstance(one, str)
               and one.strip()), '')
  return alias.get(name, name)


def _box(one, path):
  box = [_of(one, path, *keys) for keys in (
      ('x',), ('y',), ('w', 'width'), ('h', 'height'))]
  if not all(isinstance(side, (int, float)) and math.isfinite(side)
             for side in box):
    raise ValueError(
        f'{path}: object {_of(one, path, "object_id", "id")} has the box '
        f'{box}, which is not a number everywhere. Mend it, or take it out.')
  return tuple(map(float, box))


def _attributes(path):
  """{object: its attributes} of attributes.json, and how often each is."""
  found, counts = {}, collections.Counter()
  if not path.is_file():
    return found, counts
  for _, entry in json_stream.members(path):
    for one in _of(entry, path, 'attributes'):
      told = tuple(dict.fromkeys(
          names_lib.plain(kind) for kind in one.get('attributes') or ()
          if isinstance(kind, str) and kind.strip()))
      if told:
        found[_of(one, path, 'object_id', 'id')] = told
        counts.update(told)
  return found, counts
