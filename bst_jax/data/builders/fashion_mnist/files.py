"""The four files of Fashion-MNIST."""
import gzip
import pathlib
import struct
import zlib

import numpy as np

CLASSES = ('t-shirt', 'trouser', 'pullover', 'dress', 'coat', 'sandal', 'shirt',
           'sneaker', 'bag', 'boot')
# Where Debian's package puts the files.
DEBIAN = '/usr/share/datasets/fashion-mnist'
INSTRUCTIONS = f"""
  manual_dir holds train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz,
  t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz. On Debian and Ubuntu
  `apt-get install dataset-fashion-mnist` puts them in {DEBIAN}, which is looked
  in by default; the authors' repository zalandoresearch/fashion-mnist has them
  too.
  """
SIDE = 28
_VALIDATION = 5_000  # The last pictures of the 60,000 for training.


def read(folder: pathlib.Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
  """Pictures uint8[n, 28, 28] and classes uint8[n] of train, val and test.

  The last 5,000 pictures for training are val; of fewer, all but the first.
  """
  (images, labels), test = (_part(folder, name) for name in ('train', 't10k'))
  last = max(1, len(labels) - _VALIDATION)
  return {'train': (images[:last], labels[:last]),
          'val': (images[last:], labels[last:]), 'test': test}


def _part(folder, name):
  images = _idx(folder / f'{name}-images-idx3-ubyte.gz', 3)
  labels = _idx(folder / f'{name}-labels-idx1-ubyte.gz', 1)
  if len(images) != len(labels) or images.shape[1:] != (SIDE, SIDE) or (
      labels.max(initial=0) >= len(CLASSES)):
    raise ValueError(
        f'{folder} was to hold {SIDE} x {SIDE} pictures of ten classes, but '
        f'{name} has pictures {images.shape} and {len(labels)} labels up to '
        f'{labels.max(initial=0)}. Give the files of Fashion-MNIST.')
  return images, labels


def _idx(path: pathlib.Path, rank: int) -> np.ndarray:
  """A file of bytes in IDX form: a magic number, the sizes, the bytes."""
  try:
    data = gzip.decompress(path.read_bytes())
    magic, *shape = struct.unpack_from(f'>{1 + rank}I', data)
  except (OSError, EOFError, struct.error, zlib.error) as error:
    raise ValueError(
        f'{path} was to be read, but it is no whole gzip file of IDX form '
        f'({error}). Fetch it again.') from error
  if magic != 0x800 + rank:
    raise ValueError(f'{path} begins with {magic:#x}, not {0x800 + rank:#x}: it '
                     'holds something else than it is called.')
  try:
    return np.frombuffer(data, np.uint8, offset=4 * (1 + rank)).reshape(shape)
  except ValueError as error:
    raise ValueError(
        f'{path} was to hold {shape} bytes, but has another number of them. '
        'Fetch it again.') from error
