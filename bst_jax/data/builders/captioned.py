"""What builders of pictures with captions have in common.

A record is a picture:
  image_id, image: its id, and its raw file.
  captions: sentences about it.
  tags: of N, name and confidence, 0 to 1, of what is in it; 1 where people said
    so. None where nobody looked.
  source: the data set or file that it is of.
  caption_version, tag_version, feature_version: who wrote its captions and its
    tags, and which extractor made its features; '' for people, for the data
    set's own, and for none.
"""
from collections.abc import Mapping
import math
import pathlib
from typing import Any, NamedTuple

from bst_jax.data.builders import json_stream, of_pictures, pictures, splitting
from bst_jax.data.builders.problems import Problems
import numpy as np
import tensorflow_datasets as tfds

TAGS = 'tags.jsonl'


class Told(NamedTuple):
  """What is known of a picture beside its file.

  Attributes:
    captions: sentences, each in one line.
    tags: (name, confidence) of each.
    source, caption_version, tag_version, feature_version: of the record.
  """

  captions: tuple[str, ...]
  tags: tuple[tuple[str, float], ...] = ()
  source: str = ''
  caption_version: str = ''
  tag_version: str = ''
  feature_version: str = ''


class Captioned(of_pictures.OfPictures):
  """A data set of raw pictures with captions, and tags if there are any.

  Items of `splits` are (id, path, `Told`).
  """

  def _info(self) -> tfds.core.DatasetInfo:
    f = tfds.features
    texts = 'source', 'caption_version', 'tag_version', 'feature_version'
    return tfds.core.DatasetInfo(
        builder=self, description=self.__doc__, citation=self.CITATION,
        features=f.FeaturesDict({
            'image_id': f.Text(),
            'image': f.Image(shape=(None, None, 3), encoding_format='jpeg'),
            'captions': f.Sequence(f.Text()),
            'tags': f.Sequence({'name': f.Text(), 'confidence': np.float32}),
            **{name: f.Text() for name in texts}}),
        metadata=tfds.core.MetadataDict(), disable_shuffling=True)

  @staticmethod
  def read(item):
    name, path, told = item
    return told._asdict() | {
        'image_id': name, 'image': pictures.load(path),
        'captions': list(told.captions),
        'tags': [{'name': tag, 'confidence': confidence}
                 for tag, confidence in told.tags]}, (name, [])


def sentence(text: Any) -> str:
  """A caption in one line, any white space a blank; '' for none."""
  return ' '.join(text.split()) if isinstance(text, str) else ''


def tags(value: Any) -> tuple[tuple[str, float], ...] | None:
  """(name, confidence) of what a file says are tags; None if it says nonsense.

  Args:
    value: [[name, confidence], …], {name: confidence}, or names alone, which
      people have looked at: their confidence is 1.
  """
  if isinstance(value, Mapping):
    value = [*value.items()]
  if not isinstance(value, list):
    return None
  found = []
  for one in value:
    name, confidence = (one, 1.0) if isinstance(one, str) else (
        one if isinstance(one, (list, tuple)) and len(one) == 2 else ('', 0))
    if not sentence(name) or isinstance(confidence, bool) or not isinstance(
        confidence, (int, float)) or not (
            math.isfinite(confidence) and 0 <= confidence <= 1):
      return None
    found.append((sentence(name), float(confidence)))
  return tuple(found)


def tags_of(folder: pathlib.Path, problems: Problems,
            ) -> dict[str, tuple[tuple[tuple[str, float], ...], str]]:
  """{picture's name without ending: (tags, their version)} of `tags.jsonl`.

  A line is {"image": name or id, "tags": as of `tags`, "version": text}, of a
  tagger that has looked at the pictures. Nothing where there is no such file.
  """
  found, path = {}, folder / TAGS
  for number, entry in json_stream.lines(path) if path.is_file() else ():
    told = tags(entry.get('tags')) if isinstance(entry, Mapping) else None
    if told is None or not isinstance(entry.get('image'), (str, int)):
      problems.add('malformed tags', f'{path.name}, line {number}')
      continue
    found[splitting.stem(str(entry['image']))] = told, str(
        entry.get('version', ''))
  return found
