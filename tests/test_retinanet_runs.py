"""RetinaNet as it is used: started by a classifier, trained, exported."""
from bst_jax import elastic, tasks
from bst_jax.elastic import Choice
from bst_jax.learn import schedules
from bst_jax.report import portable
from bst_jax.run import experiment, start
from bst_jax.store import checkpoint
from configs import pvt_v2, retinanet_coco, retinanet_scenes
import jax
import jax.numpy as jnp
import models
import numpy as np
import optax
import pytest

FRESH = ('fpn', 'head')
SCENES = dict(num_answers=10, num_attributes=5, num_objects=3, image_size=96)


@pytest.fixture(scope='module')
def classifier(tmp_path_factory):
  """A workdir of a PVTv2 of ten other classes, and its parameters."""
  folder = tmp_path_factory.mktemp('classifier')
  config = pvt_v2.get_config('small')
  exp = experiment.build(config, dict(config.data.sizes))
  params = models.random_params(exp.shapes)
  experiment.save(folder, config, exp.sizes)
  checkpoint.save_params(folder, params)
  return folder, exp, params


def started(folder, **more):
  """The experiment of a detector that a workdir starts, and its parameters."""
  config = retinanet_scenes.get_config()
  config.start = dict(workdir=str(folder), fresh=FRESH)
  config.update(more)
  config = experiment.chosen(config)
  exp = experiment.build(config, SCENES)
  choice = experiment.read_choice(more['choice']) if more else None
  return exp, start.params(start.of(config, choice), exp, 0)


def test_a_classifier_starts_it(classifier):
  folder, _, params = classifier
  exp, found = started(folder)
  assert found.keys() - params.keys() == {'fpn'}
  for path, leaf in elastic.flatten(found).items():
    if path.split('/')[0] not in FRESH:
      np.testing.assert_array_equal(leaf, elastic.flatten(params)[path], path)
  assert exp.model.width == (16, 32, 48, 64)
  # Without saying so its head would be taken for that of boxes.
  config = retinanet_scenes.get_config()
  config.start = str(folder)
  with pytest.raises(ValueError, match="fresh=.*'fpn'"):
    start.sources(start.of(config), experiment.build(config, SCENES))


def test_what_is_left_of_a_pruned_classifier_starts_it(classifier, tmp_path):
  """The choice names the classifier's channels; the detector takes its sizes."""
  folder, before, params = classifier
  keep = {'embed@stage_1': tuple(range(0, 32, 2)),
          'mlp@stage_3/layer_1/ffn': (5, 7, 100),
          'heads@stage_2/layer_0/attention': ((0, 3), (12, 14))}
  choice = Choice(keep=keep, layers={'stage_0': (1,)},
                  model=elastic.fingerprint(before.shapes))
  (tmp_path / 'choice.json').write_text(choice.to_json())
  # A reduction keeps what the stage around it loses.
  alone = experiment.chosen(before, choice)
  assert alone.shapes == jax.eval_shape(
      lambda params: before.cut(params, choice), before.shapes)
  exp, found = started(folder, choice=str(tmp_path / 'choice.json'))
  assert exp.model.width == (16, 16, 48, 64)
  assert exp.model.num_layers == (1, 2, 2, 2)
  want = elastic.flatten(before.cut(params, choice))
  for path, leaf in elastic.flatten(found).items():
    if path.split('/')[0] not in FRESH:
      np.testing.assert_array_equal(leaf, want[path], path)
  said = jax.eval_shape(lambda params: exp.model.apply(
      {'params': params}, exp.example()), found)
  assert said['boxes'].shape == (1, 30, 4)


def drawn(rows=4):
  """Grey pictures with one or two coloured squares; one has none."""
  rng = np.random.default_rng(0)
  image = rng.integers(100, 120, (rows, 32, 32, 3)).astype(np.uint8)
  found = {'object_boxes': np.zeros((rows, 2, 4), np.float32),
           'object_classes': np.zeros((rows, 2), np.int32),
           'object_mask': np.zeros((rows, 2), bool)}
  for i in range(rows):
    for j in range(i % 3):
      kind, side = rng.integers(3), rng.integers(9, 15)
      x, y = 16 * j + rng.integers(0, 17 - side), rng.integers(0, 32 - side)
      image[i, y:y + side, x:x + side] = np.eye(3)[kind] * 200 + 30
      found['object_boxes'][i, j] = np.array([x, y, x + side, y + side]) / 32
      found['object_classes'][i, j] = kind
      found['object_mask'][i, j] = True
  return {key: jnp.asarray(x) for key, x in (found | {
      'image': image, 'mask': np.ones(rows, bool)}).items()}


