"""Encoded pictures as arrays."""
import math

from bst_jax.data import picture_file
from bst_jax.elastic import check_name
import numpy as np
from PIL import Image

# Beyond this a file is a mistake or an attack, not a photograph.
MAX_PIXELS = 100_000_000
# How a picture comes to a size: stretched, or between bars of a colour.
# 'mean' is the mean of CLIP's pictures: zero once they are normalised.
# 'crop' cuts the middle out, as classifiers of ImageNet are evaluated. 'corner'
# leaves bars to the right and below alone, as detectors and ViLT do.
FITS = {'stretch': None, 'crop': None, 'black': (0, 0, 0),
        'mean': (123, 117, 104), 'corner': (0, 0, 0)}
_CROP = 0.875  # of the shorter side is left


def decode(data: bytes, size: int | tuple[int, int] | None = None,
           name: str = 'a picture', fit: str = 'stretch') -> np.ndarray:
  """Decodes a picture file, and brings it to a size where one is given.

  Which kinds there are, and how they become upright RGB of 8 bits, is said of
  `picture_file.read`.

  Args:
    data: the bytes of the file.
    size: height and width, one number for a square, or None for the picture's
      own.
    name: what the picture is called in errors.
    fit: a name in `FITS`. `stretch` gives up the picture's proportions; `crop`
      scales the picture until it sticks out by a seventh, bicubically, and cuts
      the middle out, or leaves a picture of the right size alone; the others
      scale it until it just fits in, and centre it between bars of their
      colour.

  Returns:
    uint8[H, W, 3].

  Raises:
    ValueError: as of `picture_file.read`.

  Reference: `black` at (384, 640) is what CLIP-ViL's released code does to
    pictures that are wider than high: the shorter side becomes 384 unless the
    longer one would pass 640, and black bars fill up, before the colours are
    normalised.
  Differs: the original turns the canvas, to (640, 384), for pictures that are
    higher than wide, and makes batches of either kind; here there is one canvas
    for all, as a compiled program has one shape, and in it a picture that is
    higher than wide is 384 pixels high. The original leaves photographs as the
    camera was held.
  """
  picture = picture_file.read(data, name, MAX_PIXELS)
  if size is not None:
    check_name(fit, FITS, 'way to fit a picture')
    picture = fitted(picture, *sides(size), fit)
  return np.array(picture)


def sides(size: int | tuple[int, ...]) -> tuple[int, int]:
  """Height and width of a size, which is one number for a square."""
  pair = tuple(size) if isinstance(size, (tuple, list)) else (size,)
  pair = 2 * pair if len(pair) == 1 else pair  # As flags give one number.
  if len(pair) != 2 or not all(isinstance(n, int) and n > 0 for n in pair):
    raise ValueError(
        f'Pictures of size {size} were asked for, but a size is height and '
        'width in pixels, as 384,640, or one number for a square.')
  if pair[0] * pair[1] > MAX_PIXELS:
    raise ValueError(
        f'Pictures of size {size} were asked for, which have '
        f'{pair[0] * pair[1]:,} pixels, but {MAX_PIXELS:,} are the most.')
  return pair


def fitted(image: Image.Image, height: int, width: int,
           fit: str, shorter: int = 0) -> Image.Image:
  """The picture at a size: stretched, cut out, or between bars of a colour.

  Args:
    image: RGB.
    height, width: of what is wanted, in pixels.
    fit: a name in `FITS`.
    shorter: see `placed`.
  """
  left, top, *inner = placed((image.height, image.width), (height, width), fit,
                             shorter)
  if image.size == (width, height) == tuple(inner):
    return image
  kind = Image.Resampling.BICUBIC if fit == 'crop' else (
      Image.Resampling.BILINEAR)
  if image.size != tuple(inner):
    image = image.resize(inner, kind)
  if fit == 'crop':
    return image.crop((-left, -top, width - left, height - top))
  if image.size == (width, height):
    return image
  canvas = Image.new('RGB', (width, height), FITS[fit])
  canvas.paste(image, (left, top))
  return canvas


def placed(own: tuple[int, int], size: tuple[int, int], fit: str,
           shorter: int = 0) -> tuple[int, int, int, int]:
  """Left, top, width and height of a whole picture on a canvas, in pixels.

  Left and top are negative where the picture sticks out.

  Args:
    own: height and width of the picture.
    size: height and width of the canvas.
    fit: a name in `FITS`.
    shorter: with 'corner', pixels of the shorter side at most; 0: as many as
      there is room for.

  Reference: Ren et al., "Faster R-CNN", NeurIPS 2015, section 3.3, whose shorter
    sides are 600 and longer ones at most 1,000; ViLT's are 384 and 640.
  """
  (own_height, own_width), (height, width) = own, size
  if fit == 'corner':
    scale = min(height / own_height, width / own_width,
                (shorter or math.inf) / min(own))
    return (0, 0, max(1, min(width, round(scale * own_width))),
            max(1, min(height, round(scale * own_height))))
  if own == size or fit == 'stretch':
    return 0, 0, width, height
  if fit == 'crop':  # The middle, scaled so that a seventh sticks out.
    scale = max(height / own_height, width / own_width) / _CROP
    w, h = round(scale * own_width), round(scale * own_height)
    return -((w - width) // 2), -((h - height) // 2), w, h
  h, w = _inside(own_height, own_width, height, width)
  # An odd row or column more is in front, as in CLIP-ViL.
  return (width - w + 1) // 2, (height - h + 1) // 2, w, h


def thirds(image: Image.Image, height: int,
           width: int) -> list[Image.Image]:
  """Three pictures along the longer side: its beginning, middle and end.

  The picture is scaled, bicubically, until it just covers the size. Where it
  has the same proportions the three are one.
  """
  scale = max(height / image.height, width / image.width)
  size = (max(width, round(scale * image.width)),
          max(height, round(scale * image.height)))
  if size != image.size:
    image = image.resize(size, Image.Resampling.BICUBIC)
  right, down = size[0] - width, size[1] - height
  return [image.crop((x, y, x + width, y + height)) for x, y in (
      (0, 0), (right // 2, down // 2), (right, down))]


def _inside(own_height, own_width, height, width):
  """The greatest height and width of the same proportions that fit in."""
  inner = height
  if own_width * height > own_height * width:  # The width decides.
    inner = max(1, round(width * own_height / own_width))
  return inner, min(width, max(1, inner * own_width // own_height))
