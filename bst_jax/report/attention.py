"""Pictures of where a network looked: cells or regions, the more the redder."""
import os
import pathlib

from bst_jax.host import files
from bst_jax.layers import looks
from bst_jax.run.loaded import Loaded
import jax
import numpy as np

_RED, _MOST = (230, 40, 40), 0.75  # What looked at most is painted with.


def draw(net: Loaded, picture: str | os.PathLike, question: str | None,
         path: str | os.PathLike) -> np.ndarray:
  """Draws what a network looked at to give its answer.

  Args:
    net: the network; its file says which layer tells, see `looked`.
    picture: file of a picture.
    question: for networks that are asked something.
    path: PNG file to write.

  Returns:
    float[N], the share of each cell, row by row, or region.

  Raises:
    ValueError: the network does not tell, or compares two pictures.
  """
  from bst_jax.data import image  # Not every use has data.

  if net.experiment.task.pictures != 1:
    raise ValueError('where the network looked is drawn on one picture, and it '
                     f'compares {net.experiment.task.pictures}.')
  (picture,) = [picture] if isinstance(picture, (str, os.PathLike)) else picture
  batch = net.batch(picture, question)
  shares = np.asarray(jax.device_get(
      looks.looked_at(net.model, net.params, batch)))[0]
  ((answer, probability),) = net.tell(batch, top=1)
  if 'image' in batch:
    pixels = batch['image'][0]
    strength = _of_cells(shares, pixels.shape[:2])
  else:
    pixels = image.decode(pathlib.Path(picture).read_bytes(), name=str(picture))
    strength = _of_boxes(shares, batch['boxes'][0], pixels.shape[:2])
  title = f'{answer} ({100 * probability:.0f} %)'
  _save(pixels, strength, title if question is None else
        f'{question}\n{title}', path)
  return shares


def grid_of(count: int, height: int, width: int) -> tuple[int, int]:
  """Rows and columns of `count` cells whose proportions are the picture's.

  12 cells of a picture of 90 x 120 are 3 x 4.
  """
  rows = [n for n in range(1, count + 1) if count % n == 0]
  best = min(rows, key=lambda n: abs(np.log(n * n / count * width / height)))
  return best, count // best


def _of_cells(shares, size):
  """float[H, W] in 0..1 of the shares of a grid of cells."""
  grid = (shares / shares.max()).reshape(grid_of(len(shares), *size))
  rows, columns = (np.arange(side) * cells // side
                   for side, cells in zip(size, grid.shape))
  return grid[rows][:, columns]


def _of_boxes(shares, boxes, size):
  """float[H, W] in 0..1 of the shares of boxes, x1 y1 x2 y2 in 0..1."""
  height, width = size
  strength = np.zeros(size)
  for share, (left, top, right, bottom) in zip(shares / shares.max(), boxes):
    rows = slice(int(top * height), max(int(np.ceil(bottom * height)), 1))
    columns = slice(int(left * width), max(int(np.ceil(right * width)), 1))
    strength[rows, columns] = np.maximum(strength[rows, columns], share)
  return strength


def _save(pixels, strength, title, path):
  """Draws the picture, and beside it the same with red where it was looked at.
  """
  from matplotlib.figure import Figure  # Slow, and only pictures need it.

  alpha = _MOST * strength[..., None]
  painted = (1 - alpha) * pixels + alpha * np.float32(_RED)
  figure = Figure(figsize=(6, 3.4), layout='constrained')
  for axis, shown, name in zip(
      figure.subplots(1, 2), (pixels, painted.astype(np.uint8)),
      ('picture', 'the redder, the more it was looked at')):
    axis.imshow(shown)
    axis.set(xticks=[], yticks=[])
    axis.set_title(name, fontsize=8)
  figure.suptitle(title, fontsize=9)
  with files.beside(path) as place:
    figure.savefig(place, dpi=150, format='png')
