"""Fashion-MNIST as a TFDS data set, from its four files."""
import gzip
import io
import os
import pathlib
import struct

import numpy as np
from PIL import Image
import tensorflow_datasets as tfds

CLASSES = ('t-shirt', 'trouser', 'pullover', 'dress', 'coat', 'sandal', 'shirt',
           'sneaker', 'bag', 'boot')
# Where Debian's package puts the files.
DEBIAN = '/usr/share/datasets/fashion-mnist'
_VALIDATION = 5_000  # The last pictures of the 60,000 for training.
_SIDE = 28


class FashionMnist(tfds.core.GeneratorBasedBuilder):
  """70,000 real pictures of clothes, 28 x 28 in grey, in ten classes (MIT).

  Reference: Xiao et al., "Fashion-MNIST: a Novel Image Dataset for
    Benchmarking Machine Learning Algorithms", arXiv 1708.07747.
  """

  VERSION = tfds.core.Version('1.0.0')
  DEFAULT_MANUAL_DIR = DEBIAN
  MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
  manual_dir holds train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz,
  t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz. On Debian and Ubuntu
  `apt-get install dataset-fashion-mnist` puts them in {DEBIAN}, which is looked
  in by default; the authors' repository zalandoresearch/fashion-mnist has them
  too.
  """

  def _info(self):
    return tfds.core.DatasetInfo(
        builder=self,
        description=self.__doc__,
        features=tfds.features.FeaturesDict({
            'image': tfds.features.Image(
                shape=(_SIDE, _SIDE, 3), encoding_format='png'),
            'label': tfds.features.ClassLabel(names=CLASSES),
        }),
        metadata=tfds.core.MetadataDict(),
        homepage='https://github.com/zalandoresearch/fashion-mnist')

  def _split_generators(self, dl_manager):
    folder = pathlib.Path(os.fspath(dl_manager.manual_dir))
    train, test = (self._read(folder, name) for name in ('train', 't10k'))
    last = max(1, len(train[1]) - _VALIDATION)
    self.info.metadata['source'] = self.source
    return {'train': self._records(train[0][:last], train[1][:last]),
            'val': self._records(train[0][last:], train[1][last:]),
            'test': self._records(*test)}

  def _generate_examples(self, *args):
    raise NotImplementedError  # Splits are generators themselves.

  def _records(self, images, labels):
    for i, (image, label) in enumerate(zip(images, labels)):
      encoded = io.BytesIO()
      Image.fromarray(np.repeat(image[..., None], 3, -1)).save(encoded, 'png')
      yield i, {'image': encoded.getvalue(), 'label': int(label)}

  def _read(self, folder, name):
    """uint8[n, 28, 28] pictures and uint8[n] classes of a part."""
    images = _idx(folder / f'{name}-images-idx3-ubyte.gz', 3)
    labels = _idx(folder / f'{name}-labels-idx1-ubyte.gz', 1)
    if len(images) != len(labels) or images.shape[1:] != (_SIDE, _SIDE) or (
        labels.max(initial=0) >= len(CLASSES)):
      raise ValueError(
          f'{folder} was to hold {_SIDE} x {_SIDE} pictures of ten classes, but '
          f'{name} has pictures {images.shape} and {len(labels)} labels up to '
          f'{labels.max(initial=0)}. Give the files of Fashion-MNIST.')
    return images, labels


def _idx(path: pathlib.Path, rank: int) -> np.ndarray:
  """A file of bytes in IDX form: a magic number, the sizes, the bytes."""
  try:
    data = gzip.decompress(path.read_bytes())
    magic, *shape = struct.unpack_from(f'>{1 + rank}I', data)
    array = np.frombuffer(data, np.uint8, offset=4 * (1 + rank)).reshape(shape)
  except (OSError, EOFError, struct.error, ValueError) as error:
    raise ValueError(
        f'{path} was to be read, but it is no whole gzip file of IDX form '
        f'({error}). Fetch it again.') from error
  if magic != 0x800 + rank:
    raise ValueError(f'{path} begins with {magic:#x}, not {0x800 + rank:#x}: it '
                     'holds something else than it is called.')
  return array
