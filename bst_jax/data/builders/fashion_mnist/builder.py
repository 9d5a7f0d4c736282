"""Fashion-MNIST as a TFDS data set, from its four files."""
import io
import os
import pathlib

from bst_jax.data.builders.fashion_mnist import files
import numpy as np
from PIL import Image
import tensorflow_datasets as tfds


class FashionMnist(tfds.core.GeneratorBasedBuilder):
  """70,000 real pictures of clothes, 28 x 28 in grey, in ten classes (MIT).

  Reference: Xiao et al., "Fashion-MNIST: a Novel Image Dataset for
    Benchmarking Machine Learning Algorithms", arXiv 1708.07747.
  """

  VERSION = tfds.core.Version('1.0.0')
  COMPRESSED = False  # Pictures are.
  DEFAULT_MANUAL_DIR = files.DEBIAN
  MANUAL_DOWNLOAD_INSTRUCTIONS = files.INSTRUCTIONS

  def _info(self):
    return tfds.core.DatasetInfo(
        builder=self,
        description=self.__doc__,
        features=tfds.features.FeaturesDict({
            'image': tfds.features.Image(
                shape=(files.SIDE, files.SIDE, 3), encoding_format='png'),
            'label': tfds.features.ClassLabel(names=files.CLASSES),
        }),
        metadata=tfds.core.MetadataDict(),
        homepage='https://github.com/zalandoresearch/fashion-mnist')

  def _split_generators(self, dl_manager):
    folder = pathlib.Path(os.fspath(dl_manager.manual_dir))
    self.info.metadata['source'] = self.source
    return {split: self._records(*arrays)
            for split, arrays in files.read(folder).items()}

  def _generate_examples(self, *args):
    raise NotImplementedError  # Splits are generators themselves.

  def _records(self, images, labels):
    for i, (image, label) in enumerate(zip(images, labels)):
      encoded = io.BytesIO()
      Image.fromarray(np.repeat(image[..., None], 3, -1)).save(encoded, 'png')
      yield i, {'image': encoded.getvalue(), 'label': int(label)}
