"""Proposals, what each box is to be of, samples, losses and what is found."""
import pathlib

from bst_jax.layers.detection import (
  assignment,
  boxes,
  losses,
  proposals,
  sampling,
  selection,
)
import jax
import jax.numpy as jnp
import numpy as np
import pytest

GOLDEN = pathlib.Path(__file__).parent / 'golden' / 'detection.npz'
STRIDES = 4, 8, 16, 32, 64


@pytest.fixture(scope='module')
def golden():
  with np.load(GOLDEN) as arrays:
    return dict(arrays)


def split(array, strides=STRIDES):
  counts = [3 * (128 // s) ** 2 for s in strides]
  return np.split(array, np.cumsum(counts)[:-1])


# Proposals.


def test_proposals_are_torchvision_s(golden):
  run = jax.jit(lambda logits, deltas, extent: proposals.of_levels(
      logits, deltas, split(golden['anchors/one']), extent, 200, 60))
  found, logits, valid = run(
      split(golden['rpn/logits']), split(golden['rpn/deltas']),
      jnp.array([100, 120]))
  count = len(golden['rpn/boxes'])
  assert valid.sum() == count == 60
  np.testing.assert_allclose(found, golden['rpn/boxes'], atol=1e-4)
  np.testing.assert_allclose(jax.nn.sigmoid(logits), golden['rpn/scores'],
                             atol=1e-6)


def test_fewer_proposals_than_there_is_room_for():
  first = np.float32([[0, 0, 8, 8], [0, 0, 8, 9], [40, 40, 44, 44]])
  found, logits, valid = proposals.of_levels(
      [jnp.array([1.0, 2.0, 0.5])], [jnp.zeros((3, 4))], [first],
      jnp.array([42, 42]), 10, 5)
  np.testing.assert_array_equal(valid, [True, True, False, False, False])
  np.testing.assert_array_equal(found[:2], [[0, 0, 8, 9], [40, 40, 42, 42]])
  assert not found[2:].any() and (logits[2:] == -np.inf).all()
  # Of a picture that is elsewhere nothing is left.
  *_, valid = proposals.of_levels(
      [jnp.zeros(3)], [jnp.zeros((3, 4))], [first + 100], jnp.array([42, 42]),
      10, 5)
  assert not valid.any()


# Which object.


@pytest.mark.parametrize('name, settings', [
    ('rpn', (0.7, 0.3, True)), ('roi', (0.5, 0.5, False)),
    ('retina', (0.5, 0.4, True))])
def test_matches_are_torchvision_s(golden, name, settings):
  overlaps = golden['match/overlaps'].T
  valid = np.ones(overlaps.shape[1], bool)
  got = assignment.matched(overlaps, valid, *settings)
  np.testing.assert_array_equal(got, golden[f'match/{name}'])
  assert len(set(golden[f'match/{name}'].tolist())) > 4
  # Objects that are none are as if they were not there.
  more = np.concatenate([overlaps, np.ones((len(overlaps), 3))], 1)
  np.testing.assert_array_equal(assignment.matched(
      more, np.r_[valid, np.zeros(3, bool)], *settings), got)


def test_pictures_without_objects():
  none = assignment.matched(
      jnp.zeros((4, 3)), jnp.zeros(3, bool), 0.7, 0.3, True)
  np.testing.assert_array_equal(none, [assignment.BACKGROUND] * 4)
  np.testing.assert_array_equal(assignment.matched(
      jnp.zeros((4, 0)), jnp.zeros(0, bool), 0.7, 0.3, True), none)


def test_boxes_in_a_crowd_are_neither_right_nor_wrong():
  found = jnp.array([-1, -1, -1, 2, -2])
  some = jnp.array([[0, 0, 10, 10], [4, 0, 14, 10], [6, 0, 16, 10],
                    [0, 0, 10, 10], [0, 0, 10, 10.]])
  crowds = jnp.array([[0, 0, 10, 100], [0, 0, 500, 500.]])
  got = assignment.without_crowds(found, some, crowds, jnp.array([True, False]))
  # Inside; by six tenths; by four tenths; of an object; left out before.
  np.testing.assert_array_equal(got, [-2, -2, -1, 2, -2])
  np.testing.assert_array_equal(assignment.without_crowds(
      found, some, crowds[:0], jnp.zeros(0, bool)), found)


def test_boxes_beyond_the_picture_are_left_out():
  some = jnp.array([[0, 0, 20, 10], [-1, 0, 20, 10], [0, 0, 20, 11.]])
  got = assignment.within(jnp.array([0, 0, -1]), some, [10, 20])
  np.testing.assert_array_equal(got, [0, -2, -2])
  got = assignment.within(jnp.array([0, 0, -1]), some, [10, 20], 1.0)
  np.testing.assert_array_equal(got, [0, 0, -1])


# Samples.


@pytest.mark.parametrize('positive, negative, want', [
    (50, 200, (16, 48)), (5, 200, (5, 59)), (0, 200, (0, 64)),
    (50, 20, (16, 20)), (3, 0, (3, 0)), (0, 0, (0, 0))])
def test_as_many_of_either_kind_as_there_can_be(positive, negative, want):
  found = np.r_[np.arange(positive) % 4, np.full(negative, -1), [-2] * 30]
  found = np.random.default_rng(0).permutation(found)
  run = jax.jit(lambda key: sampling.chosen(jnp.asarray(found), key, 64, 0.25))
  some, rest = run(jax.random.key(0))
  assert (int(some.sum()), int(rest.sum())) == want
  assert (found[np.asarray(some)] >= 0).all()
  assert (found[np.asarray(rest)] == -1).all()
  place, there = sampling.slots(some | rest, 80)
  assert there.sum() == sum(want)
  np.testing.assert_array_equal(
      np.asarray(place)[np.asarray(there)], np.flatnonzero(some | rest))


def test_each_box_is_as_likely():
  found = jnp.array([0] * 8 + [-1] * 24)
  draws = jax.vmap(lambda key: jnp.stack(sampling.chosen(found, key, 8, 0.5)))(
      jax.random.split(jax.random.key(0), 4000))
  share = np.asarray(draws.mean(0))
  np.testing.assert_allclose(share[0, :8], 0.5, atol=0.04)
  np.testing.assert_allclose(share[1, 8:], 4 / 24, atol=0.03)


# Losses.


def test_losses_are_torchvision_s(golden):
  np.testing.assert_allclose(
      losses.focal(golden['loss/logits'], golden['loss/target']),
      golden['loss/focal'].sum(-1), rtol=1e-5)
  np.testing.assert_allclose(
      losses.smooth_l1(golden['loss/one'] - golden['loss/other'], 1 / 9),
      golden['loss/smooth'].sum(-1), rtol=1e-5)
  np.testing.assert_allclose(losses.smooth_l1(jnp.array([[-2.0, 0.5]]), 0), 2.5)


def test_attributes_have_equal_shares():
  logits = jnp.array([[0.0, 1, 2, 3]] * 3)
  told = jnp.array([[1, 3], [2, 0], [0, 0]])
  there = jnp.array([[True, True], [True, False], [False, False]])
  log = np.asarray(jax.nn.log_softmax(logits[0]))
  np.testing.assert_allclose(
      losses.attributes(logits, told, there),
      [-(log[1] + log[3]) / 2, -log[2], 0], rtol=1e-6)


def test_gradients_of_losses_are_finite_far_out():
  wild = jnp.array([[80.0, -80.0]])
  for loss in (lambda x: losses.focal(x, jnp.array([[0.0, 1.0]])).sum(),
               lambda x: losses.objectness(x, jnp.array([[False, True]])).sum(),
               lambda x: losses.smooth_l1(x, 1 / 9).sum()):
    assert np.isfinite(jax.grad(loss)(wild)).all()


# What is found.


def test_objects_by_class_are_torchvision_s(golden):
  strides = 16, 32, 64
  found = jax.jit(lambda logits, deltas: selection.by_class(
      logits, deltas, split(golden['retina/anchors'], strides),
      jnp.array([100, 120]), 30, 100))(
          split(golden['retina/logits'], strides),
          split(golden['retina/deltas'], strides))
  count = len(golden['retina/scores'])
  assert found.valid.sum() == count > 20
  np.testing.assert_allclose(found.scores[:count], golden['retina/scores'],
                             atol=1e-6)
  np.testing.assert_array_equal(found.classes[:count], golden['retina/classes'])
  np.testing.assert_allclose(found.boxes[:count], golden['retina/boxes'],
                             atol=1e-4)
  # Each was made of the anchor that it says.
  moved = boxes.clip(boxes.decode(
      golden['retina/deltas'][np.asarray(found.place)],
      golden['retina/anchors'][np.asarray(found.place)]), [100, 120])
  np.testing.assert_allclose(
      moved[:count], golden['retina/boxes'], atol=1e-4)


def proposed(count=30, classes=4, seed=0):
  rng = np.random.default_rng(seed)
  corners = rng.uniform(0, 60, (count, 2))
  some = np.concatenate([corners, corners + rng.uniform(8, 30, (count, 2))], 1)
  return (jnp.asarray(some, jnp.float32), jnp.arange(count) < count - 4,
          jnp.asarray(rng.normal(0, 2, (count, classes + 1)), jnp.float32),
          jnp.asarray(rng.normal(0, 1, (count, 4)), jnp.float32))


@pytest.mark.parametrize('threshold, least, most', [
    (0.2, 10, 100), (0.9, 3, 100), (0.9, 3, 2), (0.99999, 0, 20)])
def test_regions_one_by_one(threshold, least, most):
  """Against the rule as it is told, with loops."""
  some, valid, logits, deltas = proposed()
  extent = jnp.array([70, 64])
  got = selection.regions(some, valid, logits, deltas, extent, 40 if most > 40
                          else most, threshold, least)
  shares = np.asarray(jax.nn.softmax(logits))[:, 1:]
  scores, classes = shares.max(1), shares.argmax(1)
  moved = np.asarray(boxes.clip(boxes.decode(
      deltas, some, selection.WEIGHTS), extent))
  kept = []
  for i in np.argsort(-scores, kind='stable'):
    if valid[i] and scores[i] > 0.01 * threshold and all(
        boxes.iou(moved[None, i], moved[None, j])[0, 0] <= 0.5 for j in kept):
      kept.append(i)
  sure = sum(scores[i] >= threshold for i in kept)
  kept = kept[:min(max(sure, least), most)]
  assert got.valid.sum() == len(kept)
  np.testing.assert_array_equal(got.place[:len(kept)], kept)
  np.testing.assert_array_equal(got.classes[:len(kept)], classes[kept])
  np.testing.assert_allclose(got.boxes[:len(kept)], moved[kept], rtol=1e-5)
  assert not got.boxes[len(kept):].any() and not got.scores[len(kept):].any()


def test_geometry_is_of_the_picture():
  got = selection.geometry(jnp.array([[10, 20, 30, 60.]]), jnp.array([80, 40]))
  np.testing.assert_allclose(got, [[0.25, 0.25, 0.75, 0.75, 0.5, 0.5]])


def test_it_is_one_program_for_any_number_of_objects():
  traced = []

  @jax.jit
  def run(some, objects, valid, key):
    traced.append(True)
    found = assignment.matched(boxes.iou(some, objects), valid, 0.5, 0.5)
    return sampling.chosen(found, key, 16, 0.25)

  some, *_ = proposed()
  for count in (0, 1, 5):
    taken = run(some, some[:5], jnp.arange(5) < count, jax.random.key(count))
    # At least each object's own box.
    assert taken[0].sum() >= min(count, 4)
  assert len(traced) == 1
