"""SNLI-VE as a TFDS data set in ArrayRecord files.

A hypothesis is a question about its picture whose answer is one of three.
"""
from collections.abc import Mapping
import pathlib

from absl import logging
from bst_jax.data.builders import asked as asked_lib
from bst_jax.data.builders import by_picture, json_stream
from bst_jax.data.builders.asked import Question
import tensorflow_datasets as tfds

_FILES = {split: f'snli_ve_{split}.jsonl' for split in ('train', 'dev', 'test')}
LABELS = 'contradiction', 'neutral', 'entailment'
# The picture's field, as different tools write it.
_PICTURE = 'Flickr30K_ID', 'Flikr30kID', 'Flickr30kID'


class SnliVe(by_picture.ByPicture):
  """SNLI-VE: whether a picture entails a sentence, contradicts it, or neither."""

  VERSION = tfds.core.Version('1.0.0')
  RULE = 'gqa'  # One is right.
  TYPES = ('entailment',)
  CITATION = ('N. Xie et al., Visual Entailment: A Novel Task for Fine-Grained '
              'Image Understanding, arXiv 1901.06706')
  BUILDER_CONFIGS = [by_picture.Config(
      name='images', description='Raw pictures.', content='image')]
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
  Put into manual_dir what is to be used of snli_ve_train.jsonl, snli_ve_dev.jsonl
  and snli_ve_test.jsonl, which https://github.com/necla-ml/SNLI-VE makes from SNLI;
  a split whose file is missing is left out. Put below manual_dir/images the
  pictures of Flickr30K.
  """

  def splits(self, folder: pathlib.Path, problems):
    found = {split: read(folder / name, problems)
             for split, name in _FILES.items() if (folder / name).is_file()}
    by_picture.check_disjoint(found, self.name)
    return found


def read(path: pathlib.Path, problems) -> dict[str, list[Question]]:
  """Hypotheses of a file by picture.

  Those on which annotators did not agree, and those of pictures of Visual
  Genome, are left out and counted in the log.

  Raises:
    ValueError: another label, or SNLI without pictures.
  """
  asked = asked_lib.Asked(problems, path.name)
  undecided = elsewhere = 0
  for number, entry in json_stream.lines(path):
    if not isinstance(entry, Mapping) or not isinstance(
        entry.get('sentence2'), str):
      asked.bad('malformed line', f'line {number}')
      continue
    label, name = entry.get('gold_label'), str(entry.get('pairID', number))
    if label == '-':
      undecided += 1
      continue
    if label not in LABELS:
      raise ValueError(
          f'{path.name}, line {number}: the label is {label!r}, and must be one '
          f'of {", ".join(LABELS)}, or - where annotators did not agree.')
    if name.startswith('vg_'):
      elsewhere += 1
      continue
    picture = next((entry[key] for key in _PICTURE if key in entry), None)
    if picture is None:
      raise ValueError(
          f'{path.name}, line {number}: no field names a picture '
          f'({", ".join(_PICTURE[:2])}), as in SNLI itself. Make the file by the '
          'generator of SNLI-VE, which adds it.')
    asked.add(str(picture).removesuffix('.jpg'), Question(
        name, ' '.join(entry['sentence2'].split()), 'entailment', label,
        (label,)))
  if undecided or elsewhere:
    logging.info('%s: %d lines without a label that annotators agreed on and %d '
                 'of pictures of Visual Genome are left out.', path.name,
                 undecided, elsewhere)
  if not asked.pictures:
    raise ValueError(f'{path} was to be read as an SNLI-VE file, but has no '
                     f'usable line. Make it again.{problems.told()}')
  return dict(asked.pictures)
