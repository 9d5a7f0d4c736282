"""Objects in pictures by a detector of one stage: where they are, and what."""
from bst_jax import tasks
from bst_jax.elastic import check_name
from bst_jax.layers.detection import assignment, boxes, losses
from bst_jax.scores import boxes as scores_boxes
import jax
import jax.numpy as jnp

# How boxes are compared, and over what sums of losses are divided.
BOX_LOSSES, DIVISORS = ('l1', 'giou'), ('batch', 'picture')


def make(box_loss: str = 'l1', divisor: str = 'batch', high: float = 0.5,
         low: float = 0.4, best: bool = True) -> 'tasks.Task':
  """The task of RetinaNet, whose labels are the form `objects`.

  Focal loss of all anchors but those that are neither, and the distance of the
  boxes of those that are of an object. Both are divided by the number of the
  latter in the batch, at least 1: so a batch without any has a box loss of 0
  and learns that there is nothing.

  Args:
    box_loss: of `BOX_LOSSES`: the distance of what is said of anchors, or that of
      the boxes that it gives.
    divisor: the anchors that are of an object in the whole `batch`, on however
      many devices it lies; or in each `picture`, of which the mean is taken, as
      torchvision does. With micro-batches it is of each of them.
    high, low: overlaps from which an anchor is of an object, and below which it
      is background.
    best: whether the anchors nearest to an object are of it, too, however
      little they overlap it.

  Evaluation tells the average precision of all boxes that the model hands on,
  of whatever score; another threshold is an option of the measure
  (`scores.boxes`), whose name then carries it.

  Reference: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017,
    sections 3 and 4.
  Differs: the paper leaves an object without an anchor where none reaches
    `high`; released code has `best`.
  """
  check_name(box_loss, BOX_LOSSES, 'loss of boxes')
  check_name(divisor, DIVISORS, 'divisor of losses')
  if not 0 <= low <= high <= 1:
    raise ValueError(
        f'overlaps low={low} and high={high} do not follow each other; give '
        'numbers from 0 to 1, low not above high, as 0.4 and 0.5.')
  return tasks.Task(
      form='objects', outputs=('classes',),
      loss=lambda outputs, batch, key: of_batch(
          outputs, batch, box_loss, divisor, high, low, best),
      terms={'classes': (1.0, 'mean_batch'), 'boxes': (1.0, 'mean_batch')},
      soften=lambda outputs: outputs['classes'], student=None,
      measure=scores_boxes.make('classes'),
      tell=lambda outputs, names: [
          [(names[kind], float(score)) for kind, score, there in zip(
              *map(list, row)) if there] for row in zip(
                  outputs['found'], outputs['scores'], outputs['valid'])],
      card='logits of the classes of all anchors', row='picture',
      told='classes', exclusive=False,
      exported=('boxes', 'scores', 'found', 'valid'))


def of_batch(outputs: 'tasks.Arrays', batch: 'tasks.Arrays',
             box_loss: str = 'l1', divisor: str = 'batch', high: float = 0.5,
             low: float = 0.4, best: bool = True) -> dict[str, 'tasks.Rows']:
  """{term: rows} of a batch, a row a picture.

  Args:
    outputs: anchors float[B, A, 4], in pixels, classes float[B, A, C], logits,
      and deltas float[B, A, 4].
    batch: of the form `objects`.
    box_loss, divisor, high, low, best: see `make`.
  """
  for name in ('object_boxes', 'object_classes', 'object_mask'):
    check_name(name, batch, 'key of the batch')
  height, width = batch['image'].shape[1:3]
  objects = batch['object_boxes'] * jnp.array([width, height] * 2, jnp.float32)
  crowds = batch.get('object_crowd', jnp.zeros(
      batch['object_mask'].shape, bool))
  of_picture = lambda *rows: _of_picture(*rows, box_loss, high, low, best)
  sums, count = jax.vmap(of_picture)(
      outputs['anchors'], outputs['classes'], outputs['deltas'], objects,
      batch['object_classes'], batch['object_mask'], crowds)
  weight = batch['mask'].astype(jnp.float32)
  share = (_share(count, weight) if divisor == 'batch' else
           1 / jnp.maximum(count, 1))
  return {name: tasks.Rows(loss * share, weight) for name, loss in sums.items()}


def _share(count, weight):
  """float[], by which a row's sum is multiplied, so that the mean is the loss.

  Where every device works on its own rows (`sharding.on_own_rows`), losses are
  means over the devices, and the anchors are those of all of them.
  """
  total, devices = (count * weight).sum(), 1
  axes = tuple(jax.sharding.get_abstract_mesh().manual_axes)
  if axes:
    total, devices = jax.lax.psum(total, axes), jax.lax.axis_size(axes)
  return weight.sum() * devices / jnp.maximum(total, 1)


def _of_picture(anchors, logits, deltas, objects, classes, there, crowds,
                box_loss, high, low, best):
  """({term: the sum over a picture's anchors}, those that are of an object)."""
  found = assignment.without_crowds(
      assignment.matched(boxes.iou(anchors, objects), there, high, low, best),
      anchors, objects, crowds)
  some, own = found >= 0, jnp.maximum(found, 0)
  target = jnp.where(some[:, None], jax.nn.one_hot(
      classes[own], logits.shape[-1], dtype=logits.dtype), 0)
  told = jnp.where(found == assignment.IGNORED, 0, losses.focal(logits, target))
  if box_loss == 'l1':
    wanted = boxes.encode(objects[own], anchors)
    far = losses.smooth_l1(jnp.where(some[:, None], deltas - wanted, 0), 0)
  else:
    far = jnp.where(some, losses.giou(
        boxes.decode(deltas, anchors), objects[own]), 0)
  return {'classes': told.sum(), 'boxes': far.sum()}, some.sum()
