"""Finds the plates of a picture, so that a picture alone can be asked about."""
from bst_jax.data.builders.digit_scenes import features
from bst_jax.data.builders.digit_scenes.scenes import CELL
import numpy as np
from scipy import ndimage

# Backgrounds are grey up to a tint and noise, plates are coloured.
_COLOURED = 40  # between the greatest and the least channel, of 255
_LEAST_SIDE = 12  # pixels; the smallest plate has 17


def plates(image: np.ndarray) -> np.ndarray:
  """float32[n, 4] x1 y1 x2 y2 of the plates, as shares of the picture.

  Args:
    image: uint8[H, W, 3] of a scene, whole cells of 32 pixels.

  Raises:
    ValueError: the picture has no whole cells, or no plate was found in it.
  """
  height, width = image.shape[:2]
  if height % CELL or width % CELL:
    raise ValueError(
        f'a picture of {width} x {height} pixels is no digit scene, whose '
        f'sides are multiples of {CELL}; resize it, or train a model that '
        'takes pictures (configs/bst_mcan_pictures.py).')
  smooth = ndimage.uniform_filter(image.astype(np.float32), (3, 3, 1))
  coloured = np.ptp(smooth, axis=-1) > _COLOURED
  found = []
  for top in range(0, height, CELL):
    for left in range(0, width, CELL):
      # A cell holds one plate at most, and plates of two cells may touch.
      labels, _ = ndimage.label(coloured[top:top + CELL, left:left + CELL])
      sides = [(rows.start + top, rows.stop + top,
                columns.start + left, columns.stop + left)
               for rows, columns in ndimage.find_objects(labels)]
      sides = [s for s in sides
               if min(s[1] - s[0], s[3] - s[2]) >= _LEAST_SIDE]
      if sides:
        y1, y2, x1, x2 = max(sides, key=lambda s: (s[1] - s[0]) * (s[3] - s[2]))
        found.append((x1 / width, y1 / height, x2 / width, y2 / height))
  if not found:
    raise ValueError(
        'no coloured plate was found in the picture: the model has learnt '
        'digit scenes, and its regions are their plates.')
  return np.asarray(found, np.float32)


def regions(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Features float32[n, 128] and boxes float32[n, 4] of the plates found."""
  boxes = plates(image)
  return features.encode(features.crop(image, boxes)), boxes
