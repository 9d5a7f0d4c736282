"""Detection's functions: eager, compiled, and of several pictures at once."""
from bst_jax.layers.detection import (
  anchors,
  assignment,
  boxes,
  losses,
  nms,
  proposals,
  roi_align,
  sampling,
  selection,
)
import jax
import jax.numpy as jnp
import numpy as np
import pytest

STRIDES, SIDE, CLASSES, OBJECTS = (8, 16), 32, 3, 4
ANCHORS = anchors.levels([(SIDE // s, SIDE // s) for s in STRIDES], STRIDES,
                         (8, 16))
ALL = np.concatenate(ANCHORS)
BREAK = len(ANCHORS[0])


def pictures(counts=(2, 0, 4), seed=0):
  """Of every picture what a network says, and as many objects as `counts`."""
  rng, rows = np.random.default_rng(seed), len(counts)
  corners = rng.uniform(0, 20, (rows, OBJECTS, 2))
  normal = lambda *shape: rng.standard_normal((rows, *shape), np.float32)
  return {
      'objects': np.concatenate([corners, corners + rng.uniform(
          6, 16, (rows, OBJECTS, 2))], -1).astype(np.float32),
      'there': np.arange(OBJECTS) < np.array(counts)[:, None],
      'logits': 2 * normal(len(ALL), CLASSES + 1),
      'deltas': normal(len(ALL), 4), 'fine': normal(4, 4, 5),
      'coarse': normal(2, 2, 5), 'extent': np.array([[32, 32], [20, 32], [
          32, 24]])[:rows], 'key': jax.random.split(jax.random.key(seed), rows)}


def split(array):
  return [array[:BREAK], array[BREAK:]]


def suppressed(x):
  keep = nms.suppress(ALL + x['deltas'], x['logits'][:, 0],
                      x['logits'][:, 1] > 0, 0.5)
  return keep, *nms.first(keep, x['logits'][:, 0], 9)


def proposed(x):
  found, logits, valid = proposals.of_levels(
      split(x['logits'][:, 0]), split(x['deltas']), ANCHORS, x['extent'],
      each=20, count=16)
  return found, logits, valid, roi_align.pooled(
      [x['fine'], x['coarse']], found, STRIDES, 2)


def assigned(x):
  found = assignment.matched(
      boxes.iou(ALL, x['objects']), x['there'], 0.5, 0.3, best=True)
  found = assignment.without_crowds(
      found, ALL, x['objects'][::-1], x['there'])
  found = assignment.within(found, ALL, x['extent'], 4.0)
  some, rest = sampling.chosen(found, x['key'], 12, 0.5)
  return found, some, rest, *sampling.slots(some | rest, 14)


def taught(x):
  found = assigned(x)[0]
  wanted = boxes.encode(x['objects'][jnp.maximum(found, 0)], ALL)
  told = x['logits'] > 0
  return (losses.smooth_l1(x['deltas'] - wanted, 1 / 9),
          losses.objectness(x['logits'][:, 0], found >= 0),
          losses.focal(x['logits'], told.astype(jnp.float32)),
          losses.attributes(x['logits'], jnp.argsort(x['logits']), told))


def selected(x):
  found = selection.regions(
      jnp.asarray(ALL), x['logits'][:, 0] > -2, x['logits'], x['deltas'],
      x['extent'], 8)
  return *found, selection.geometry(found.boxes, x['extent'])


def by_class(x):
  return selection.by_class(split(x['logits'][:, 1:]), split(x['deltas']),
                            ANCHORS, x['extent'], 10, 30)


RUNS = suppressed, proposed, assigned, taught, selected, by_class


@pytest.mark.parametrize('run', RUNS, ids=lambda run: run.__name__)
def test_compiled_and_of_several_is_as_one_by_one(run):
  given = pictures()
  traced = []

  @jax.jit
  def one(x):
    traced.append(True)
    return run(x)

  several = jax.jit(jax.vmap(run))(given)
  for i, count in enumerate(given['there'].sum(1)):
    x = {name: value[i] for name, value in given.items()}
    compiled = one(x)
    for a, b, c in zip(compiled, several, run(x) if i == 1 else compiled,
                       strict=True):
      np.testing.assert_allclose(b[i], a, rtol=1e-5, atol=1e-5)
      np.testing.assert_allclose(c, a, rtol=1e-5, atol=1e-5)
      assert a.dtype == b.dtype == c.dtype
      assert not np.isnan(a).any(), count
  assert len(traced) == 1  # Whatever number of objects there is.


def test_no_gradient_reaches_what_is_proposed_or_found():
  x = {name: value[0] for name, value in pictures().items()}

  @jax.jit
  def total(said):
    given = x | said
    return sum(jnp.where(jnp.isfinite(part), part, 0).sum()
               for run in (proposed, selected, by_class)
               for part in run(given)[:2])

  grads = jax.grad(total)({name: x[name] for name in ('logits', 'deltas')})
  assert not any(part.any() for part in jax.tree.leaves(grads))


def test_a_box_in_a_crowd_teaches_nothing():
  """One object, and a crowd with anchors in it that are far from the object."""
  objects = jnp.array([[0, 0, 8, 8.]])
  crowds = jnp.array([[16, 16, 32, 32.], [0, 0, 32, 32]])

  @jax.jit
  def run(there):
    found = assignment.matched(boxes.iou(ALL, objects), jnp.array([True]), 0.5,
                               0.4, best=True)
    return assignment.without_crowds(found, ALL, crowds, there)

  without, with_one, with_all = (
      np.asarray(run(jnp.array(there)))
      for there in ((False, False), (True, False), (True, True)))
  width = np.minimum(ALL[:, 2], 32) - np.maximum(ALL[:, 0], 16)
  height = np.minimum(ALL[:, 3], 32) - np.maximum(ALL[:, 1], 16)
  area = (ALL[:, 2] - ALL[:, 0]) * (ALL[:, 3] - ALL[:, 1])
  mostly = np.maximum(width, 0) * np.maximum(height, 0) / area > 0.5
  moved = (without == assignment.BACKGROUND) & mostly
  assert 0 < moved.sum() < (without == assignment.BACKGROUND).sum()
  np.testing.assert_array_equal(
      with_one, np.where(moved, assignment.IGNORED, without))
  # Where all is crowd, the object stays one.
  assert (with_all == 0).sum() == (without == 0).sum() > 0
