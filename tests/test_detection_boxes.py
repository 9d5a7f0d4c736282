"""Boxes, anchors, suppression and pooling, against torchvision and by hand."""
import pathlib

from bst_jax.layers.detection import anchors, boxes, nms, roi_align
import jax
import jax.numpy as jnp
import numpy as np
import pytest

GOLDEN = pathlib.Path(__file__).parent / 'golden' / 'detection.npz'
STRIDES, SIZES = (4, 8, 16, 32, 64), (32, 64, 128, 256, 512)


@pytest.fixture(scope='module')
def golden():
  with np.load(GOLDEN) as arrays:
    return dict(arrays)


# Boxes.


def test_overlaps_of_both_conventions():
  one = jnp.array([[0, 0, 3, 3.]])
  other = jnp.array([[0, 0, 3, 3], [1, 1, 5, 3], [3, 3, 9, 9], [2, 2, 2, 2],
                     [5, 5, 1, 1.]])
  np.testing.assert_allclose(
      boxes.iou(one, other)[0], [1, 4 / 13, 0, 0, 0], rtol=1e-6)
  np.testing.assert_allclose(
      boxes.iou(one, other, 'legacy')[0][:3], [1, 9 / 22, 1 / 64], rtol=1e-6)
  np.testing.assert_allclose(
      boxes.inside(other[:2], one)[:, 0], [1, 0.5], rtol=1e-6)
  assert not np.isnan(boxes.iou(other, other)).any()
  # Of the last, which is turned inside out, no side is positive.
  np.testing.assert_array_equal(boxes.area(other), [9, 8, 36, 0, 0])
  np.testing.assert_array_equal(
      boxes.area(other, 'legacy'), [16, 15, 49, 1, 0])
  with pytest.raises(ValueError, match="no convention of boxes 'old'"):
    boxes.area(one, 'old')


def test_boxes_are_cut_off_at_the_picture():
  wild = jnp.array([[-3, -4, 30, 40], [-9, 2, -1, 50.]])
  np.testing.assert_array_equal(
      boxes.clip(wild, [20, 10]), [[0, 0, 10, 20], [0, 2, 0, 20]])
  np.testing.assert_array_equal(
      boxes.clip(wild, [20, 10], 'legacy'), [[0, 0, 9, 19], [0, 2, 0, 19]])


