"""COCO's captions in Karpathy's splits as a TFDS data set in ArrayRecord files.
"""
from collections.abc import Mapping
import pathlib

from absl import logging
from bst_jax.data.builders import captioned, json_stream, of_pictures, pictures
import tensorflow_datasets as tfds

_FILE = 'dataset_coco.json'
# Word of the file -> (split, pictures of the published file).
_SPLITS = {'train': ('train_only', 82_783), 'restval': ('restval', 30_504),
           'val': ('val', 5_000), 'test': ('test', 5_000)}


class CocoCaptions(captioned.Captioned):
  """COCO's pictures with their captions, in the splits of Karpathy.

  Split train is what the file calls train and restval, 113,287 pictures, as is
  usual; train_only leaves restval out.
  """

  VERSION = tfds.core.Version('1.0.0')
  ALIASES = {'train': ('train_only', 'restval')}
  CITATION = ('X. Chen et al., Microsoft COCO Captions: Data Collection and '
              'Evaluation Server, 2015; splits: A. Karpathy and L. Fei-Fei, '
              'Deep Visual-Semantic Alignments for Generating Image Descriptions, '
              'CVPR 2015')
  BUILDER_CONFIGS = [tfds.core.BuilderConfig(
      name='images', description='Raw pictures with captions.')]
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
  Put into manual_dir Karpathy's dataset_coco.json, of
  https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip,
  and below manual_dir/images the pictures of https://cocodataset.org/#download,
  train2014 and val2014, or train2017 and val2017, which are the same. If there
  are tags, tags.jsonl has a line {"image": id, "tags": [[name, confidence], …],
  "version": …} for each picture.
  """

  def splits(self, folder: pathlib.Path, problems):
    path = folder / _FILE
    if not path.is_file():
      return {}
    told = _entries(path, captioned.tags_of(folder, problems), problems)
    self._tell(told)
    there = of_pictures.files_of(folder)
    return {split: [(name, place, of[name]) for name, place in pictures.places(
        there, of, problems)] for split, of in told.items() if of}

  def _tell(self, told):
    """Logs how many pictures each split has, beside the published numbers."""
    counts = {split: len(of) for split, of in told.items()}
    logging.info(
        '%s: split train is %d pictures that the file calls train and %d that '
        'it calls restval; train_only leaves these out.', self.name,
        counts['train_only'], counts['restval'])
    other = [f'{split} has {counts[split]:,} pictures and not {published:,}'
             for split, published in _SPLITS.values()
             if counts[split] != published]
    logging.info('%s: %s', self.name, (
        f'this is not the published file: {"; ".join(other)}.' if other else
        'the numbers of pictures are those of the published file.'))


def _entries(path, tags, problems):
  """{split: {id: what is told of the picture}}."""
  found, split_of = {split: {} for split, _ in _SPLITS.values()}, {}
  for name, entry in json_stream.members(path, 'images'):
    if name != 'images':
      continue
    id, captions = _id(entry), _captions(entry)
    if not id or not captions:
      problems.add('malformed picture', f'{path.name}: {str(entry)[:80]}')
      continue
    word = str(entry.get('split'))
    if word not in _SPLITS:
      raise ValueError(
          f'{path} was to be sorted into splits, but picture {id} is of split '
          f'{word!r}. Karpathy\'s file has {", ".join(_SPLITS)}.')
    first = split_of.setdefault(id, word)
    if first != word:
      raise ValueError(
          f'{path} was to be sorted into splits, but picture {id} is in '
          f'{first} and in {word}: what one measures the other would have shown. Leave '
          'it in one.')
    split = found[_SPLITS[word][0]]
    if id in split:
      problems.add('picture listed twice', f'{path.name}: picture {id}')
      continue
    split[id] = captioned.Told(captions, *_tags(id, entry, tags))
  return found


def _id(entry):
  """COCO's number of a picture; '' where the entry is none of a picture."""
  if not isinstance(entry, Mapping):
    return ''
  id = entry.get('cocoid', entry.get('imgid'))
  return str(id) if isinstance(id, int) and not isinstance(id, bool) else ''


def _captions(entry):
  sentences = entry.get('sentences') if isinstance(entry, Mapping) else None
  if not isinstance(sentences, list):
    return ()
  said = [captioned.sentence(one.get('raw')) for one in sentences
          if isinstance(one, Mapping)]
  return tuple(text for text in said if text)


def _tags(id, entry, tags):
  """Tags, source, and versions of captions and of tags."""
  name = pathlib.PurePath(str(entry.get('filename', ''))).stem
  found, version = tags.get(id) or tags.get(name) or ((), '')
  return found, 'coco', '', version
