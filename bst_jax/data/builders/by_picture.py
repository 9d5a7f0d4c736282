"""What the builders of pictures with questions have in common.

A record is a picture: its id, its raw file or its region features, and all
questions about it.
"""
from collections.abc import Iterable
import dataclasses
import functools
import itertools
import json
import os
import pathlib

from absl import logging
from bst_jax.data.builders import pictures, region_files, regions
from bst_jax.data.builders.asked import Question
from bst_jax.data.builders.found import beside, checksums, Found
from bst_jax.data.builders.problems import Problems
from bst_jax.data.making import plan
from bst_jax.elastic import check_name
from etils import epath
import numpy as np
import tensorflow_datasets as tfds

_MORE_BYTES = 64  # of a record or question, beside its contents


@dataclasses.dataclass
class Config(tfds.core.BuilderConfig):
  """What the records of pictures hold.

  Attributes:
    content: 'regions' or 'image'.
    num_regions: N of a batch; 0: as many as the richest picture has.
    feature_size: of a region; 0: as the first pictures have.
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
    store_dtype: of region features that are made, of `regions.DTYPES`.
    position: what their rows have behind them, of `regions.POSITIONS`; '':
      nothing.
  """

  RULE = 'vqa'
  TYPES: tuple[str, ...] = ()
  # Split name -> splits that it stands for.
  ALIASES: dict[str, tuple[str, ...]] = {}
  CITATION = ''
  COMPRESSED = False  # Pictures are, and features hardly can be.
  most_bad = 0
  source = ''
  store_dtype = 'float16'
  position = ''

  def __init__(self, *, store_dtype: str = '', position: str = '', **kwargs):
    """`store_dtype` and `position` are of regions that are made; '' for the
    usual one, and for what those on disk were made with.
    """
    if position:
      check_name(position, regions.POSITIONS, 'config.data.position')
    if store_dtype:
      check_name(store_dtype, regions.DTYPES, 'config.data.store_dtype')
      self.store_dtype = store_dtype
    super().__init__(**kwargs)
    facts = self.info.metadata  # Empty where nothing is on disk.
    made = facts.get('position', '') if facts else position
    if position and made != position:
      raise ValueError(
          f'config.data.position is {position!r}, but its regions were made '
          + (f'with {made!r}' if made else 'without'))
    self.position = made

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
      for name, dtype in (('regions', self.stored_as), ('boxes', 'float32')):
        parts[name] = f.Tensor(shape=(None, None), dtype=np.dtype(dtype).type,
                               encoding='bytes')
    return tfds.core.DatasetInfo(
        builder=self, description=self.__doc__, features=f.FeaturesDict(parts),
        citation=self.CITATION, metadata=tfds.core.MetadataDict(),
        disable_shuffling=True)  # Training shuffles; files are written once.

  @functools.cached_property
  def stored_as(self) -> str:
    """Number type of regions on disk; `store_dtype` where there are none."""
    path = epath.Path(self.data_dir) / 'features.json'
    if not path.exists():
      return self.store_dtype
    parts = json.loads(path.read_text())['featuresDict']['features']
    return parts['regions']['tensor']['dtype']

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
    with problems.gathered():
      return self._plans(folder, self.splits(folder, problems), problems)

  def _plans(self, folder, splits, problems):
    """Split -> what it is made of."""
    if not splits:
      raise ValueError(
          f'{self.name} was to be made from {folder}, but no split has its '
          f'question file there. {self.MANUAL_DOWNLOAD_INSTRUCTIONS}')
    facts, files = self.info.metadata, checksums(folder)
    logging.info('SHA-256 of the .json and .txt files in %s:\n%s',
                 folder, '\n'.join(f'{d}  {n}' for n, d in files.items()))
    facts.update(
        rule=self.RULE, source=self.source, files=files, pictures={},
        left_out={}, most_regions=0, extractor=None, **self._kept(),
        num_regions=self.builder_config.num_regions,
        types=sorted({*self.TYPES, *(
            q.type for asked in splits.values() for of in asked.values()
            for q in of)}))
    return {split: self._plan(folder, split, asked, problems)
            for split, asked in splits.items()}

  def _generate_examples(self, *args):
    raise NotImplementedError  # Splits are plans themselves.

  def _kept(self) -> dict[str, dict[str, str]]:
    """What the metadata say of how features are kept."""
    if self.builder_config.content == 'image':
      return {}
    logging.info('%s: regions are kept as %s; config.data.store_dtype is '
                 'another way.', self.name, self.stored_as)
    return {'kept': {'regions': self.stored_as, 'boxes': 'float32'},
            'position': self.position}

  def _plan(self, folder, split, asked, problems):
    finish = functools.partial(self._finish, split, asked, problems)
    if self.builder_config.content == 'image':
      there = Found(self.pictures_of(folder, split), pictures.SUFFIXES)
      there = pictures.places(there, asked, problems)
      sizes, read = [os.path.getsize(path) for _, path in there], _with_image
    else:
      there = regions.places(self.features_of(folder, split), asked, problems)
      self.info.metadata['extractor'] = region_files.extractor(
          there, self.info.metadata['extractor'])
      size = self.builder_config.feature_size
      size, share = regions.first_usable(there, size, self.position) or (
          size, 0)
      share *= np.dtype(self.stored_as).itemsize / 4
      sizes = [int(share * place.size) for place in there]
      read = functools.partial(_with_regions, size, self.stored_as,
                               self.position)
    items = [(place, asked[place[0]]) for place in there]
    sizes = [size + _MORE_BYTES + sum(map(_bytes_of, questions))
             for size, (_, questions) in zip(sizes, items)]
    return plan.Plan(items, sizes, read, finish, problems)

  def _finish(self, split, asked, problems, notes):
    """Writes a split's questions beside it, and what is known of all."""
    facts, kept = self.info.metadata, []
    with open(beside(self.data_dir, split), 'w', encoding='utf-8') as words:
      for picture, count in notes:
        kept.append(picture)
        facts['most_regions'] = max(facts['most_regions'], count)
        questions = [q.record() for q in asked[picture]]
        words.write(json.dumps(questions, ensure_ascii=False) + '\n')
    if not kept:
      raise ValueError(f'Split {split} of {self.name} was to be made, but none '
                       f'of its {len(asked)} pictures can be used.{problems.told()}')
    facts['pictures'][split] = kept
    facts['num_regions'] = (self.builder_config.num_regions
                            or facts['most_regions'])
    facts['left_out'] = problems.report()
    if problems.counts:
      logging.warning('%s: bad records are left out:\n%s', self.name, problems)


def _with_image(item):
  (picture, path), questions = item
  return {'image_id': picture, 'image': pictures.load(path),
          'questions': [q.record() for q in questions]}, (picture, 0)


def _with_regions(size, dtype, position, item):
  place, questions = item
  arrays = regions.load(place, size, dtype, position)
  return {'image_id': place.picture, **arrays,
          'questions': [q.record() for q in questions]}, (
              place.picture, len(arrays['boxes']))


def _bytes_of(question: Question) -> int:
  """About what a question takes in a record."""
  return len(question.id) + len(question.question) + len(question.answer) + sum(
      map(len, question.answers)) + _MORE_BYTES


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
