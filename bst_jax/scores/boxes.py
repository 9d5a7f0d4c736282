"""Average precision of boxes with classes, as COCO's evaluation has it."""
from collections.abc import Mapping, Sequence
import contextlib
import io
from typing import Any

from bst_jax.scores import Measure
import jax
import jax.numpy as jnp
import numpy as np

# What COCO's evaluation sums up, in its order; areas are small below 32 x 32
# pixels, large above 96 x 96.
NUMBERS = ('AP', 'AP50', 'AP75', 'AP small', 'AP medium', 'AP large', 'AR 1',
           'AR 10', 'AR 100', 'AR small', 'AR medium', 'AR large')


def make(output: str = '', threshold: float = 0.0) -> Measure:
  """Average precision of a detector's boxes, in percent.

  Outputs are `boxes` float[B, N, 4], in pixels of the canvas, `scores`
  float[B, N], `found` int[B, N] and `valid` bool[B, N]; the batch has the form
  `objects`. Boxes are compared in the pixels of the pictures themselves, as
  their files have them, so that the canvas decides nothing.

  Args:
    output: of the task; boxes are read beside it.
    threshold: of the score; boxes below it do not count. Above 0 the measure's
      name and title carry it, as the precision is that of fewer boxes.

  Reference: Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014;
    computed by pycocotools.
  """
  del output
  name, title = 'average_precision', 'average precision in percent'
  if not threshold:
    return Measure(name, title, read, 'rows',
                   lambda rows, data: of_rows(rows), judge)

  def of_sure(outputs, batch):
    valid = outputs['valid'] & (outputs['scores'] >= threshold)
    return read({**outputs, 'valid': valid}, batch)

  return Measure(
      f'{name}_from_{threshold:g}',
      f'{title} of boxes with a score from {threshold:g} on', of_sure, 'rows',
      lambda rows, data: of_rows(rows), judge)


def read(outputs: Mapping[str, jax.Array], batch: Mapping[str, jax.Array]
         ) -> dict[str, jax.Array]:
  """Rows for `of_rows` and `results`, a picture each.

  Args:
    outputs: of a detector, see `make`.
    batch: of the form `objects`. Without `picture_size` and `picture_place` a
      picture is its canvas; without `object_crowd` there are no crowds, and
      without `object_area` areas are those of boxes.
  """
  shape, areas = batch['object_mask'].shape, {}
  sides = jnp.array(batch['image'].shape[1:3], jnp.float32)
  own = batch.get('picture_size', sides).astype(jnp.float32)
  place = batch.get('picture_place', jnp.array([0, 0, 1, 1], jnp.float32))
  crowd = batch.get('object_crowd', jnp.zeros(shape, bool))
  pair = lambda two: jnp.concatenate([two[..., ::-1]] * 2, -1)  # x y x y

  def in_picture(shares):
    low = jnp.concatenate([place[..., :2]] * 2, -1)
    size = jnp.concatenate([place[..., 2:] - place[..., :2]] * 2, -1)
    # A batch has one of each a picture, or one for all.
    row = lambda x: x[:, None] if x.ndim == 2 else x
    return (shares - row(low)) / row(size) * row(pair(own))

  if 'object_area' in batch:
    areas['areas'] = batch['object_area']
  return {'boxes': in_picture(outputs['boxes'] / pair(sides)),
          'scores': outputs['scores'], 'found': outputs['found'],
          'valid': outputs['valid'],
          'objects': in_picture(batch['object_boxes']),
          'kinds': batch['object_classes'],
          'there': batch['object_mask'] | crowd, 'crowd': crowd, **areas}


