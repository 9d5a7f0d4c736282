"""Pictures with the boxes that were found in them, and files of these boxes."""
from collections.abc import Mapping, Sequence
import colorsys
import json
import math
import os
from typing import Any

from bst_jax.elastic import Submodel
from bst_jax.host import files
from bst_jax.run.experiment import Experiment
from bst_jax.run.loaded import Loaded
import jax
import numpy as np
from PIL import Image, ImageDraw, ImageFont

_LEAST = 320  # pixels of a drawn picture's longer side,
_GAP, _GROUND = 6, (255, 255, 255)  # and between two of them.
_TEXT, _LINE = 13, 2  # pixels
_TURN = 0.618034  # Of the circle of colours, so that neighbours differ.


def show(exp: Experiment, params: Any, sub: Submodel, data: Any, split: str,
         count: int, path: str | os.PathLike) -> None:
  """Draws the first pictures of a split with the boxes that a detector finds.

  Args:
    exp: of the detector.
    params: its parameters.
    sub: the part of it that looks.
    data: with the split.
    split: of the data.
    count: of pictures.
    path: PNG file to write.
  """
  small, images, found = exp.model.at(sub), [], []
  params = exp.extract(params, sub)
  run = jax.jit(lambda params, batch: small.apply({'params': params}, batch))
  for batch in data.evaluation(split):
    said = jax.device_get(run(params, batch))
    for i in np.flatnonzero(batch['mask']):
      images.append(batch['image'][i])
      found.append({key: said[key][i]
                    for key in ('boxes', 'found', 'scores', 'valid')})
    if len(images) >= count:
      break
  sheet(images[:count], found[:count], data.answers, path)


def draw(net: Loaded, batch: Mapping[str, Any],
         path: str | os.PathLike) -> None:
  """Draws the first picture of a batch with what a detector finds there.

  Args:
    net: the detector.
    batch: that it takes.
    path: PNG file to write.
  """
  said = jax.device_get(net.outputs(batch))
  sheet([np.asarray(batch['image'][0])], [{
      key: said[key][0] for key in ('boxes', 'found', 'scores', 'valid')}],
        net.answers, path)


def sheet(pictures: Sequence[np.ndarray],
          found: Sequence[Mapping[str, np.ndarray]], names: Sequence[str],
          path: str | os.PathLike, threshold: float = 0.3) -> None:
  """Draws pictures with their boxes, and the names of classes, on one sheet.

  Args:
    pictures: uint8[h, w, 3] each; small ones are drawn larger.
    found: of each: boxes float[N, 4], x1 y1 x2 y2 in pixels of it, `found`
      int[N], classes, `scores` float[N], or None for objects that were
      labelled, and `valid` bool[N].
    names: of the classes.
    path: PNG file to write.
    threshold: of the score, below which a box is not drawn. It decides what is
      seen and nothing of what is measured.

  Raises:
    ValueError: there is no picture.
  """
  if not len(pictures):
    raise ValueError(f'{path} was to show pictures with their boxes, but there '
                     'is none; ask for one or more.')
  drawn = [drawing(pixels, one, names, threshold)
           for pixels, one in zip(pictures, found, strict=True)]
  columns = math.ceil(math.sqrt(len(drawn)))
  width = max(one.width for one in drawn) + _GAP
  height = max(one.height for one in drawn) + _GAP
  rows = -(-len(drawn) // columns)
  whole = Image.new('RGB', (columns * width - _GAP, rows * height - _GAP),
                    _GROUND)
  for i, one in enumerate(drawn):
    whole.paste(one, (i % columns * width, i // columns * height))
  with files.beside(path) as place:
    whole.save(place, 'png')


def drawing(pixels: np.ndarray, found: Mapping[str, np.ndarray],
            names: Sequence[str], threshold: float = 0.3) -> Image.Image:
  """A picture with its boxes, the surest on top; see `sheet`."""
  height, width = pixels.shape[:2]
  scale = max(1, math.ceil(_LEAST / max(height, width)))
  image = Image.fromarray(pixels).resize((scale * width, scale * height),
                                         Image.Resampling.BICUBIC)
  draw, font = ImageDraw.Draw(image), ImageFont.load_default(_TEXT)
  boxes = np.asarray(found['boxes'], np.float32).reshape(-1, 4)
  boxes = (scale * boxes).clip(0, np.tile(image.size, 2) - np.float32(1))
  inside = (boxes[:, 2:] > boxes[:, :2]).all(1)
  shown = np.asarray(found['valid'], bool) & inside
  scores = found.get('scores')
  if scores is not None:
    shown &= np.asarray(scores) >= threshold
  order = np.flatnonzero(shown)
  if scores is not None:
    order = order[np.argsort(np.asarray(scores)[order], kind='stable')]
  kinds = np.asarray(found['found'], int)
  for i in order:
    draw.rectangle(boxes[i].tolist(), outline=color(kinds[i]), width=_LINE)
  for i in order:  # After all boxes, so that none crosses a name.
    score = '' if scores is None else f' {100 * scores[i]:.0f}'
    _name(draw, font, boxes[i].tolist(), f'{names[kinds[i]]}{score}',
          color(kinds[i]))
  return image


def color(kind: int) -> tuple[int, int, int]:
  """The colour of a class, the same in every picture."""
  return tuple(round(255 * share) for share in colorsys.hsv_to_rgb(
      kind * _TURN % 1, 0.85, 0.85))


def _name(draw, font, box, text, ink):
  """A box's name: above it, or inside where there is no room."""
  *_, right, bottom = draw.textbbox((0, 0), text, font)
  wide, high = right + 4, bottom + 3
  x = max(0, min(box[0], draw.im.size[0] - wide))
  y = box[1] - high if box[1] >= high else box[1]
  draw.rectangle((x, y, x + wide, y + high), fill=ink)
  bright = 0.299 * ink[0] + 0.587 * ink[1] + 0.114 * ink[2]
  draw.text((x + 2, y + 1), text, 'black' if bright > 140 else 'white', font)


def write(path: str | os.PathLike,
          results: Sequence[Mapping[str, Any]]) -> None:
  """Writes what `scores.boxes.results` gives, whole or not at all."""
  with files.beside(path) as place:
    place.write_text(json.dumps(list(results)), 'utf-8')
