"""Encoded pictures as arrays."""
import io
import warnings

import numpy as np
from PIL import Image

# Beyond this a file is a mistake or an attack, not a photograph.
MAX_PIXELS = 100_000_000


def decode(data: bytes, size: int | tuple[int, int] | None = None,
           name: str = 'a picture') -> np.ndarray:
  """Decodes a PNG or JPEG file, and resizes it where a size is given.

  Args:
    data: the bytes of the file.
    size: height and width, one number for a square, or None for the picture's
      own.
    name: what the picture is called in errors.

  Returns:
    uint8[H, W, 3]; grey becomes RGB, and transparency is dropped.
  """
  try:
    with warnings.catch_warnings():
      # Pillow warns of large pictures by its own limit; ours is below.
      warnings.simplefilter('ignore', Image.DecompressionBombWarning)
      image = Image.open(io.BytesIO(data), formats=('PNG', 'JPEG'))
    _check_size(image.size, name)
    image = image.convert('RGB')
  except (OSError, SyntaxError, Image.DecompressionBombError) as error:
    raise ValueError(
        f'{name} of {len(data):,} bytes was to be decoded, but it is not a '
        f'whole PNG or JPEG file ({error}). Copy or make the file again.'
    ) from error
  if size is not None:
    height, width = (size, size) if isinstance(size, int) else size
    if image.size != (width, height):
      image = image.resize((width, height), Image.Resampling.BILINEAR)
  return np.array(image)


def _check_size(size, name):
  width, height = size
  if width * height > MAX_PIXELS:
    raise ValueError(
        f'{name} was to be decoded, but its {width:,} x {height:,} pixels are '
        f'more than the {MAX_PIXELS:,} allowed. Scale it down first, or raise '
        'bst_jax.data.image.MAX_PIXELS if it is meant.')
