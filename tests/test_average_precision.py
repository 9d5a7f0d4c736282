"""Average precision against pycocotools on files, and by hand."""
import contextlib
import io
import json
import sys

from bst_jax import tasks
from bst_jax.report import boxes as report
from bst_jax.scores import boxes
import jax
import numpy as np
from PIL import Image
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


# From the canvas into the pictures' own pixels, and on to servers and pictures.


def of_canvas():
  """A picture of 80 x 100 pixels in the corner of 64 x 64: 51 rows, 64 columns.
  """
  scale = np.float32([64 / 100, 51 / 80] * 2)
  own = np.float32([[10, 20, 40, 60], [0, 0, 100, 80], [50, 40, 70, 60]])
  outputs = {'boxes': own[None] * scale, 'found': np.array([[2, 1, 0]]),
             'scores': np.float32([[0.5, 0.25, 0.75]]),
             'valid': np.array([[True, True, False]])}
  batch = {
      'image': np.zeros((1, 64, 64, 3), np.uint8),
      'object_boxes': own[None] * scale / 64,
      'object_classes': np.array([[2, 1, 0]]),
      'object_mask': np.array([[True, False, False]]),
      'object_crowd': np.array([[False, True, False]]),
      'object_area': np.float32([[900, 8000, 0]]),
      'picture_size': np.array([[80, 100]]),
      'picture_place': np.float32([[0, 0, 1, 51 / 64]])}
  return own, outputs, batch


def test_boxes_are_compared_in_pixels_of_the_picture():
  own, outputs, batch = of_canvas()
  rows = jax.tree.map(np.asarray, jax.jit(boxes.read)(outputs, batch))
  np.testing.assert_allclose(rows['boxes'][0], own, rtol=1e-5, atol=1e-5)
  np.testing.assert_allclose(rows['objects'][0], own, rtol=1e-5, atol=1e-5)
  assert rows['there'].tolist() == [[True, True, False]]
  assert rows['crowd'].tolist() == [[False, True, False]]
  pytest.importorskip('pycocotools')
  found = boxes.of_rows(rows)
  # 30 x 40 pixels are medium; the file's own area, of its mask, is small.
  assert found['AP'] == found['AP small'] == pytest.approx(100)
  assert np.isnan(found['AP medium']) and np.isnan(found['AP large'])
  del rows['areas']
  assert boxes.of_rows(rows)['AP medium'] == pytest.approx(100)


def test_results_are_those_of_the_file(tmp_path):
  """pycocotools reads what is written, by the file's numbers and pixels."""
  rows = drawn(3)
  numbers, ids = ('1', '3', '90'), [str(7 * i + 2) for i in range(6)]
  report.write(tmp_path / 'results.json', boxes.results(rows, ids, numbers))
  written = json.loads((tmp_path / 'results.json').read_text())
  assert len(written) == rows['valid'].sum()
  assert {row['image_id'] for row in written} <= set(map(int, ids))
  assert {row['category_id'] for row in written} == {1, 3, 90}
  first = np.flatnonzero(rows['valid'][0])[0]
  x1, y1, x2, y2 = rows['boxes'][0, first].tolist()
  assert written[0]['bbox'] == pytest.approx([x1, y1, x2 - x1, y2 - y1],
                                             abs=1e-4)
  coco = pytest.importorskip('pycocotools.coco')
  truth = coco.COCO()
  truth.dataset = dict(images=[dict(id=int(i)) for i in ids], annotations=[],
                       categories=[dict(id=int(n)) for n in numbers])
  truth.createIndex()
  assert len(truth.loadRes(str(tmp_path / 'results.json')).anns) == len(written)
  with pytest.raises(ValueError, match='none was found; lower the model'):
    boxes.results(rows | dict(valid=0 * rows['valid']), ids, numbers)


def test_a_sheet_shows_boxes_in_the_colours_of_their_classes(tmp_path):
  pixels = np.full((160, 320, 3), 255, np.uint8)
  one = dict(boxes=np.float32([[40, 60, 140, 130], [200, 10, 300, 150],
                               [10, 10, 20, 20], [30, 30, 35, 35],
                               [330, 0, 400, 99]]),
             found=np.array([0, 1, 1, 1, 0]),
             valid=np.array([1, 1, 1, 0, 1], bool),
             scores=np.float32([0.9, 0.8, 0.2, 0.9, 0.9]))
  report.sheet([pixels] * 3, [one] * 3, ['owl', 'cat'], tmp_path / 'a.png')
  sheet = np.array(Image.open(tmp_path / 'a.png'))
  assert sheet.shape == (2 * 160 + 6, 2 * 320 + 6, 3)
  at = lambda x, y: tuple(int(c) for c in sheet[y, x])
  assert at(40, 90) == at(139, 90) == at(90, 129) == report.color(0)
  assert at(200, 90) == at(200 + 326, 90) == report.color(1)
  assert at(90, 90) == (255, 255, 255)  # Inside.
  # Unsure; not valid; outside.
  assert at(15, 10) == at(32, 30) == at(319, 50) == (255, 255, 255)
  assert len({report.color(i) for i in range(80)}) == 80
  with pytest.raises(ValueError, match='but there is none'):
    report.sheet([], [], [], tmp_path / 'b.png')
