"""What builders of pictures with texts of their own kind have in common.

A record is a picture: its id, its raw file, and its texts.
"""
from collections.abc import Sequence
import functools
import pathlib
from typing import Any

from absl import logging
from bst_jax.data.builders import found, pictures
from bst_jax.data.builders.problems import Problems
from bst_jax.data.making import plan
import tensorflow_datasets as tfds

_MORE_BYTES = 256  # of a record, beside the picture


class OfPictures(tfds.core.GeneratorBasedBuilder):
  """A data set of raw pictures, made from files that the user put into a folder.

  A subclass gives `PART`, the feature of texts, and fills in `splits`.

  Attributes:
    most_bad: how many bad records may be left out.
    source: hash of the files that it is made from.
  """

  COMPRESSED = False  # Pictures are.
  PART: tuple[str, Any] = ('', None)
  CITATION = ''
  most_bad = 0
  source = ''

  def _info(self) -> tfds.core.DatasetInfo:
    f = tfds.features
    name, feature = self.PART
    return tfds.core.DatasetInfo(
        builder=self, description=self.__doc__, citation=self.CITATION,
        features=f.FeaturesDict({
            'image_id': f.Text(),
            'image': f.Image(shape=(None, None, 3), encoding_format='jpeg'),
            name: feature}),
        metadata=tfds.core.MetadataDict(), disable_shuffling=True)

  def splits(self, folder: pathlib.Path, problems: Problems
             ) -> dict[str, Sequence[Any]]:
    """Items of every split whose files are in the folder, for `read`."""
    raise NotImplementedError

  @staticmethod
  def read(item: Any) -> tuple[dict[str, Any], tuple[str, list[str]]]:
    """(example, (id of its picture, what of it is lost)) of an item."""
    raise NotImplementedError

  def _split_generators(self, dl_manager):
    folder, problems = pathlib.Path(dl_manager.manual_dir), Problems(
        self.most_bad)
    with problems.gathered():
      splits = self.splits(folder, problems)
    if not splits:
      raise ValueError(
          f'{self.name} was to be made from {folder}, but no split has its file '
          f'there. {self.MANUAL_DOWNLOAD_INSTRUCTIONS}')
    self.info.metadata.update(
        source=self.source, files=found.checksums(
            folder, ('.json', '.jsonl', '.txt')), pictures={}, left_out={})
    return {split: plan.Plan(
        items, [found.size(item[1]) + _MORE_BYTES for item in items], self.read,
        functools.partial(self._finish, split, problems), problems)
            for split, items in splits.items()}

  def _generate_examples(self, *args):
    raise NotImplementedError  # Splits are plans themselves.

  def _finish(self, split, problems, notes):
    names = []
    with problems.gathered():
      for name, lost in notes:
        names.append(name)
        for what in lost:
          problems.add('unreadable picture', what)
    if not names:
      raise ValueError(f'Split {split} of {self.name} was to be made, but none '
                       f'of its pictures can be used.{problems.told()}')
    facts = self.info.metadata
    facts['pictures'][split] = names
    facts['left_out'] = problems.report()
    if problems.counts:
      logging.warning('%s: bad records are left out:\n%s', self.name, problems)


def files_of(folder: pathlib.Path) -> found.Found:
  """The pictures below a folder's `images`."""
  return found.Found([folder / 'images'], pictures.SUFFIXES)
