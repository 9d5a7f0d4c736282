"""What evaluation writes of a detector: a file for COCO's server, a sheet."""
from importlib import util
import json

from bst_jax import export, tasks
from bst_jax.data import source
from bst_jax.elastic import FULL
from bst_jax.learn import sharding
from bst_jax.report import boxes, cards, predictions, scoring
from bst_jax.run import experiment
from configs import tee_scenes
import jax
import numpy as np
from PIL import Image
import pytest


@pytest.fixture(scope='module')
def detector(tmp_path_factory):
  """(experiment, parameters, data) of a user's own folder, random weights."""
  folder, rng = tmp_path_factory.mktemp('mine'), np.random.default_rng(0)
  (folder / 'images').mkdir()
  for split, ids in (('train', (1, 2)), ('val', (7, 3, 40, 12, 9))):
    for i in ids:
      Image.fromarray(rng.integers(0, 256, (60, 90, 3), np.uint8)).save(
          folder / 'images' / f'{i}.png')
    (folder / f'{split}.json').write_text(json.dumps({
        'images': [dict(id=i, file_name=f'{i}.png', width=90, height=60)
                   for i in ids],
        'categories': [dict(id=18, name='dog'), dict(id=5, name='cat')],
        'annotations': [dict(
            id=1 + n, image_id=i, category_id=(5, 18)[n % 2], iscrowd=0,
            bbox=[10, 5, 30, 40], area=1200) for n, i in enumerate(ids)]}))
  config = tee_scenes.get_config('tiny')
  config.data = dict(
      name='object_folder', form='objects', manual_dir=str(folder),
      data_dir=str(folder / 'home'), train='train', eval='val', batch=2,
      image_size=64, inputs=('image',))
  config.task.measure = 'boxes'
  data = source.load(config.data)
  exp = experiment.build(config, data.sizes)
  params = jax.tree.map(
      lambda leaf: rng.uniform(0.1, 0.5, leaf.shape).astype(np.float32)
      * rng.choice([-1, 1], leaf.shape) ** (len(leaf.shape) > 1), exp.shapes)
  return exp, params, data


def test_boxes_go_to_a_file_that_the_server_scores_alike(detector, tmp_path):
  coco, cocoeval = (pytest.importorskip(f'pycocotools.{name}')
                    for name in ('coco', 'cocoeval'))
  exp, params, data = detector
  mesh, picks = sharding.make_mesh({'data': -1}), []
  with jax.set_mesh(mesh):
    result = scoring.evaluate(exp, data, params, [FULL], 'val', mesh, picks)
  path, = predictions.write(exp, data, predictions.ids(data, 'val'), picks,
                            [FULL], 'val', tmp_path)
  said = json.loads(path.read_text())
  assert path.name.startswith('results_val_w1_d1')
  assert {row['image_id'] for row in said} <= {7, 3, 40, 12, 9}
  assert {row['category_id'] for row in said} <= {5, 18}
  assert all(0 <= row['bbox'][0] <= 90 and row['bbox'][1] + row['bbox'][3]
             <= 60.01 for row in said)
  truth = coco.COCO(data.builder and str(
      exp.config.data.manual_dir) + '/val.json')
  judge = cocoeval.COCOeval(truth, truth.loadRes(str(path)), 'bbox')
  judge.evaluate()
  judge.accumulate()
  judge.summarize()
  row, = result['rows']
  assert row['measure'] == 'average_precision'
  np.testing.assert_allclose(
      [*row['average_precision'].values()],
      np.where(judge.stats < 0, np.nan, 100 * judge.stats), atol=1e-6)


def test_pictures_are_drawn_with_what_is_found(detector, tmp_path):
  exp, params, data = detector
  boxes.show(exp, params, FULL, data, 'val', 3, tmp_path / 'sheet.png')
  sheet = np.asarray(Image.open(tmp_path / 'sheet.png'))
  assert sheet.std() > 10 and sheet.shape[0] > 600  # Two rows, drawn larger.


def test_the_judge_is_asked_for_before_anything_runs(monkeypatch):
  monkeypatch.setitem(__import__('sys').modules, 'pycocotools', None)
  task = tasks.create(dict(name='regions', measure='boxes'))
  with pytest.raises(ValueError, match="bst_jax\\[eval\\]"):
    task.measure.check()


def test_exported_files_find_the_same_boxes(detector, tmp_path):
  exp, params, data = detector
  formats = ['stablehlo', *(['onnx'] if util.find_spec('jax2onnx') else [])]
  card = export.export(exp, params, '1x1', formats, tmp_path, data, 'val')
  assert {*card['outputs']} == {'boxes', 'scores', 'found', 'valid', 'features'}
  assert card['outputs']['boxes'] == {'shape': ['B', 12, 4], 'dtype': 'float32'}
  assert all(about['difference'] < 1e-4 for about in card['files'].values())
  assert len(card['files']) == len(formats)
  for about in card['files'].values():
    assert about.get('accuracy', card['accuracy']) == pytest.approx(
        card['accuracy'], abs=1e-6, nan_ok=True)
  cards.write(card, tmp_path, trained=False)
  assert '- `found` int32[B, 12]' in (tmp_path / 'card.md').read_text()
  # Pictures in other sizes than the canvas have their extent told.
  assert {*card['inputs']} == {'image'}
