"""Average precision against pycocotools on files, and by hand."""
import contextlib
import io
import json
import sys

from bst_jax import tasks
from bst_jax.scores import boxes
import jax
import numpy as np
import pytest

NONE = dict(scores=np.zeros((1, 2), np.float32), found=np.zeros((1, 2), int),
            valid=np.zeros((1, 2), bool), boxes=np.zeros((1, 2, 4), np.float32))
ONE = dict(objects=np.float32([[[0, 0, 50, 50]]]), kinds=np.array([[1]]),
           there=np.array([[True]]), crowd=np.array([[False]]))


def drawn(seed=0, pictures=6, objects=5, found=9):
  """Objects, and boxes near them or elsewhere."""
  rng = np.random.default_rng(seed)
  corners = rng.uniform(0, 200, (pictures, objects, 2))
  real = np.concatenate([corners, corners + rng.uniform(
      8, 150, (pictures, objects, 2))], -1).astype(np.float32)
  near = real[:, rng.integers(objects, size=found)] + rng.normal(
      0, 6, (pictures, found, 4)).astype(np.float32)
  kinds = rng.integers(0, 3, (pictures, objects))
  return dict(
      objects=real, kinds=kinds,
      there=rng.random((pictures, objects)) < 0.8,
      crowd=rng.random((pictures, objects)) < 0.15,
      boxes=np.sort(near.reshape(pictures, found, 2, 2), 2).reshape(
          pictures, found, 4).astype(np.float32),
      scores=rng.random((pictures, found)).astype(np.float32),
      found=rng.integers(0, 3, (pictures, found)),
      valid=rng.random((pictures, found)) < 0.9)


def of_files(rows, folder):
  """What pycocotools makes of the files that it is usually given."""
  coco = pytest.importorskip('pycocotools.coco')
  from pycocotools import cocoeval

  listed = lambda box: [float(box[0]), float(box[1]), float(box[2] - box[0]),
                        float(box[3] - box[1])]
  annotations, results = [], []
  for i in range(len(rows['valid'])):
    for box, kind, there, crowd in zip(*(rows[key][i] for key in (
        'objects', 'kinds', 'there', 'crowd'))):
      if there:
        x, y, w, h = listed(box)
        annotations.append(dict(
            id=len(annotations) + 1, image_id=i + 7, category_id=int(kind) * 3,
            bbox=[x, y, w, h], area=w * h, iscrowd=int(crowd)))
    for box, kind, there, score in zip(*(rows[key][i] for key in (
        'boxes', 'found', 'valid', 'scores'))):
      if there:
        results.append(dict(image_id=i + 7, category_id=int(kind) * 3,
                            bbox=listed(box), score=float(score)))
  (folder / 'truth.json').write_text(json.dumps(dict(
      images=[dict(id=i + 7) for i in range(len(rows['valid']))],
      categories=[dict(id=3 * k, name=str(k)) for k in range(3)],
      annotations=annotations)))
  (folder / 'results.json').write_text(json.dumps(results))
  with contextlib.redirect_stdout(io.StringIO()):
    truth = coco.COCO(str(folder / 'truth.json'))
    judge = cocoeval.COCOeval(
        truth, truth.loadRes(str(folder / 'results.json')), 'bbox')
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
  return judge.stats


@pytest.mark.parametrize('seed', [0, 1])
def test_it_is_pycocotools_on_its_own_files(tmp_path, seed):
  rows = drawn(seed)
  want = of_files(rows, tmp_path)
  got = boxes.of_rows(rows)
  assert list(got) == list(boxes.NUMBERS)
  np.testing.assert_allclose(
      list(got.values()), np.where(want < 0, np.nan, 100 * want), rtol=1e-12)
  assert 0 < got['AP'] < got['AP50'] < 100


def test_perfect_boxes_and_none(tmp_path):
  pytest.importorskip('pycocotools')
  same = dict(boxes=ONE['objects'], scores=np.float32([[0.3]]),
              found=ONE['kinds'], valid=ONE['there'])
  assert boxes.of_rows(ONE | same)['AP'] == pytest.approx(100)
  assert boxes.of_rows(ONE | same | dict(found=np.array([[0]])))['AP'] == 0
  assert boxes.of_rows(ONE | NONE)['AP'] == 0
  empty = ONE | dict(there=np.array([[False]]))
  assert np.isnan(boxes.of_rows(empty | NONE)['AP'])


def test_a_box_in_a_crowd_is_no_mistake():
  pytest.importorskip('pycocotools')
  rows = dict(
      objects=np.float32([[[0, 0, 50, 50], [60, 0, 300, 300]]]),
      kinds=np.array([[1, 1]]), there=np.array([[True, True]]),
      boxes=np.float32([[[0, 0, 50, 50], [80, 20, 200, 200]]]),
      scores=np.float32([[0.5, 0.9]]), found=np.array([[1, 1]]),
      valid=np.array([[True, True]]))
  in_crowd = boxes.of_rows(rows | dict(crowd=np.array([[False, True]])))
  beside = boxes.of_rows(rows | dict(
      crowd=np.array([[False, False]]), there=np.array([[True, False]])))
  assert in_crowd['AP'] == pytest.approx(100) and beside['AP'] < 60


def test_it_is_read_from_a_batch():
  measure = tasks.create(dict(name='regions', measure='boxes')).measure
  outputs = {'boxes': np.float32([[[0, 0, 32, 16]]]), 'found': np.array([[2]]),
             'scores': np.float32([[0.5]]), 'valid': np.array([[True]])}
  batch = {'image': np.zeros((1, 32, 64, 3)), 'object_mask': np.array([[True]]),
           'object_boxes': np.float32([[[0, 0, 0.5, 0.5]]]),
           'object_classes': np.array([[2]])}
  read = jax.tree.map(np.asarray, jax.jit(measure.read)(outputs, batch))
  np.testing.assert_array_equal(read['objects'], [[[0, 0, 32, 16]]])
  pytest.importorskip('pycocotools')
  assert measure.finish(read, None)['AP'] == pytest.approx(100)


def test_without_pycocotools_it_is_said(monkeypatch):
  monkeypatch.setitem(sys.modules, 'pycocotools', None)
  with pytest.raises(ValueError, match=r"pip install 'bst_jax\[eval\]'"):
    boxes.of_rows(ONE | NONE)
