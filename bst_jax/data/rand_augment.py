"""RandAugment: two random operations of a common strength.

Reference: Cubuk et al., "RandAugment: Practical automated data augmentation
  with a reduced search space", CVPR workshops 2020; the strengths are those of
  DeiT, whose operations all grow with the magnitude ("increasing").
"""
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

_COUNT, _CHANCE, _DEVIATION, _MOST = 2, 0.5, 0.5, 10.0
_GREY = (128, 128, 128)


def _moved(matrix) -> Callable:
  """An operation that moves pixels by an affine map of strength and size."""
  def run(image, level, rng):
    sign = rng.choice((-1, 1))
    return image.transform(
        image.size, Image.Transform.AFFINE, matrix(sign * level, *image.size),
        Image.Resampling.BICUBIC, fillcolor=_GREY)
  return run


def _enhanced(kind) -> Callable:
  def run(image, level, rng):
    return kind(image).enhance(max(0.1, 1 + rng.choice((-1, 1)) * 0.9 * level))
  return run


def _rotate(image, level, rng):
  return image.rotate(rng.choice((-1, 1)) * 30 * level,
                      Image.Resampling.BICUBIC, fillcolor=_GREY)


def _brighter_darks(image, level, rng):
  del rng
  add = int(110 * level)
  table = [min(255, v + add) if v < 128 else v for v in range(256)]
  return image.point(3 * table)


# (image, strength 0..1, random numbers) -> image.
OPERATIONS = {
    'auto_contrast': lambda image, level, rng: ImageOps.autocontrast(image),
    'equalize': lambda image, level, rng: ImageOps.equalize(image),
    'invert': lambda image, level, rng: ImageOps.invert(image),
    'rotate': _rotate,
    'posterize': lambda image, level, rng: ImageOps.posterize(
        image, max(1, 4 - int(4 * level))),
    'solarize': lambda image, level, rng: ImageOps.solarize(
        image, 256 - int(256 * level)),
    'solarize_add': _brighter_darks,
    'color': _enhanced(ImageEnhance.Color),
    'contrast': _enhanced(ImageEnhance.Contrast),
    'brightness': _enhanced(ImageEnhance.Brightness),
    'sharpness': _enhanced(ImageEnhance.Sharpness),
    'shear_x': _moved(lambda s, w, h: (1, 0.3 * s, 0, 0, 1, 0)),
    'shear_y': _moved(lambda s, w, h: (1, 0, 0, 0.3 * s, 1, 0)),
    'translate_x': _moved(lambda s, w, h: (1, 0, 0.45 * s * w, 0, 1, 0)),
    'translate_y': _moved(lambda s, w, h: (1, 0, 0, 0, 1, 0.45 * s * h)),
}


def apply(image: Image.Image, magnitude: float,
          rng: np.random.Generator) -> Image.Image:
  """Two operations, each with an even chance, of a strength near a magnitude.

  Args:
    image: RGB.
    magnitude: 0 to 10.
    rng: draws operations, signs and strengths.
  """
  for name in rng.choice(sorted(OPERATIONS), _COUNT):
    level = np.clip(rng.normal(magnitude, _DEVIATION), 0, _MOST) / _MOST
    if rng.random() < _CHANCE:
      image = OPERATIONS[name](image, float(level), rng)
  return image