def test_codes_of_boxes(golden):
  weights = (10, 10, 5, 5)
  np.testing.assert_allclose(
      boxes.encode(golden['coder/boxes'], golden['coder/anchors'], weights),
      golden['coder/codes'], atol=1e-5)
  # What is said is so wild that sides reach their limit.
  assert (golden['coder/said'][:, 2:] / 5 > np.log(1000 / 16)).any()
  got = boxes.decode(golden['coder/said'], golden['coder/anchors'], weights)
  np.testing.assert_allclose(got, golden['coder/decoded'], rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize('convention', boxes.CONVENTIONS)
def test_decoding_is_the_inverse_of_encoding(convention, golden):
  given = jnp.asarray(golden['coder/boxes']), jnp.asarray(
      golden['coder/anchors'])
  codes = boxes.encode(*given, convention=convention)
  np.testing.assert_allclose(
      boxes.decode(codes, given[1], convention=convention), given[0], atol=1e-3)


def test_decoding_in_the_legacy_convention_by_hand():
  """An anchor of 10 x 20 pixels moves by a tenth and doubles its width."""
  got = boxes.decode(jnp.array([[0.1, 0, np.log(2), 0]]),
                     jnp.array([[0, 0, 9, 19.]]), convention='legacy')
  np.testing.assert_allclose(got, [[-4, 0, 15, 19]], atol=1e-5)


def test_a_box_without_area_has_finite_codes():
  flat = jnp.array([[3, 3, 3, 3.]])
  codes = boxes.encode(flat, jnp.array([[0, 0, 8, 8.]]))
  assert np.isfinite(codes).all()


# Anchors.


def test_anchors_are_torchvision_s(golden):
  shapes = [(128 // s, 128 // s) for s in STRIDES]
  np.testing.assert_array_equal(
      np.concatenate(anchors.levels(shapes, STRIDES, SIZES)),
      golden['anchors/one'])
  octaves = [[4 * s * 2 ** (i / 3) for i in range(3)] for s in STRIDES]
  np.testing.assert_array_equal(
      np.concatenate(anchors.levels(shapes, STRIDES, octaves))[::7],
      golden['anchors/octaves'])


def test_detectron1_anchors():
  np.testing.assert_array_equal(
      anchors.cells(32, 4, style='detectron1'),
      [[-22, -10, 25, 13], [-14, -14, 17, 17], [-10, -22, 13, 25]])
  # As Faster R-CNN's release prints its own, at stride 16.
  np.testing.assert_array_equal(
      anchors.cells(128, 16, style='detectron1'),
      [[-84, -40, 99, 55], [-56, -56, 71, 71], [-36, -80, 51, 95]])
  # 45 by 22.5 pixels become 45 by 22, eight times: halves round to even.
  np.testing.assert_array_equal(
      anchors.cells(256, 32, (0.5,), 'detectron1'), [[-164, -72, 195, 103]])


@pytest.mark.parametrize('first, count', [(4, 65_472), (8, 16_368)])
def test_anchors_of_a_picture_of_512(first, count):
  strides = [first * 2 ** i for i in range(5)]
  shapes = [(512 // s, 512 // s) for s in strides]
  found = anchors.levels(shapes, strides, SIZES)
  assert sum(map(len, found)) == count


def test_a_pyramid_has_a_size_for_each_level():
  with pytest.raises(ValueError, match='5 strides and 4 sizes were given'):
    anchors.levels([(1, 1)] * 5, STRIDES, SIZES[:4])
  with pytest.raises(ValueError, match="no style of anchors 'detectron'"):
    anchors.cells(32, 4, style='detectron')


# Suppression.


def test_suppression_is_torchvision_s(golden):
  given = [golden[f'nms/{name}'] for name in ('boxes', 'scores', 'classes')]
  run = jax.jit(jax.vmap(lambda some, scores, kinds: [
      nms.suppress(some, scores, jnp.ones(16, bool), 0.5, by)
      for by in (None, kinds)]))
  for got, name in zip(run(*given), ('keep', 'keep_class')):
    np.testing.assert_array_equal(got, golden[f'nms/{name}'], err_msg=name)
  left = golden['nms/keep'].sum(1)
  assert left.min() == 1 and (left < 16).mean() > 0.9


def test_a_box_is_back_when_what_removed_it_is_gone():
  """The example of the docstring, and the same out of order."""
  row = jnp.array([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10.]])
  scores, valid = jnp.array([0.9, 0.8, 0.7]), jnp.ones(3, bool)
  run = jax.jit(lambda place, valid: nms.suppress(
      row[place], scores[place], valid, 0.4))
  np.testing.assert_array_equal(
      run(jnp.arange(3), valid), [True, False, True])
  np.testing.assert_array_equal(
      run(jnp.array([1, 2, 0]), valid), [False, True, True])
  # A box that is none removes none.
  np.testing.assert_array_equal(
      run(jnp.arange(3), valid.at[0].set(False)), [False, True, False])


@pytest.mark.parametrize('count', [0, 1])
def test_suppression_of_none_and_of_one(count):
  one = jnp.ones((count, 4)), jnp.ones(count), jnp.ones(count, bool)
  keep = nms.suppress(*one, 0.5)
  np.testing.assert_array_equal(keep, [True] * count)
  place, there = nms.first(keep, one[1], 3)
  np.testing.assert_array_equal(place, [0, 0, 0])
  np.testing.assert_array_equal(there, np.arange(3) < count)


def test_an_overlap_that_is_the_threshold_removes_none():
  half = jnp.array([[0, 0, 4, 4], [0, 0, 4, 2.]])
  given = half, jnp.array([0.5, 0.4]), jnp.ones(2, bool)
  assert nms.suppress(*given, 0.5).all()
  assert not nms.suppress(*given, 0.49).all()


def sequential(found, scores, valid, threshold, classes=None):
  """The algorithm as it is told: take the best, cross out, go on."""
  order = [i for i in np.argsort(-scores, kind='stable') if valid[i]]
  overlaps = np.asarray(boxes.iou(jnp.asarray(found), jnp.asarray(found)))
  left, gone = np.zeros(len(scores), bool), np.zeros(len(scores), bool)
  for i in order:
    if gone[i]:
      continue
    left[i] = True
    gone |= (overlaps[i] > threshold) & (
        True if classes is None else classes == classes[i])
  return left


def test_suppression_is_the_sequential_one_in_a_thousand_sets():
  """With ties, duplicates, empty sets, one box, and all but one suppressed."""
  rng, sets, most = np.random.default_rng(0), 1000, 48
  corners = rng.integers(0, 24, (sets, most, 2))
  found = np.concatenate([corners, corners + rng.integers(
      0, 20, (sets, most, 2))], -1).astype(np.float32)
  found[::7, most // 2:] = found[::7, :most // 2]  # Duplicates.
  found[5] = found[5, :1]  # All but one go.
  scores = np.round(rng.random((sets, most)), 1).astype(np.float32)  # Ties.
  valid = np.arange(most) < rng.integers(0, most + 1, (sets, 1))
  valid[3], valid[4] = False, np.arange(most) == 0
  thresholds = rng.choice([0.3, 0.5, 0.7], sets).astype(np.float32)
  classes = rng.integers(0, 3, (sets, most))
  traced = []

  @jax.jit
  def run(found, scores, valid, thresholds, classes):
    traced.append(True)
    return (jax.vmap(nms.suppress)(found, scores, valid, thresholds),
            jax.vmap(nms.suppress)(found, scores, valid, thresholds, classes))

  for half in (slice(0, sets, 2), slice(1, sets, 2)):
    got, of_class = run(found[half], scores[half], valid[half],
                        thresholds[half], classes[half])
    for i, n in enumerate(range(*half.indices(sets))):
      given = found[n], scores[n], valid[n], thresholds[n]
      np.testing.assert_array_equal(got[i], sequential(*given), err_msg=str(n))
      np.testing.assert_array_equal(
          of_class[i], sequential(*given, classes[n]), err_msg=str(n))
  assert len(traced) == 1


def test_the_surest_of_what_is_kept():
  keep = jnp.array([True, False, True, True])
  place, there = nms.first(keep, jnp.array([0.2, 0.9, 0.5, 0.5]), 6)
  np.testing.assert_array_equal(place[:3], [2, 3, 0])
  np.testing.assert_array_equal(there, [True] * 3 + [False] * 3)
  place, there = nms.first(keep, jnp.array([0.2, 0.9, 0.5, 0.5]), 2)
  np.testing.assert_array_equal(place, [2, 3])


# Pooling.


@pytest.mark.parametrize('name, aligned', [('plain', False), ('aligned', True)])
@pytest.mark.parametrize('size, ratio', [(4, 2), (7, 1)])
def test_pooling_of_one_map(golden, name, aligned, size, ratio):
  got = jax.jit(lambda grid, found: roi_align.pooled(
      [grid], found, [4], size, ratio, aligned))(
          golden['roi/map'], golden['roi/boxes'])
  # Of boxes far larger than the map places are rounded before they are read.
  far = np.ptp(golden['roi/boxes'], axis=1) > 1000
  off = np.abs(got - golden[f'roi/{name}_{size}_{ratio}']).max((1, 2, 3))
  assert far.sum() == 1 and (off < np.where(far, 1e-4, 1e-5)).all()


def test_pooling_of_a_pyramid(golden):
  levels = [golden[f'levels/{i}'] for i in range(4)]
  found = golden['levels/boxes']
  got = roi_align.pooled(levels, found, STRIDES[:4], 4)
  np.testing.assert_allclose(got, golden['levels/found'], atol=1e-5)
  assert set(np.asarray(roi_align.level_of(jnp.asarray(found), STRIDES[:4]))
             ) == {0, 1, 2, 3}


def test_gradients_of_pooling_reach_maps_alone(golden):
  levels = [jnp.asarray(golden[f'levels/{i}']) for i in range(4)]
  found = jnp.asarray(golden['levels/boxes'])
  loss = jax.jit(lambda levels, found: (roi_align.pooled(
      levels, found, STRIDES[:4], 4) ** 2).sum())
  of_levels, of_boxes = jax.jit(jax.grad(loss, (0, 1)))(levels, found)
  assert not of_boxes.any()
  assert all(np.isfinite(x).all() and x.any() for x in of_levels)
  # By differences, at a place that is read.
  at = tuple(np.argwhere(np.asarray(of_levels[0]) != 0)[0])
  step = 1e-2
  moved = [[levels[0].at[at].add(sign * step), *levels[1:]] for sign in (1, -1)]
  want = (loss(moved[0], found) - loss(moved[1], found)) / (2 * step)
  np.testing.assert_allclose(of_levels[0][at], want, rtol=2e-2, atol=1e-3)


def test_pooling_of_no_box_and_side_by_side(golden):
  levels = [jnp.asarray(golden[f'levels/{i}']) for i in range(4)]
  run = lambda levels, found: roi_align.pooled(levels, found, STRIDES[:4], 4)
  assert jax.jit(run)(levels, jnp.zeros((0, 4))).shape == (0, 4, 4, 3)
  found = jnp.asarray(golden['levels/boxes'])
  both = jax.jit(jax.vmap(run))([jnp.stack([x, 2 * x]) for x in levels],
                                jnp.stack([found, found[::-1]]))
  run = jax.jit(run)
  np.testing.assert_allclose(both[0], run(levels, found), atol=1e-6)
  np.testing.assert_allclose(both[1], 2 * run(levels, found)[::-1], atol=1e-6)


def test_a_level_is_looked_up_by_hand():
  """A side of 224 is level 4, a pixel less is 3; sides of 0 are the finest."""
  sides = jnp.array([0, 111, 112, 223, 224, 447, 448, 4000.])
  found = jnp.stack([0 * sides, 0 * sides, sides, sides], 1)
  np.testing.assert_array_equal(
      roi_align.level_of(found, (4, 8, 16, 32)), [0, 0, 1, 1, 2, 2, 3, 3])
  np.testing.assert_array_equal(
      roi_align.level_of(found, (8, 16, 32, 64)), [0, 0, 0, 0, 1, 1, 2, 3])
  np.testing.assert_array_equal(roi_align.level_of(
      found, (4, 8, 16, 32), 'legacy'), [0, 1, 1, 2, 2, 3, 3, 3])


def test_pooling_asks_for_a_stride_of_each_map():
  level = jnp.zeros((2, 2, 1))
  with pytest.raises(ValueError, match='on 2 maps, but 1 strides'):
    roi_align.pooled([level] * 2, jnp.zeros((1, 4)), (4,))
  with pytest.raises(ValueError, match='powers of two'):
    roi_align.pooled([level] * 2, jnp.zeros((1, 4)), (4, 12))
  given = roi_align.pooled([level + 1] * 2, jnp.array([[0, 0, 6, 6.]]), (4, 12),
                           2, levels=jnp.array([1]))
  np.testing.assert_allclose(given, 1)
