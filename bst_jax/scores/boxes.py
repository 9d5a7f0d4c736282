"""Average precision of boxes with classes, as COCO's evaluation has it."""
from collections.abc import Mapping
import contextlib
import io

from bst_jax.scores import Measure
import jax.numpy as jnp
import numpy as np

# What COCO's evaluation sums up, in its order; areas are small below 32 x 32
# pixels, large above 96 x 96.
NUMBERS = ('AP', 'AP50', 'AP75', 'AP small', 'AP medium', 'AP large', 'AR 1',
           'AR 10', 'AR 100', 'AR small', 'AR medium', 'AR large')


def make(output: str = '') -> Measure:
  """Average precision of a detector's boxes, in percent.

  Outputs are `boxes` float[B, N, 4], in pixels of the canvas, `scores`
  float[B, N], `found` int[B, N] and `valid` bool[B, N]; the batch has the form
  `objects`. `object_crowd` bool[B, M], if it is there, marks regions of many
  objects: what is found in them is neither right nor wrong.

  Args:
    output: of the task; boxes are read beside it.

  Reference: Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014;
    computed by pycocotools.
  """
  del output

  def read(outputs, batch):
    height, width = batch['image'].shape[1:3]
    scale = jnp.array([width, height] * 2, jnp.float32)
    crowd = batch.get('object_crowd', jnp.zeros(batch['object_mask'].shape, bool))
    return {'boxes': outputs['boxes'], 'scores': outputs['scores'],
            'found': outputs['found'], 'valid': outputs['valid'],
            'objects': batch['object_boxes'] * scale,
            'kinds': batch['object_classes'], 'there': batch['object_mask'],
            'crowd': crowd}

  return Measure('average_precision', 'average precision in percent', read,
                 'rows', lambda rows, data: of_rows(rows))


def of_rows(rows: Mapping[str, np.ndarray]) -> dict[str, float]:
  """{name of `NUMBERS`: percent}; NaN where there is no object of a size.

  Args:
    rows: of all pictures, see `make`.

  Raises:
    ValueError: pycocotools is not installed.
  """
  try:
    from pycocotools import coco, cocoeval
  except ImportError as error:
    raise ValueError(
        'average precision is computed by pycocotools, which is not installed: '
        "pip install 'bst_jax[eval]'") from error
  truth, said = coco.COCO(), coco.COCO()
  pictures, kinds = len(rows['valid']), 1 + max(
      int(rows[key].max(initial=0)) for key in ('kinds', 'found'))
  truth.dataset = {
      'images': [{'id': i + 1} for i in range(pictures)],
      'categories': [{'id': i} for i in range(kinds)],
      'annotations': [
          _annotation(box, i, kind, iscrowd=int(crowd)) for i, *every in zip(
              range(pictures), rows['objects'], rows['kinds'], rows['there'],
              rows['crowd'])
          for box, kind, there, crowd in zip(*every) if there]}
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
    judge = cocoeval.COCOeval(truth, said, 'bbox')
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
  return {name: 100 * float(value) if value >= 0 else float('nan')
          for name, value in zip(NUMBERS, judge.stats)}


def _annotation(box, picture, kind, **more):
  """A box as pycocotools has it: left, top, width and height."""
  left, top, right, bottom = map(float, box)
  sides = right - left, bottom - top
  return {'image_id': picture + 1, 'category_id': int(kind),
          'bbox': [left, top, *sides], 'area': sides[0] * sides[1], **more}
