"""A picture file's bytes as an upright picture in RGB.

Kinds are told by what a file holds and not by its name.
"""
import io
import re
import warnings

import numpy as np
from PIL import ExifTags, Image

# Endings of the kinds that are read.
SUFFIXES = ('.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.webp', '.gif', '.bmp',
            '.tif', '.tiff')
# Endings of other pictures: they are told of, and not passed over.
OTHERS = ('.heic', '.heif', '.avif', '.jp2', '.j2k', '.jxl', '.svg', '.ico',
          '.psd', '.tga', '.ppm', '.pgm', '.exr', '.hdr', '.dcm', '.dng',
          '.cr2', '.nef', '.arw', '.eps', '.pdf')
_FORMATS = 'PNG', 'JPEG', 'WEBP', 'GIF', 'BMP', 'TIFF'
# How files begin: by Pillow's names, and what else people bring.
_BEGINNINGS = {
    rb'\x89PNG\r\n\x1a\n': 'PNG', rb'\xff\xd8\xff': 'JPEG',
    rb'RIFF....WEBP': 'WEBP', rb'GIF8[79]a': 'GIF', rb'BM.{8}': 'BMP',
    rb'II\*\0|MM\0\*|II\+\0|MM\0\+': 'TIFF', rb'....ftyp(hei|hev|mif)': 'HEIC',
    rb'....ftypavi': 'AVIF', rb'....ftyp': 'a video', rb'%PDF': 'PDF',
    rb'\0\0\0\x0cjP  ': 'JPEG 2000', rb'8BPS': 'a file of Photoshop',
    rb'PK\x03\x04': 'a ZIP archive', rb'\0\0\x01\0': 'an icon',
    rb'version https://git-lfs': 'a pointer of Git LFS, not the picture itself',
    rb'\s*<(\?xml[^>]*>\s*<)?svg': 'SVG',
    rb'\s*<(!doctype )?html': 'a page of HTML, as servers send in place of a '
    'picture'}
_BEGINNING = 64  # bytes
_BITS, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # Tags of TIFF.
# What undoes each way in which a camera was held, by EXIF's number for it.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90}


def kind(data: bytes) -> str:
  """What a file is by its first bytes: Pillow's name, or words, or ''."""
  for beginning, name in _BEGINNINGS.items():
    if re.match(beginning, data[:_BEGINNING], re.DOTALL | re.IGNORECASE):
      return name
  return ''


def is_read(data: bytes) -> bool:
  """Whether a file begins as one of the kinds that are read."""
  return kind(data) in _FORMATS


def read(data: bytes, name: str, most_pixels: int) -> Image.Image:
  """The picture of a PNG, JPEG, WebP, GIF, BMP or TIFF file, in RGB.

  It comes upright, as its EXIF orientation says. Grey becomes RGB; of more than
  8 bits the highest 8 stay. Transparency is dropped, so that the colours under
  it show, and profiles of colours are not applied: so do the readers that
  published networks were trained with.

  Args:
    data: the bytes of the file.
    name: what the picture is called in errors.
    most_pixels: beyond this it is refused before it is decoded.

  Raises:
    ValueError: it is damaged, of another kind, too large, of several frames or
      pages, or its numbers have no known white.
  """
  try:
    image = _opened(data)
    _check(image, name, most_pixels)
    image.load()
  except _RefusedError:
    raise
  except Image.DecompressionBombError as error:
    raise ValueError(
        f'{name} of {len(data):,} bytes was to be decoded, but it has more '
        f'pixels than the {most_pixels:,} allowed, or is not a whole PNG or '
        f'JPEG file ({error}). Scale it down or copy it again.') from error
  except Exception as error:  # Pillow raises anything on damaged files.
    raise ValueError(
        f'{name} of {len(data):,} bytes was to be decoded, but it is not a '
        'whole PNG or JPEG file, nor a WebP, GIF, BMP or TIFF one '
        f'({_why(data, error)}). Copy or make the file again.') from error
  turn = _TURNS.get(_orientation(image))
  try:
    picture = _eight_bits(image, name).convert('RGB')
  except _RefusedError:
    raise
  except (ValueError, OSError) as error:
    raise ValueError(
        f'{name} was to be decoded, but its colours, which are {image.mode}, '
        f'are not read ({error}). Save it in RGB.') from error
  return picture if turn is None else picture.transpose(turn)


class _RefusedError(ValueError):
  """What is said of a whole picture that is not taken."""


def _opened(data):
  with warnings.catch_warnings():
    # Pillow warns of large pictures by its own limit; ours is checked.
    warnings.simplefilter('ignore', Image.DecompressionBombWarning)
    return Image.open(io.BytesIO(data), formats=_FORMATS)


def _check(image, name, most_pixels):
  """Raises for a picture that should not be decoded."""
  width, height = image.size
  if width * height > most_pixels:
    raise _RefusedError(
        f'{name} was to be decoded, but its {width:,} x {height:,} pixels are '
        f'more than the {most_pixels:,} allowed. Scale it down first, or raise '
        'bst_jax.data.image.MAX_PIXELS if it is meant.')
  # A JPEG of a phone may carry a preview behind the picture: no animation.
  frames = 1 if image.format in ('JPEG', 'MPO') else getattr(
      image, 'n_frames', 1)
  if frames > 1:
    what = (f'it has {frames} pages' if image.format == 'TIFF'
            else f'it is animated, {frames} frames')
    raise _RefusedError(f'{name} was to be read as one picture, but {what}. '
                        'Save the one that is meant.')


def _eight_bits(image, name):
  """A grey picture of more bits with its highest 8; others as they are."""
  tags = getattr(image, 'tag_v2', {})
  if image.mode.startswith('I;16') or (
      image.mode == 'I' and image.format == 'PNG'):  # As old Pillow has it.
    bits = tags.get(_BITS, (16,))[0]
    grey = (np.asarray(image) >> (bits - 8)).astype(np.uint8)
    # Pillow turns greys round itself where they have 8 bits or fewer.
    return Image.fromarray(
        255 - grey if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else grey)
  if image.mode in ('I', 'F'):
    raise _RefusedError(
        f'{name} was to be decoded, but its pixels are '
        f'{"floats" if image.mode == "F" else "signed or 32-bit numbers"}, and '
        'nothing tells which of them is white. Save it with 8 or 16 bits.')
  if image.mode == 'P' and isinstance(image.info.get('transparency'), bytes):
    return image.convert('RGBA')  # Pillow warns where that is left out.
  return image


def _orientation(image):
  """EXIF's number; what cannot be read counts as upright."""
  try:
    return image.getexif().get(ExifTags.Base.Orientation)
  except Exception:  # Damaged in any way: the picture itself may be whole.
    return None


def _why(data, error):
  """What is wrong with a file that cannot be read, in a few words."""
  if not data:
    return 'it is empty'
  name = kind(data)
  if name and name not in _FORMATS:
    return f'it is {name}'
  beginning = data[:_BEGINNING]
  if not name and beginning.isascii() and beginning.decode().isprintable():
    return f'it is text that begins with {beginning[:30].decode()!r}'
  return 'nothing tells its kind' if isinstance(
      error, Image.UnidentifiedImageError) else str(error)
