"""Flickr30K in Karpathy's splits as a TFDS data set in ArrayRecord files."""
from collections.abc import Mapping
import pathlib

from bst_jax.data.builders import json_stream, of_pictures, pictures
import tensorflow_datasets as tfds

_FILE, _SPLITS = 'dataset_flickr30k.json', ('train', 'val', 'test')


class Flickr30k(of_pictures.OfPictures):
  """Flickr30K's pictures with their captions, in the splits of Karpathy."""

  VERSION = tfds.core.Version('1.0.0')
  PART = 'captions', tfds.features.Sequence(tfds.features.Text())
  CITATION = ('P. Young et al., From image descriptions to visual denotations, '
              'TACL 2014; splits: A. Karpathy and L. Fei-Fei, Deep '
              'Visual-Semantic Alignments for Generating Image Descriptions, '
              'CVPR 2015')
  BUILDER_CONFIGS = [tfds.core.BuilderConfig(
      name='images', description='Raw pictures with captions.')]
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
  Put into manual_dir Karpathy's dataset_flickr30k.json, of
  https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip,
  and below manual_dir/images the pictures, which their authors give on request:
  https://shannon.cs.illinois.edu/DenotationGraph/
  """

  def splits(self, folder: pathlib.Path, problems):
    path = folder / _FILE
    if not path.is_file():
      return {}
    asked = {split: {} for split in _SPLITS}
    for name, entry in json_stream.members(path, 'images'):
      if name != 'images':
        continue
      said = _captions(entry)
      if said is None or entry.get('split') not in asked:
        problems.add('malformed picture', f'{path.name}: {str(entry)[:80]}')
        continue
      asked[entry['split']][pathlib.PurePath(entry['filename']).stem] = said
    there = of_pictures.files_of(folder)
    return {split: [(name, place, of[name]) for name, place in pictures.places(
        there, of, problems)] for split, of in asked.items() if of}

  @staticmethod
  def read(item):
    name, path, captions = item
    return {'image_id': name, 'image': pictures.load(path),
            'captions': list(captions)}, (name, [])


def _captions(entry):
  """A picture's sentences; None where the entry is none of a picture."""
  if not isinstance(entry, Mapping) or not isinstance(
      entry.get('filename'), str) or not isinstance(
          entry.get('sentences'), list):
    return None
  said = [one.get('raw') for one in entry['sentences']
          if isinstance(one, Mapping)]
  # A line break in a caption is a space.
  said = [' '.join(text.split()) for text in said if isinstance(text, str)]
  return tuple(text for text in said if text) or None
