"""Losses of whole pictures as detectors add them up, against torchvision's."""
import pathlib

from bst_jax.layers.detection import assignment, boxes, losses
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

GOLDEN = pathlib.Path(__file__).parent / 'golden' / 'detection.npz'
WEIGHTS = (10.0, 10.0, 5.0, 5.0)


@pytest.fixture(scope='module')
def golden():
  with np.load(GOLDEN) as arrays:
    return dict(arrays)


def far(found, deltas, some, objects, wanted_of, beta, weights=(1, 1, 1, 1)):
  """float[N], smooth L1 of boxes that are of an object, 0 of others."""
  wanted = boxes.encode(objects[jnp.maximum(found, 0)], wanted_of, weights)
  return losses.smooth_l1(jnp.where(some[:, None], deltas - wanted, 0), beta)


def test_of_anchors(golden):
  """A sample of them: mean cross-entropy, and smooth L1 over their number."""
  @jax.jit
  def run(anchors, objects, logits, deltas):
    valid = jnp.ones(len(objects), bool)
    found = assignment.matched(
        boxes.iou(anchors, objects), valid, 0.7, 0.3, best=True)
    third = np.arange(len(anchors)) % 3 == 0
    some = (found >= 0) & third
    taken = some | ((found == assignment.BACKGROUND) & third)
    told = jnp.where(taken, losses.objectness(logits, some), 0)
    moved = far(found, deltas, some, objects, anchors, 1 / 9)
    return jnp.stack([told.sum(), moved.sum()]) / taken.sum(), some.sum()

  got, positive = run(golden['anchors/one'], golden['match/objects'],
                      golden['rpn/logits'], golden['rpn/deltas'])
  assert positive > 5
  np.testing.assert_allclose(got, golden['taught/rpn'], rtol=1e-5)


def test_of_proposals(golden):
  """Over the number of proposals; torchvision's beta is a ninth here too."""
  @jax.jit
  def run(rois, objects, kinds, logits, deltas):
    found = assignment.matched(
        boxes.iou(rois, objects), jnp.ones(len(objects), bool), 0.5, 0.5)
    some = found >= 0
    told = jnp.where(some, kinds[jnp.maximum(found, 0)], 0)
    classes = optax.softmax_cross_entropy_with_integer_labels(logits, told)
    moved = far(found, deltas, some, objects, rois, 1 / 9, WEIGHTS)
    return jnp.stack([classes.mean(), moved.sum() / len(rois)]), some.sum()

  got, positive = run(golden['taught/rois'], golden['match/objects'],
                      golden['taught/kinds'], golden['taught/logits'],
                      golden['taught/deltas'])
  assert positive > 5
  np.testing.assert_allclose(got, golden['taught/roi'], rtol=1e-5)


def dense(anchors, objects, valid, kinds, logits, deltas):
  """RetinaNet's two, over the number of anchors that are of an object."""
  found = assignment.matched(
      boxes.iou(anchors, objects), valid, 0.5, 0.4, best=True)
  some = found >= 0
  target = jax.nn.one_hot(kinds[jnp.maximum(found, 0)], logits.shape[1])
  told = losses.focal(logits, jnp.where(some[:, None], target, 0))
  told = jnp.where(found == assignment.IGNORED, 0, told)
  moved = far(found, deltas, some, objects, anchors, 0)
  return jnp.stack([told.sum(), moved.sum()]) / jnp.maximum(some.sum(), 1)


def test_of_a_dense_detector(golden):
  objects = golden['match/objects']
  got = jax.jit(dense)(
      golden['anchors/one'], objects, np.ones(len(objects), bool),
      golden['taught/kinds'] - 1, golden['taught/each'], golden['rpn/deltas'])
  np.testing.assert_allclose(got, golden['taught/retina'], rtol=1e-5)


@pytest.mark.parametrize('side', [None, 0.01])
def test_a_picture_without_an_anchor_of_an_object_teaches_background(
    golden, side):
  """No object, or one so small and far that no anchor overlaps it."""
  objects = jnp.full((2, 4), -500.0) + jnp.array([0, 0, 1, 1]) * (side or 0)
  valid = jnp.array([side is not None, False])
  terms = jax.jit(lambda logits, deltas: dense(
      golden['anchors/one'], objects, valid, jnp.zeros(2, jnp.int32), logits,
      deltas))
  given = golden['taught/each'], golden['rpn/deltas']
  told, moved = terms(*given)
  assert moved == 0 and told > 1
  each, still = jax.jit(jax.grad(lambda *x: terms(*x).sum(), (0, 1)))(*given)
  assert np.isfinite(each).all() and each.any() and not still.any()


def test_attributes_of_empty_slots_may_be_any_number():
  logits = jnp.array([[0.0, 1, 2, 3]] * 2)
  told = jnp.array([[2, -1], [400, -7]])
  there = jnp.array([[True, False], [False, False]])
  loss = jax.jit(lambda x: losses.attributes(x, told, there))
  log = 2 - np.log(np.exp([0, 1, 2, 3]).sum())
  np.testing.assert_allclose(loss(logits), [-log, 0], rtol=1e-6)
  grads = jax.grad(lambda x: loss(x).sum())(logits)
  share = np.exp([0, 1, 2, 3]) / np.exp([0, 1, 2, 3]).sum()
  np.testing.assert_allclose(
      grads, [share - np.eye(4)[2], np.zeros(4)], atol=1e-6)
