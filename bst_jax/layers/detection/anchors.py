"""Anchors: boxes at every place of a pyramid, made while a program traces."""
from collections.abc import Sequence

from bst_jax.elastic import check_name
import numpy as np

STYLES = ('torchvision', 'detectron1')
RATIOS = (0.5, 1.0, 2.0)


def cells(size: float, stride: int, ratios: Sequence[float] = RATIOS,
          style: str = 'torchvision') -> np.ndarray:
  """float32[A, 4], the anchors of the first place of a level.

  Args:
    size: side in pixels of the square one.
    stride: pixels from a place to the next.
    ratios: height over width of each.
    style: 'torchvision': about the place's upper left corner, sides rounded to
      even numbers; 'detectron1': about the middle of its stride, sides counted
      with their last pixel and rounded before they are scaled.

  Reference: Ren et al., "Faster R-CNN", NeurIPS 2015, and torchvision's and
    Detectron's published code for the rounding, both half to even.
  """
  check_name(style, STYLES, 'style of anchors')
  ratios = np.asarray(ratios, np.float64)
  if style == 'torchvision':
    # In single precision, as there: a half of a pixel may round otherwise.
    root = np.sqrt(ratios.astype(np.float32))
    width, height = np.float32(size) / root, np.float32(size) * root
    half = np.stack([width, height], 1) / 2
    return np.round(np.concatenate([-half, half], 1)).astype(np.float32)
  width = np.round(stride / np.sqrt(ratios))
  height = np.round(width * ratios)
  sides = np.stack([width, height], 1) * size / stride
  middle = (stride - 1) / 2
  half = (sides - 1) / 2
  return np.concatenate([middle - half, middle + half], 1).astype(np.float32)


def grid(first: np.ndarray, stride: int,
         shape: tuple[int, int]) -> np.ndarray:
  """float32[h w A, 4], anchors of a level of h x w places, row by row.

  Args:
    first: float32[A, 4], those of its first place.
    stride: pixels from a place to the next.
    shape: h and w.
  """
  y, x = np.mgrid[:shape[0], :shape[1]] * stride
  shifts = np.stack([x, y, x, y], -1).reshape(-1, 1, 4)
  return (shifts + first).reshape(-1, 4).astype(np.float32)


def levels(shapes: Sequence[tuple[int, int]], strides: Sequence[int],
           sizes: Sequence[float | Sequence[float]],
           ratios: Sequence[float] = RATIOS,
           style: str = 'torchvision') -> list[np.ndarray]:
  """Anchors float32[h w A, 4] of every level of a pyramid.

  Args:
    shapes: h and w of every level, the finest first.
    strides, sizes: of every level; of several sizes at a level each comes with
      every ratio, the sizes of a ratio next to each other.
    ratios, style: see `cells`.
  """
  if not len(shapes) == len(strides) == len(sizes):
    raise ValueError(
        f'a pyramid of {len(shapes)} levels was to have anchors, but '
        f'{len(strides)} strides and {len(sizes)} sizes were given; give one '
        'of each for every level.')
  found = []
  for shape, stride, of_level in zip(shapes, strides, sizes):
    several = np.atleast_1d(np.asarray(of_level, np.float64))
    each = [cells(size, stride, ratios, style) for size in several]
    found.append(grid(np.stack(each, 1).reshape(-1, 4), stride, shape))
  return found
