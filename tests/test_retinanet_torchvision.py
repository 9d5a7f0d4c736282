"""RetinaNet on a ResNet: outputs, boxes and losses of torchvision's two versions."""
import pathlib
import re

from bst_jax import elastic, tasks
from bst_jax.interop import core
from bst_jax.interop import torchvision_retinanet as table
from bst_jax.layers import retinanet as layers
from bst_jax.layers.detection import assignment, boxes
from bst_jax.models.retinanet_resnet import Model
from bst_jax.run import experiment
from configs import retinanet_coco
import golden_retinanet as given
import jax
import jax.numpy as jnp
import numpy as np
import pytest

GOLDEN = np.load(pathlib.Path(__file__).parent / 'golden' / 'retinanet.npz')
VERSIONS = {'v1': dict(top='p5'), 'v2': dict(top='c5', groups=given.GROUPS)}
TASKS = {'v1': 'l1', 'v2': 'giou'}


def model_of(version):
  return Model(given.CLASSES, given.SIDE, (1, 1, 1, 1),
               anchor_sizes=given.ANCHORS, **given.SIZES | VERSIONS[version])


def shapes_of(model):
  image = np.zeros((1, *model.sides, 3), np.uint8)
  return elastic.unbox(jax.eval_shape(
      model.init, jax.random.key(0), {'image': image})['params'])


def batch():
  """Its pictures and objects, as the form `objects` has them."""
  rows = len(given.EXTENTS)
  found = {'object_boxes': np.zeros((rows, 5, 4), np.float32),
           'object_classes': np.zeros((rows, 5), np.int32),
           'object_mask': np.zeros((rows, 5), bool)}
  for i, (corners, kinds) in enumerate(given.objects()):
    found['object_boxes'][i, :len(kinds)] = corners / given.SIDE
    found['object_classes'][i, :len(kinds)] = kinds
    found['object_mask'][i, :len(kinds)] = True
  return {key: jnp.asarray(x) for key, x in (found | {
      'image': given.images(), 'mask': np.ones(rows, bool),
      'extent': np.array(given.EXTENTS, np.int32)}).items()}


@pytest.fixture(scope='module', params=VERSIONS)
def said(request):
  """A version, its parameters, and what it says of the pictures."""
  model = model_of(request.param)
  shapes = shapes_of(model)
  flat = elastic.flatten(shapes)
  foreign = given.tensors({
      name: op.shape(flat[paths[0]].shape)
      for name, paths, op in core.rows_for(table.TABLE, list(flat))})
  params = core.read(table.TABLE, foreign, shapes)
  run = jax.jit(lambda batch: model.apply({'params': params}, batch))
  with jax.default_matmul_precision('highest'):
    return request.param, params, run(batch())


def test_logits_and_deltas(said):
  version, _, outputs = said
  for mine, theirs in (('classes', 'cls_logits'),
                       ('deltas', 'bbox_regression')):
    want = GOLDEN[f'{version}/{theirs}']
    got = np.asarray(outputs[mine])[:, ::given.EVERY]
    assert want.shape == got.shape
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-4 * want.std())


def test_boxes(said):
  """Of pictures of three sizes, on one canvas; the surest of each class."""
  version, _, outputs = said
  for i in range(len(given.EXTENTS)):
    want = {key: GOLDEN[f'{version}/{i}/{key}'] for key in (
        'boxes', 'scores', 'labels')}
    valid = np.asarray(outputs['valid'][i])
    assert valid.sum() == len(want['scores']) > 20
    assert len(set(want['labels'])) > 2
    got = {key: np.asarray(outputs[mine][i])[valid] for key, mine in (
        ('boxes', 'boxes'), ('scores', 'scores'), ('labels', 'found'))}
    np.testing.assert_array_equal(got['labels'], want['labels'])
    np.testing.assert_allclose(got['scores'], want['scores'], atol=1e-5)
    np.testing.assert_allclose(got['boxes'], want['boxes'], atol=2e-3)


def test_losses(said):
  """torchvision divides by the anchors of each picture; one has no object."""
  version, _, outputs = said
  task = tasks.create(dict(name='detect', box_loss=TASKS[version],
                           divisor='picture'))
  with jax.default_matmul_precision('highest'):
    terms = jax.jit(lambda outputs: task.loss(outputs, batch(), None))(outputs)
  got = [float(terms[name].loss.mean()) for name in ('classes', 'boxes')]
  np.testing.assert_allclose(got, GOLDEN[f'{version}/losses'], rtol=2e-5)
  assert terms['boxes'].loss[1] == 0


