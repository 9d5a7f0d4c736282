"""Folders of pictures, one a class, as a TFDS data set."""
import functools
import os
import pathlib

from absl import logging
from bst_jax.data.builders import found, pictures, problems
from bst_jax.data.builders.class_folders import layout
from bst_jax.data.making import plan
import numpy as np
import tensorflow_datasets as tfds

_MORE_BYTES = 128  # of a record, beside the picture


class ClassFolders(tfds.core.GeneratorBasedBuilder):
  """Pictures in SPLIT/CLASS/NAME.jpg, as ImageNet lies unpacked."""

  VERSION = tfds.core.Version('1.0.0')
  BY_FOLDER = True
  COMPRESSED = False  # Pictures are.
  BUILDER_CONFIGS = [tfds.core.BuilderConfig(
      name='images', description='Pictures in SPLIT/CLASS/NAME.jpg.')]
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
  manual_dir holds a folder for each split, as train and val, in it one for each
  class, named as the class, and in that the pictures. All splits have the same
  classes; see README.md in bst_jax/data/builders/class_folders.
  """

  def _info(self):
    return tfds.core.DatasetInfo(
        builder=self,
        description=self.__doc__,
        features=tfds.features.FeaturesDict({
            'image': tfds.features.Image(),
            'label': tfds.features.ClassLabel(),  # Named when they are seen.
            'file_name': tfds.features.Text(),
        }),
        metadata=tfds.core.MetadataDict())

  def _split_generators(self, dl_manager):
    folder = pathlib.Path(os.fspath(dl_manager.manual_dir))
    self.info.features['label'].names = layout.classes(folder)
    self.info.metadata['source'] = self.source
    noted = problems.Problems(self.most_bad)
    return {path.name: self._plan(path, noted)
            for path in layout.folders(folder)}

  def _generate_examples(self, *args):
    raise NotImplementedError  # Splits are plans themselves.

  def _plan(self, folder, noted):
    """A split's pictures, mixed: those that come first are of all classes."""
    start = len(os.path.join(folder, ''))
    names, others = [], []
    for path in found.files(folder):
      (names if layout.is_picture(path) else others).append(path[start:])
    if others:
      logging.info('%d files below %s are no pictures and not read, as %s.',
                   len(others), folder, others[:3])
    classes = {c: i for i, c in enumerate(self.info.features['label'].names)}
    items = []
    for i in plan.by_hash(names, folder.name):
      parts = pathlib.PurePath(names[i]).parts
      items.append((os.fspath(folder), names[i],
                    classes[parts[0]] if len(parts) > 1 else None))
    sizes = [found.size(os.path.join(folder, name)) + _MORE_BYTES
             for _, name, _ in items]
    return plan.Plan(items, sizes, _read, functools.partial(
        self._finish, folder, noted), noted)

  def _finish(self, folder, noted, labels):
    labels = np.fromiter(labels, np.int64)
    if not len(labels):
      raise ValueError(
          f'{folder} was to be a split, but there is no picture in it that can '
          f'be read: CLASS/NAME{", ".join(pictures.SUFFIXES)}.{noted.told()}')
    names = self.info.features['label'].names
    empty = sorted({*range(len(names))} - {*labels.tolist()})
    if empty:
      logging.warning('%s: %d of the %d classes have no picture there, as %s.',
                      folder, len(empty), len(names),
                      ', '.join(names[i] for i in empty[:5]))
    if len(names) == 1:
      logging.warning('%s has one class, %s: there is nothing to tell apart.',
                      folder, names[0])
    np.save(found.column(self.data_dir, folder.name, 'label'), labels)
    self.info.metadata['left_out'] = noted.report()
    if noted.counts:
      logging.warning('%s: pictures are left out:\n%s', folder, noted)


def _read(item):
  folder, name, label = item
  if label is None:
    raise problems.Unusable(
        'picture beside the classes',
        f'{os.path.join(folder, name)} is in no folder of a class')
  return {'image': pictures.load(os.path.join(folder, name)), 'label': label,
          'file_name': pathlib.PurePath(name).as_posix()}, label
