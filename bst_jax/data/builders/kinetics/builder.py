"""Kinetics-400 and -600 as TFDS data sets, from clips that the user has."""
import dataclasses
import functools
import os
import pathlib

from absl import logging
from bst_jax.data import video
from bst_jax.data.builders import found, problems
from bst_jax.data.builders.kinetics import annotations
from bst_jax.data.making import plan
import numpy as np
import tensorflow_datasets as tfds

_LISTED = 100  # missing clips of a split
_MORE_BYTES = 256  # of a record, beside the video


@dataclasses.dataclass
class Config(tfds.core.BuilderConfig):
  """A Kinetics of so many classes."""

  classes: int = 400


class Kinetics(tfds.core.GeneratorBasedBuilder):
  """Clips of ten seconds of human actions, as their encoded files.

  Videos vanish from YouTube, so that nobody has all of them: those that are
  missing are counted and listed in the data set's metadata, and more than
  `most_missing` of a split are an error. Files that do not decode count as bad
  records; `check_videos` says how many of their frames are tried.

  Reference: Kay et al., "The Kinetics Human Action Video Dataset", arXiv
    1705.06950; Carreira et al., "A Short Note about Kinetics-600", arXiv
    1808.01340.
  """

  VERSION = tfds.core.Version('1.0.0')
  BUILDER_CONFIGS = [
      Config(name='400', description='400 classes.'),
      Config(name='600', description='600 classes.', classes=600),
  ]
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
  manual_dir holds the official train.csv, val.csv (or validate.csv) and
  test.csv, whose columns are label, youtube_id, time_start, time_end and split,
  or those of them that you need; they may lie in annotations/. The clips, cut
  to their times, are anywhere below it, as train/LABEL/ID_000010_000020.mp4 or
  train/ID_000010_000020.mp4, also .webm, .mkv or .avi.
  """
  COMPRESSED = False  # Videos are.
  most_bad, most_missing, source, check_videos = 0, 1.0, '', 'all'
  OPTIONS = ('check_videos',)  # On which records depend, beside the files.

  def _info(self):
    return tfds.core.DatasetInfo(
        builder=self,
        description=self.__doc__,
        features=tfds.features.FeaturesDict({
            'video': tfds.features.Text(),  # The bytes of the file.
            'frames': np.int64,
            'label': tfds.features.ClassLabel(),  # Named when they are seen.
            'clip': tfds.features.Text(),
        }),
        # Training shuffles; files of this size are written once.
        disable_shuffling=True,
        metadata=tfds.core.MetadataDict(),
        homepage='https://github.com/cvdfoundation/kinetics-dataset')

  def _split_generators(self, dl_manager):
    folder = pathlib.Path(os.fspath(dl_manager.manual_dir))
    splits = annotations.read(folder)
    files = annotations.Files([path for path in found.files(folder) if
                               path.lower().endswith(video.SUFFIXES)])
    self.info.features['label'].names = self._classes(folder, splits)
    facts = self.info.metadata
    # A file of records that was lost is made again as it was.
    self.check_videos = facts.get('checked', 'ends') if facts else (
        self.check_videos)
    facts.update(source=self.source, missing={}, checked=self.check_videos,
                 files=found.checksums(folder, ('.csv',)))
    there = {split: self._there(split, clips, files)
             for split, clips in splits.items()}
    if not any(there.values()):
      first = next(clips[0] for clips in splits.values() if clips)
      raise ValueError(
          f'{self.info.full_name} was to be made from {folder}, but no clip of '
          f'{", ".join(splits)} is there, as {first.names[0]}.mp4. '
          f'{self.MANUAL_DOWNLOAD_INSTRUCTIONS}')
    noted = problems.Problems(self.most_bad)
    return {split: self._plan(split, clips, noted)
            for split, clips in there.items() if clips}

  def _generate_examples(self, *args):
    raise NotImplementedError  # Splits are plans themselves.

  def _classes(self, folder, splits):
    """Names of the classes, sorted, as models of Kinetics number them."""
    names = sorted({c.label for clips in splits.values() for c in clips} - {''})
    if not names:
      raise ValueError(
          f'{self.info.full_name} was to be made from {folder}, but no .csv '
          f'file there names a class. {self.MANUAL_DOWNLOAD_INSTRUCTIONS}')
    wanted = self.builder_config.classes
    if len(names) > wanted:
      raise ValueError(
          f'{self.info.full_name} was to be made from {folder}, but its .csv '
          f'files have {len(names)} classes, not {wanted}. Is it another '
          'Kinetics?')
    if len(names) < wanted:
      logging.warning('%s has %d classes, not %d: models that were trained on '
                      'all of them number them otherwise.', folder, len(names),
                      wanted)
    return names

  def _there(self, split, clips, files) -> list[tuple[annotations.Clip, str]]:
    """The clips of a split that have a file, with its path."""
    paired = [(clip, files(clip)) for clip in clips]
    missing = [clip.names[0] for clip, path in paired if path is None]
    if missing:
      self.info.metadata['missing'][split] = {
          'count': len(missing), 'of': len(clips), 'first': missing[:_LISTED]}
      logging.warning('%d of the %d clips of %s are missing, as %s.',
                      len(missing), len(clips), split, missing[:3])
    there = [(clip, path) for clip, path in paired if path is not None]
    if there and len(missing) > self.most_missing * len(clips):
      raise ValueError(
          f'{len(missing)} of the {len(clips)} clips of {split} are missing, as '
          f'{missing[:3]}: more than config.data.max_missing allows, which is '
          f'{self.most_missing:g} of them. Fetch them, or raise it.')
    return there

  def _plan(self, split, clips, noted):
    number = self.info.features['label'].str2int
    items = [(path, number(clip.label) if clip.label else -1, clip.names[0])
             for clip, path in clips]
    sizes = [os.path.getsize(path) + _MORE_BYTES for path, _, _ in items]
    read = functools.partial(_read, self.check_videos)
    return plan.Plan(items, sizes, read, functools.partial(
        self._finish, split, len(clips), noted), noted)

  def _finish(self, split, clips, noted, notes):
    columns = np.array([*notes], np.int64).reshape(-1, 2)
    if not len(columns):
      raise ValueError(f'Split {split} of {self.info.full_name} was to be made, '
                       f'but none of its {clips} clips can be read.'
                       f'{noted.told()}')
    for name, column in zip(('label', 'frames'), columns.T):
      np.save(found.column(self.data_dir, split, name), column)
    self.info.metadata['left_out'] = noted.report()
    if noted.counts:
      logging.warning('%s: clips are left out:\n%s', self.info.full_name, noted)


def _read(way, item):
  """The example of a clip that decodes; `way` as of `video.check`."""
  path, label, clip = item
  try:
    data = pathlib.Path(path).read_bytes()
    count = video.check(data, path, way)
  except (OSError, ValueError) as error:
    raise problems.Unusable('unreadable clip', str(error)) from error
  return {'video': data, 'frames': count, 'label': label, 'clip': clip}, (
      label, count)