def small():
  return models.backbones.create(models.DETECTORS['retinanet'][0] | dict(
      num_answers=3, image_size=32, width=(16, 32), num_layers=(1, 1),
      strides=(4, 2), pyramid_width=16, each=30))


def test_it_learns_a_few_scenes():
  """Average precision of what it is shown, after a hundred steps."""
  pytest.importorskip('pycocotools', reason='pip install bst_jax[eval]')
  model, batch = small(), drawn()
  task, tx = tasks.create(dict(name='detect')), optax.adam(5e-3)
  params = elastic.unbox(jax.jit(model.init)(
      jax.random.key(0), batch)['params'])

  @jax.jit
  def train(params):
    def step(carry, key):
      params, state = carry
      loss, grads = jax.value_and_grad(lambda params: tasks.hard(
          task, model.apply({'params': params}, batch, train=True,
                            rngs={'dropout': key}), batch))(params)
      updates, state = tx.update(grads, state)
      return (optax.apply_updates(params, updates), state), loss
    keys = jax.random.split(jax.random.key(1), 120)
    (params, _), losses = jax.lax.scan(step, (params, tx.init(params)), keys)
    said = model.apply({'params': params}, batch)
    return losses, task.measure.read(said, batch)

  losses, rows = train(params)
  assert losses[-1] < 0.1 * losses[0]
  found = task.measure.finish(jax.tree.map(np.asarray, rows), None)
  assert found['AP50'] > 90 and found['AP'] > 50


@pytest.fixture(scope='module')
def exported():
  """(batch -> float[B, ...]: everything that is found, three pictures)."""
  pytest.importorskip('jax2onnx', reason='pip install bst_jax[export]')
  model, batch = small(), {'image': drawn(3)['image']}
  params, _ = models.prepare(model, batch)

  def run(batch):
    said = model.apply({'params': params}, batch)
    flat = lambda x: x.reshape(x.shape[0], -1).astype(jnp.float32)
    return jnp.concatenate([flat(said[key]) for key in (
        'boxes', 'scores', 'found', 'valid', 'classes')], 1)

  return run, batch


def off(got, want):
  return np.abs(np.asarray(got) - want).max()


def test_stablehlo_of_any_batch_and_onnx_of_a_fixed_one(exported):
  run, batch = exported
  jitted = jax.jit(run)
  want = np.asarray(jitted(batch))
  one = {'image': batch['image'][:1]}
  assert want[:, :24].any()
  program = portable.stablehlo(jitted, one)
  assert off(portable.run_stablehlo(program, batch), want) < 1e-3
  file = portable.onnx(run, one, rows=3)
  assert off(portable.Session(file)(batch), want) < 1e-3


def test_the_recipe_of_coco():
  """12 epochs, a tenth after 8 and 11, five levels from strides of 8 on."""
  config = retinanet_coco.get_config('b2')
  exp = experiment.build(config, dict(config.data.sizes))
  model = exp.model
  assert model.level_strides == (8, 16, 32, 64, 128)
  assert model.num_layers == (3, 4, 6, 3) and model.depth_dropout == 0.1
  assert (model.detections, model.each, model.top) == (100, 1000, 'c5')
  said = jax.eval_shape(lambda params, batch: model.apply(
      {'params': params}, batch), exp.shapes, exp.example())
  cells = sum(-(-800 // s) * -(-1344 // s) for s in model.level_strides)
  assert said['classes'].shape == (1, 9 * cells, 80)
  rate = schedules.create(config.schedule, config.optimizer.lr, 1000, 12_000)
  np.testing.assert_allclose(
      [rate(step) for step in (249, 499, 7999, 8000, 10_999, 11_000)],
      [5e-5, 1e-4, 1e-4, 1e-5, 1e-5, 1e-6], rtol=1e-4)
