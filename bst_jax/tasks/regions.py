"""Objects in pictures by a detector of two stages: where, what, and how they look."""
from bst_jax import tasks
from bst_jax.elastic import check_name
from bst_jax.layers.detection import assignment, boxes, losses, sampling
from bst_jax.layers.detection.selection import WEIGHTS
from bst_jax.layers.dropout import keys_of_rows
from bst_jax.scores import Measure
import jax
import jax.numpy as jnp
import optax

_ANCHORS, _SHARE = 256, 0.5  # Of a picture, and of objects among them.


def make(measure_overlap: float = 0.5, attributes: float = 0.5
         ) -> 'tasks.Task':
  """The task of `models.tee`, whose labels are the form `objects`.

  Each term is a mean over the pictures of a batch: cross-entropy of a sample of
  anchors and smooth L1 of those that are of an object, over their number; the
  same of proposals and their classes; cross-entropy of attributes, over the
  proposals that are of an object.

  Args:
    measure_overlap: from which a region has found an object, for the recall that
      evaluation tells.
    attributes: weight of their loss.

  Reference: Ren et al., "Faster R-CNN", NeurIPS 2015, equation 1; Anderson et
    al., "Bottom-Up and Top-Down Attention", CVPR 2018, section 3.1.
  """
  return tasks.Task(
      form='objects', outputs=('classes',), loss=of_batch,
      terms={'objectness': (1.0, 'mean_batch'), 'anchors': (1.0, 'mean_batch'),
             'classes': (1.0, 'mean_batch'), 'boxes': (1.0, 'mean_batch'),
             'attributes': (attributes, 'mean_batch')},
      soften=lambda outputs: outputs['classes'], student=None,
      measure=recalled(measure_overlap),
      tell=lambda outputs, names: [
          [(names[kind], float(score)) for kind, score, there in zip(
              *map(list, row)) if there] for row in zip(
                  outputs['found'], outputs['scores'], outputs['valid'])],
      card='probabilities of classes, the background first', row='picture',
      told='classes',
      exported=('boxes', 'scores', 'found', 'valid', 'features'))


def of_batch(outputs: 'tasks.Arrays', batch: 'tasks.Arrays',
             key: jax.Array | None) -> dict[str, 'tasks.Rows']:
  """{term: rows} of a batch, a row a picture."""
  for name in ('object_boxes', 'object_classes', 'object_mask'):
    check_name(name, batch, 'key of the batch')
  rows = outputs['objectness'].shape[0]
  # Where nothing is drawn, as in evaluation, the sample is always the same.
  keys = keys_of_rows(jax.random.key(0) if key is None else key, rows)
  sides = jnp.array(batch['image'].shape[1:3])
  scale = jnp.concatenate([sides[::-1], sides[::-1]]).astype(jnp.float32)
  objects = batch['object_boxes'] * scale
  extent = batch.get('extent', jnp.broadcast_to(sides, (rows, 2)))
  crowds = batch.get('object_crowd', jnp.zeros(
      batch['object_mask'].shape, bool))
  found = jax.vmap(_anchors_of)(outputs['anchors'], outputs['objectness'],
                                outputs['anchor_deltas'], objects,
                                batch['object_mask'], crowds, extent, keys)
  own = jax.vmap(_own)(outputs['rois'], outputs['roi_mask'], objects,
                       batch['object_mask'], crowds)
  found |= jax.vmap(_rois_of)(
      own, outputs['rois'], outputs['classes'], outputs['roi_deltas'], objects,
      batch['object_classes'])
  if 'attributes' in outputs:
    told = batch['object_attributes']
    there = batch.get('object_attribute_mask', jnp.ones(told.shape, bool))
    found['attributes'] = jax.vmap(_attributes_of)(
        own, outputs['attributes'], told, there)
  else:
    found['attributes'] = jnp.zeros(rows)
  weight = batch['mask'].astype(jnp.float32)
  return {name: tasks.Rows(loss, weight) for name, loss in found.items()}


def _anchors_of(anchors, logits, deltas, objects, there, crowds, extent, key):
  """Losses of the anchors of a picture."""
  found = assignment.matched(
      boxes.iou(anchors, objects), there, 0.7, 0.3, best=True)
  found = assignment.within(assignment.without_crowds(
      found, anchors, objects, crowds), anchors, extent)
  some, rest = sampling.chosen(found, key, _ANCHORS, _SHARE)
  count = jnp.maximum((some | rest).sum(), 1)
  wanted = boxes.encode(objects[jnp.maximum(found, 0)], anchors)
  far = losses.smooth_l1(jnp.where(some[:, None], deltas - wanted, 0), 1 / 9)
  told = losses.objectness(logits, some)
  return {'objectness': jnp.where(some | rest, told, 0).sum() / count,
          'anchors': far.sum() / count}


def _own(rois, mask, objects, there, crowds):
  """int[R], the object of each proposal; what is none is left out."""
  found = assignment.without_crowds(
      assignment.matched(boxes.iou(rois, objects), there, 0.5, 0.5), rois,
      objects, crowds)
  return jnp.where(mask, found, assignment.IGNORED)


def _rois_of(found, rois, logits, deltas, objects, classes):
  """Losses of the proposals of a picture; what is in a crowd counts nothing."""
  real = found != assignment.IGNORED
  some, count = found >= 0, jnp.maximum(real.sum(), 1)
  own = jnp.maximum(found, 0)
  kinds = jnp.where(some, 1 + classes[own], 0)
  told = optax.softmax_cross_entropy_with_integer_labels(logits, kinds)
  wanted = boxes.encode(objects[own], rois, WEIGHTS)
  far = losses.smooth_l1(jnp.where(some[:, None], deltas - wanted, 0), 1.0)
  return {'classes': jnp.where(real, told, 0).sum() / count,
          'boxes': far.sum() / count}


def _attributes_of(found, logits, told, told_mask):
  """Loss of the attributes of a picture's proposals."""
  some, own = found >= 0, jnp.maximum(found, 0)
  each = losses.attributes(logits, told[own], told_mask[own])
  return jnp.where(some, each, 0).sum() / jnp.maximum(some.sum(), 1)


def recalled(overlap: float) -> Measure:
  """Percent of objects that a region of the right class, or of any, lies on."""
  def read(outputs, batch):
    sides = batch['image'].shape[1:3]
    scale = jnp.array([sides[1], sides[0]] * 2, jnp.float32)

    def of_picture(found, kinds, valid, objects, classes):
      there = (boxes.iou(objects, found) >= overlap) & valid  # [M, N]
      return there.any(1), (there & (classes[:, None] == kinds)).any(1)

    any_, right = jax.vmap(of_picture)(
        outputs['boxes'], outputs['found'], outputs['valid'],
        batch['object_boxes'] * scale, batch['object_classes'])
    mask = batch['object_mask'] & batch['mask'][:, None]
    total = lambda x: jnp.sum(x, dtype=jnp.float32)
    return {'named': total(right & mask), 'found': total(any_ & mask),
            'objects': total(mask)}

  def finish(sums, data):
    del data
    share = lambda name: 100 * float(sums[name]) / max(float(sums['objects']), 1)
    return {'named': share('named'), 'found': share('found')}

  return Measure('objects', 'objects found and named, in percent', read, 'sum',
                 finish)
