"""Detection as exported files: suppression, pooling, and what is found."""
from bst_jax.layers.detection import (
  anchors,
  nms,
  proposals,
  roi_align,
  selection,
)
from bst_jax.report import portable
import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip('jax2onnx', reason='pip install bst_jax[export]')

STRIDES, SIDE, CLASSES = (8, 16), 32, 3
ANCHORS = anchors.levels([(SIDE // s, SIDE // s) for s in STRIDES], STRIDES,
                         (8, 16))
COUNT = sum(map(len, ANCHORS))
BREAK = len(ANCHORS[0])


def drawn(rows=3):
  """Batches of boxes and maps; of the second picture nothing is valid."""
  rng = np.random.default_rng(0)
  corners = rng.integers(0, 24, (rows, 12, 2))
  some = np.concatenate([corners, corners + rng.integers(
      1, 20, (rows, 12, 2))], -1).astype(np.float32)
  normal = lambda *shape: rng.standard_normal((rows, *shape), np.float32)
  return {
      'boxes': some, 'scores': np.round(rng.random((rows, 12)), 1).astype(
          np.float32),
      'valid': (rng.random((rows, 12)) < 0.8) & (
          np.arange(rows) != 1)[:, None],
      'kinds': rng.integers(0, 2, (rows, 12)).astype(np.int32),
      'fine': normal(4, 4, 5), 'coarse': normal(2, 2, 5),
      'said': normal(COUNT, CLASSES + 1) * 2, 'deltas': normal(COUNT, 4),
      'extent': np.array([[32, 32], [20, 32], [32, 24]], np.int32)[:rows]}


def suppressed(x):
  keep = nms.suppress(x['boxes'], x['scores'], x['valid'], 0.3)
  of_class = nms.suppress(
      x['boxes'], x['scores'], x['valid'], 0.3, x['kinds'])
  place, there = nms.first(keep, x['scores'], 14)
  return jnp.concatenate([keep, of_class, jnp.where(there, place, -1)])


def pooled(x):
  found = roi_align.pooled([x['fine'], x['coarse']], x['boxes'], STRIDES, 4)
  return found.reshape(-1)


def split(array):
  return [array[:BREAK], array[BREAK:]]


def proposed(x):
  found, logits, valid = proposals.of_levels(
      split(x['said'][:, 0]), split(x['deltas']), ANCHORS, x['extent'], 20, 16)
  moved = roi_align.pooled(
      [x['fine'], x['coarse']], found, STRIDES, 2).reshape(16, -1)
  regions = selection.regions(
      found, valid, moved[:, :CLASSES + 1], moved[:, -4:], x['extent'], 8)
  shape = selection.geometry(regions.boxes, x['extent'])
  return jnp.concatenate([jnp.ravel(part) for part in (
      found, jnp.where(valid, logits, 0), regions.boxes, regions.scores,
      regions.classes, regions.valid, regions.place, shape)])


def by_class(x):
  found = selection.by_class(
      split(x['said'][:, 1:]), split(x['deltas']), ANCHORS, x['extent'], 10, 30)
  return jnp.concatenate([jnp.ravel(part) for part in found])


@pytest.mark.parametrize('run, names, bound', [
    (suppressed, ('boxes', 'scores', 'valid', 'kinds'), 0),
    (pooled, ('boxes', 'fine', 'coarse'), 1e-5),
    (proposed, ('said', 'deltas', 'extent', 'fine', 'coarse'), 1e-4),
    (by_class, ('said', 'deltas', 'extent'), 1e-4)])
def test_files_find_the_same_for_any_batch(run, names, bound):
  batch = {name: x for name, x in drawn().items() if name in names}
  rows = lambda batch: jax.vmap(run)(batch).astype(jnp.float32)
  jitted = jax.jit(rows)
  want = np.asarray(jitted(batch))
  assert want.shape[0] == 3 and all(map(np.ptp, want[[0, 2]]))
  one = {name: x[:1] for name, x in batch.items()}
  for got in (
      portable.run_stablehlo(portable.stablehlo(jitted, one), batch),
      portable.Session(portable.onnx(rows, one))(batch)):
    np.testing.assert_allclose(got, want, rtol=0, atol=bound)
