"""Motion-8 as a TFDS data set: moving clothes, in PNG strips."""
import dataclasses
import io
import os
import pathlib

from bst_jax.data.builders.fashion_mnist import files
from bst_jax.data.builders.motion8 import moving
import numpy as np
from PIL import Image
import tensorflow_datasets as tfds

_SPLITS = 'train', 'val', 'test'


@dataclasses.dataclass
class Config(tfds.core.BuilderConfig):
  """The number of clips of each split, and the seed of all of them."""

  clips: tuple[int, int, int] = (8_000, 800, 1_600)
  seed: int = 0


class Motion8(tfds.core.GeneratorBasedBuilder):
  """Items of Fashion-MNIST that move, in eight frames of 48 x 48.

  Synthetic motion of real pictures, made here. The eight classes are pairs of
  time reversals: left and right, up and down, clockwise and anticlockwise, grow
  and shrink. No frame alone tells the class, and without order nothing tells
  the two of a pair apart. No picture is in two splits.
  """

  VERSION = tfds.core.Version('1.0.0')
  BUILDER_CONFIGS = [
      Config(name='full', description='8,000 clips for training.'),
      Config(name='tiny', description='64 clips for training.',
             clips=(64, 16, 16)),
  ]
  COMPRESSED = False  # Pictures are.
  DEFAULT_MANUAL_DIR = files.DEBIAN
  MANUAL_DOWNLOAD_INSTRUCTIONS = files.INSTRUCTIONS

  def _info(self):
    return tfds.core.DatasetInfo(
        builder=self,
        description=self.__doc__,
        disable_shuffling=True,
        features=tfds.features.FeaturesDict({
            # The frames, one below the other.
            'strip': tfds.features.Image(
                shape=(moving.FRAMES * moving.SIDE, moving.SIDE, 1),
                encoding_format='png'),
            'label': tfds.features.ClassLabel(names=moving.CLASSES),
            'picture': np.int64,  # Its number in Fashion-MNIST's split.
            'item': tfds.features.ClassLabel(names=files.CLASSES),
        }),
        metadata=tfds.core.MetadataDict(strip=moving.FRAMES))

  def _split_generators(self, dl_manager):
    folder = pathlib.Path(os.fspath(dl_manager.manual_dir))
    self.info.metadata['source'] = self.source
    items = files.read(folder)
    return {split: self._records(number, clips, *items[split])
            for number, (split, clips) in enumerate(
                zip(_SPLITS, self.builder_config.clips))}

  def _generate_examples(self, *args):
    raise NotImplementedError  # Splits are generators themselves.

  def _records(self, split, clips, pictures, kinds):
    """Clips of a split, as many of each class, of random pictures."""
    rng = np.random.default_rng((self.builder_config.seed, split))
    labels = rng.permutation(np.arange(clips) % len(moving.CLASSES))
    # Each picture once, as long as there are enough.
    chosen = np.concatenate([
        rng.permutation(len(pictures))
        for _ in range(-(-clips // len(pictures)))])[:clips]
    for i, (label, picture) in enumerate(zip(labels.tolist(),
                                             chosen.tolist())):
      along = moving.path(label, np.random.default_rng(
          (self.builder_config.seed, split, i)))
      frames = moving.draw(pictures[picture], along)
      encoded = io.BytesIO()
      Image.fromarray(frames.reshape(-1, moving.SIDE)).save(encoded, 'png')
      yield i, {'strip': encoded.getvalue(), 'label': label,
                'picture': picture, 'item': int(kinds[picture])}
