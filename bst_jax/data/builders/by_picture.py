"""What the builders of pictures with questions have in common.

A record is a picture: its id, its raw file or its region features, and all
questions about it.
"""
from collections.abc import Iterable, Iterator
import dataclasses
import itertools
import json
import os
import pathlib

from absl import logging
from bst_jax.data.builders import pictures, regions
from bst_jax.data.builders.asked import Question
from bst_jax.data.builders.found import beside, checksums, Found
from bst_jax.data.builders.problems import Problems
import numpy as np
import tensorflow_datasets as tfds


@dataclasses.dataclass
class Config(tfds.core.BuilderConfig):
  """What the records of pictures hold.

  Attributes:
    content: 'regions' or 'image'.
    num_regions: N of a batch; 0: as many as the richest picture has.
    feature_size: of a region; 0: as the first picture has.
  """

  content: str = 'regions'
  num_regions: int = 0
  feature_size: int = 0


class ByPicture(tfds.core.GeneratorBasedBuilder):
  """A data set made from files that the user put into a folder.

  A subclass gives `RULE` and `TYPES` and fills in `splits`.

  Attributes:
    most_bad: how many bad records may be left out.
    source: hash of the files that it is made from.
  """

  RULE = 'vqa'
  TYPES: tuple[str, ...] = ()
  # Split name -> splits that it stands for.
  ALIASES: dict[str, tuple[str, ...]] = {}
  CITATION = ''
  most_bad = 0
  source = ''

  def _info(self) -> tfds.core.DatasetInfo:
    f = tfds.features
    parts = {
        'image_id': f.Text(),
        'questions': f.Sequence({
            'question_id': f.Text(), 'question': f.Text(), 'type': f.Text(),
            'answer': f.Text(),
            # One a line: TFDS needs TensorFlow for a list in a list.
            'answers': f.Text(),
        }),
    }
    if self.builder_config.content == 'image':
      parts['image'] = f.Image(shape=(None, None, 3), encoding_format='jpeg')
    else:
      # Raw bytes are read many times quicker than lists of numbers.
      for name in ('regions', 'boxes'):
        parts[name] = f.Tensor(shape=(None, None), dtype=np.float32,
                               encoding='bytes')
    return tfds.core.DatasetInfo(
        builder=self, description=self.__doc__, features=f.FeaturesDict(parts),
        citation=self.CITATION, metadata=tfds.core.MetadataDict(),
        disable_shuffling=True)  # Training shuffles; files are written once.

  def splits(self, folder: pathlib.Path, problems: Problems
             ) -> dict[str, dict[str, list[Question]]]:
    """Questions by picture of each split whose files are in the folder."""
    raise NotImplementedError

  def pictures_of(self, folder: pathlib.Path, split: str) -> list[pathlib.Path]:
    """Folders in which a split's raw pictures lie."""
    del split
    return [folder / 'images']

  def features_of(self, folder: pathlib.Path, split: str) -> pathlib.Path:
    """Folder below which a split's features lie."""
    del split
    return folder / 'features'

  def _split_generators(self, dl_manager):
    folder = pathlib.Path(dl_manager.manual_dir)
    problems = Problems(self.most_bad)
    splits = self.splits(folder, problems)
    if not splits:
      raise ValueError(
          f'{self.name} was to be made from {folder}, but no split has its '
          f'question file there. {self.MANUAL_DOWNLOAD_INSTRUCTIONS}')
    facts, files = self.info.metadata, checksums(folder)
    logging.info('SHA-256 of the .json and .txt files in %s:\n%s',
                 folder, '\n'.join(f'{d}  {n}' for n, d in files.items()))
    facts.update(
        rule=self.RULE, source=self.source, files=files, pictures={},
        left_out={}, most_regions=0,
        num_regions=self.builder_config.num_regions,
        types=sorted({*self.TYPES, *(
            q.type for asked in splits.values() for of in asked.values()
            for q in of)}))
    return {split: self._generate_examples(folder, split, asked, problems)
            for split, asked in splits.items()}

  def _generate_examples(self, folder, split, asked, problems):
    facts, kept = self.info.metadata, []
    with open(beside(self.data_dir, split), 'w', encoding='utf-8') as words:
      for i, (picture, arrays) in enumerate(
          self._content(folder, split, asked, problems)):
        kept.append(picture)
        if 'boxes' in arrays:
          facts['most_regions'] = max(facts['most_regions'],
                                      len(arrays['boxes']))
        questions = [q.record() for q in asked[picture]]
        words.write(json.dumps(questions, ensure_ascii=False) + '\n')
        yield i, {'image_id': picture, **arrays, 'questions': questions}
    if not kept:
      raise ValueError(f'Split {split} of {self.name} was to be made, but none '
                       f'of its {len(asked)} pictures can be used:\n{problems}')
    facts['pictures'][split] = kept
    facts['num_regions'] = (self.builder_config.num_regions
                            or facts['most_regions'])
    facts['left_out'] = problems.report()
    if problems.counts:
      logging.warning('%s: bad records are left out:\n%s', self.name, problems)

  def _content(self, folder, split, asked,
               problems) -> Iterator[tuple[str, dict]]:
    """(picture, arrays or bytes) of the pictures that can be used."""
    if self.builder_config.content == 'image':
      there = Found(self.pictures_of(folder, split), pictures.SUFFIXES)
      return pictures.read(there, asked, problems)
    return regions.read(self.features_of(folder, split), asked, problems,
                        self.builder_config.feature_size)


def without(asked: dict[str, list[Question]],
            pictures: Iterable[str]) -> dict[str, list[Question]]:
  """Questions about all other pictures."""
  left_out = set(pictures)
  return {p: of for p, of in asked.items() if p not in left_out}


def check_disjoint(asked: dict[str, dict[str, list[Question]]],
                   name: str) -> None:
  """Raises where a picture is in two splits."""
  for one, other in itertools.combinations(asked, 2):
    both = sorted(asked[one].keys() & asked[other].keys())
    if both:
      raise ValueError(
          f'Splits {one} and {other} of {name} were to be made, but '
          f'{len(both)} pictures are in both, as {both[:5]}: what one measures '
          'the other would have shown. Put the right file of each split there.')


def first_of(folder: pathlib.Path, *names: str) -> pathlib.Path | None:
  """The first of these files that is in the folder."""
  return next((folder / n for n in names if os.path.isfile(folder / n)), None)