def of_rows(rows: Mapping[str, np.ndarray]) -> dict[str, float]:
  """{name of `NUMBERS`: percent}; NaN where there is no object of a size.

  Args:
    rows: of P pictures: boxes float[P, N, 4], x1 y1 x2 y2 in pixels, scores
      float[P, N], found int[P, N] and valid bool[P, N]; objects float[P, M, 4],
      kinds int[P, M], there bool[P, M], crowd bool[P, M], and areas float[P, M]
      in square pixels, of the boxes if left out.

  Raises:
    ValueError: pycocotools is not installed.
  """
  coco, cocoeval = judge()
  truth, said = coco.COCO(), coco.COCO()
  pictures, kinds = len(rows['valid']), 1 + max(
      int(rows[key].max(initial=0)) for key in ('kinds', 'found'))
  truth.dataset = {
      'images': [{'id': i + 1} for i in range(pictures)],
      'categories': [{'id': i} for i in range(kinds)],
      'annotations': [
          _annotation(box, i, kind, iscrowd=int(crowd)) | _area(area)
          for i, *every in zip(
              range(pictures), rows['objects'], rows['kinds'], rows['there'],
              rows['crowd'], rows.get('areas', np.full(
                  rows['kinds'].shape, np.nan)))
          for box, kind, there, crowd, area in zip(*every) if there]}
  said.dataset = truth.dataset | {'annotations': [
      _annotation(box, i, kind, score=float(score), iscrowd=0)
      for i, *every in zip(range(pictures), rows['boxes'], rows['found'],
                           rows['valid'], rows['scores'])
      for box, kind, there, score in zip(*every) if there]}
  for one in (truth, said):
    # Ids from 1: an annotation 0 would count as no match.
    for number, annotation in enumerate(one.dataset['annotations'], 1):
      annotation['id'] = number
  with contextlib.redirect_stdout(io.StringIO()):
    truth.createIndex()
    said.createIndex()
    told = cocoeval.COCOeval(truth, said, 'bbox')
    told.evaluate()
    told.accumulate()
    told.summarize()
  return {name: 100 * float(value) if value >= 0 else float('nan')
          for name, value in zip(NUMBERS, told.stats)}


def judge() -> tuple[Any, Any]:
  """The modules coco and cocoeval of pycocotools.

  Raises:
    ValueError: it is not installed.
  """
  try:
    from pycocotools import coco, cocoeval
  except ImportError as error:
    raise ValueError(
        'average precision is computed by pycocotools, which is not installed: '
        "pip install 'bst_jax[eval]'") from error
  return coco, cocoeval


def results(rows: Mapping[str, np.ndarray], ids: Sequence[str],
            numbers: Sequence[str]) -> list[dict[str, Any]]:
  """What was found, as COCO's evaluation server takes it, for JSON.

  Args:
    rows: of all pictures, see `of_rows`.
    ids: of the pictures, in their order, as their file of annotations has them.
    numbers: of the classes in that file.

  Returns:
    A dict for each box: image_id, category_id, bbox, which is left, top, width
    and height in pixels of the picture, and score.

  Raises:
    ValueError: there is nothing, which servers and pycocotools cannot read.
  """
  # Coarser, boxes cross thresholds: hundredths moved the AP of 8 pictures by 1.
  found = [{'image_id': int(id), 'category_id': int(numbers[kind]),
            'bbox': [round(side, 4) for side in _annotation(
                box, 0, kind)['bbox']], 'score': float(score)}
           for id, *every in zip(ids, rows['boxes'], rows['found'],
                                 rows['valid'], rows['scores'], strict=True)
           for box, kind, valid, score in zip(*every) if valid]
  if not found:
    raise ValueError(
        f'Boxes of {len(ids)} pictures were to be written, but none was found; '
        'lower the model\'s threshold of scores, or train it longer.')
  return found


def _area(told):
  return {} if np.isnan(told) else {'area': float(told)}


def _annotation(box, picture, kind, **more):
  """A box as pycocotools has it: left, top, width and height."""
  left, top, right, bottom = map(float, box)
  sides = right - left, bottom - top
  return {'image_id': picture + 1, 'category_id': int(kind),
          'bbox': [left, top, *sides], 'area': sides[0] * sides[1], **more}