def test_anchors_and_whose_they_are(said):
  anchors = np.asarray(said[2]['anchors'])
  np.testing.assert_array_equal(anchors[0, ::given.EVERY], GOLDEN['anchors'])
  for want, (objects, _) in zip(GOLDEN['matched'], given.objects()):
    found = assignment.matched(
        boxes.iou(anchors[0], objects), np.ones(len(objects), bool), 0.5, 0.4,
        best=True)
    np.testing.assert_array_equal(found[::given.EVERY], want)


def test_published_anchors_start_with_these():
  """Octaves are cut to whole pixels before anchors are rounded to even sides."""
  first = layers.anchors_of([(1, 1)] * 5, [8, 16, 32, 64, 128])[0]
  np.testing.assert_array_equal(first[:4], [
      [-23, -11, 23, 11], [-28, -14, 28, 14], [-35, -18, 35, 18],
      [-16, -16, 16, 16]])


def test_the_table_knows_every_name_and_old_spellings(said):
  version, params, _ = said
  foreign = core.write(table.TABLE, params)
  assert ('head.regression_head.conv.3.1.weight' in foreign) == (
      version == 'v2')
  old = {re.sub(r'blocks\.(\d)\.0\.', r'blocks.\1.', re.sub(
      r'_head\.conv\.(\d)\.0\.', lambda m: f'_head.conv.{2 * int(m[1])}.', name)):
         value for name, value in foreign.items()}
  if version == 'v2':  # There were no normalisations in old versions.
    old = foreign | {'backbone.body.bn1.num_batches_tracked': np.zeros(())}
  else:
    assert 'head.classification_head.conv.6.weight' in old
  back = core.read(table.TABLE, old, params, table.IGNORED, table.RENAMES)
  for path, value in elastic.flatten(params).items():
    np.testing.assert_array_equal(elastic.flatten(back)[path], value)


def test_the_numbers_of_coco_become_the_classes_that_there_are():
  """80 of 91, in their order, at every anchor."""
  model = model_of('v1').clone(num_answers=80)
  shapes = shapes_of(model)
  numbers = np.arange(9 * 91).reshape(9, 91)
  foreign = {f'head.classification_head.cls_logits.{name}': (
      numbers.reshape(-1, *rest) * np.ones((1, *many), int))
             for name, rest, many in (
                 ('weight', (1, 1, 1), (16, 3, 3)), ('bias', (), ()))}
  adapted = table.ADAPT(foreign, shapes)
  got = adapted['head.classification_head.cls_logits.bias'].reshape(9, 80)
  np.testing.assert_array_equal(got, got[0] + 91 * np.arange(9)[:, None])
  # Person is number 1, bicycle 2, the stop sign 13, the toothbrush 90.
  assert [*got[0][[0, 1, 10, 11, 12, 79]]] == [1, 2, 11, 13, 14, 90]
  weight = adapted['head.classification_head.cls_logits.weight']
  assert weight.shape == (720, 16, 3, 3)
  np.testing.assert_array_equal(weight[:, 3, 2, 1], got.reshape(-1))
  # Of other numbers of classes nothing is known.
  other = table.ADAPT(foreign, shapes_of(model_of('v1')))
  assert other.keys() == foreign.keys()
  assert all(other[name] is foreign[name] for name in foreign)


@pytest.mark.parametrize('variant, count', [
    ('resnet50', 34_014_999), ('resnet50_v2', 38_198_935)])
def test_variants_of_the_config_are_torchvisions(variant, count):
  """But for the 11 numbers that name nothing, 2,305 parameters an anchor."""
  config = retinanet_coco.get_config(variant)
  exp = experiment.build(config, dict(config.data.sizes))
  flat = elastic.flatten(exp.shapes)
  left = 'norm' if variant == 'resnet50' else '/stats/'
  size = sum(leaf.size for path, leaf in flat.items()
             if not (path.startswith('trunk/') and left in path))
  assert size == count - 9 * 11 * 2305
  assert exp.model.norm_eps == (0 if variant == 'resnet50' else 1e-5)


@pytest.mark.parametrize('changes, said', [
    (dict(blocks=(1, 1)), 'are of 2 stages'),
    (dict(top='p6'), "levels on top 'p6'"),
    (dict(anchor_sizes=(8, 16)), 'are of 2 levels, but the pyramid has 5')])
def test_what_cannot_be(changes, said):
  with pytest.raises(ValueError, match=said):
    Model(**dict(num_answers=2) | changes)


def test_channels_that_groups_do_not_divide():
  with pytest.raises(ValueError, match='16 channels were .* in 5 groups'):
    shapes_of(model_of('v2').clone(groups=5))
