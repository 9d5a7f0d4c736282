"""TEE: sizes, what it says of pictures, and what it learns from."""
from bst_jax import elastic, tasks
from bst_jax.elastic import FULL
from bst_jax.layers.detection import boxes
from bst_jax.learn import optimizers
from bst_jax.models import tee
from bst_jax.report import costs
from bst_jax.run import experiment, statistics
from configs import tee_scenes, tee_vg
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

TINY = dict(num_answers=5, num_attributes=6, image_size=64, stem=8,
            stages=(8, 8, 8, 8, 8, 8, 8), layers=(1,) * 7, pyramid=16, cells=1,
            anchor_sizes=(8, 16, 24, 32, 48), hidden=16, each=(60, 40),
            proposals=(30, 20), rois=24, regions=8, least=3, depth_dropout=0.0)
TASK = tasks.create(dict(name='regions'))
# Of the batch statistics, which nothing learns.
STATS = 'stats'


def size(tree):
  """Trainable parameters."""
  return sum(leaf.size for path, leaf in elastic.flatten(tree).items()
             if STATS not in path.split('/'))


def shapes_of(model, pictures=1):
  image = jnp.zeros((pictures, *model.sides, 3))
  return elastic.unbox(jax.eval_shape(
      model.init, jax.random.key(0), {'image': image})['params'])


def published(name, **changes):
  return tee.Model(**tee.sizes(name) | dict(num_answers=1594) | changes)


@pytest.mark.parametrize('name, changes, count', [
    ('tee0', {}, 7_498_055), ('tee0', dict(start=3), 7_534_919),
    ('tee1', {}, 10_578_134), ('tee2', {}, 12_370_339),
    ('tee3', {}, 16_870_284)])
def test_published_sizes(name, changes, count):
  """MiniVLM's abstract: parameters of the extractor, without attributes."""
  shapes = shapes_of(published(name, image_size=128, **changes))
  assert size(shapes) == count
  if name == 'tee0':
    assert size(shapes['trunk']) == 3_595_388
    assert size(shapes['bifpn']) == (196_281 if changes else 159_417)
    assert size(shapes['objectness']) + size(shapes['deltas']) == 975


def test_tee4_and_the_head_of_attributes():
  whole = published('tee4', image_size=128, num_attributes=524,
                    groups=tuple(np.arange(1594) % 326))
  shapes = shapes_of(whole)
  head = sum(size(shapes[name]) for name in (
      'class_embedding', 'attribute_fc', 'attributes'))
  assert head == 1_008_140
  assert round((size(shapes) - head) / 1e6, 2) == 26.28
  assert round(size(shapes) / 1e6, 2) == 27.29


@pytest.mark.parametrize('name, giga', [
    ('tee0', 3.5), ('tee1', 7.4), ('tee2', 13.3), ('tee3', 30.8),
    ('tee4', 73.7)])
def test_multiply_accumulates_of_a_square(name, giga):
  model = published(name)
  batch = {'image': jax.ShapeDtypeStruct((1, *model.sides, 3), jnp.float32)}
  shapes = elastic.unbox(jax.eval_shape(
      model.init, jax.random.key(0), batch)['params'])
  count = costs.of(model, shapes, batch)
  # Samples of proposals are sums, no products with weights.
  macs = sum(n for (scope, kind), n in count.counts.items()
             if kind in ('linear', 'convolution'))
  assert macs / 1e9 == pytest.approx(giga, abs=0.06)


def drawn(rows=2, seed=0):
  """Pictures with coloured squares, of which one has none."""
  rng = np.random.default_rng(seed)
  image = rng.integers(90, 130, (rows, 64, 64, 3)).astype(np.uint8)
  found = {'object_boxes': np.zeros((rows, 3, 4), np.float32),
           'object_classes': np.zeros((rows, 3), np.int32),
           'object_attributes': np.zeros((rows, 3, 2), np.int32),
           'object_mask': np.zeros((rows, 3), bool)}
  for i in range(rows):
    for j in range(i % 3):
      kind, side = rng.integers(5), rng.integers(14, 24)
      x, y = 32 * j + rng.integers(0, 32 - side), rng.integers(0, 64 - side)
      image[i, y:y + side, x:x + side] = np.eye(5, 3)[kind] * 200 + 30
      found['object_boxes'][i, j] = np.array([x, y, x + side, y + side]) / 64
      found['object_classes'][i, j] = kind
      found['object_attributes'][i, j] = kind, 5
      found['object_mask'][i, j] = True
  return {key: jnp.asarray(x) for key, x in (found | {
      'image': image, 'mask': np.arange(rows) < rows - 1}).items()}


@pytest.fixture(scope='module')
def tiny():
  model = tee.Model(**TINY)
  batch = drawn(4)
  params = elastic.unbox(jax.jit(model.init)(
      jax.random.key(0), batch)['params'])
  return model, params, batch


def test_what_it_says(tiny):
  model, params, batch = tiny
  said = jax.jit(lambda b: model.apply({'params': params}, b))(batch)
  count = sum(3 * (64 // s) ** 2 for s in model.strides)
  shapes = {key: x.shape for key, x in said.items()}
  assert shapes == {
      'anchors': (4, count, 4), 'objectness': (4, count),
      'anchor_deltas': (4, count, 4), 'rois': (4, 20, 4), 'roi_mask': (4, 20),
      'classes': (4, 20, 6), 'roi_deltas': (4, 20, 4), 'attributes': (4, 20, 6),
      'boxes': (4, 8, 4), 'scores': (4, 8), 'found': (4, 8), 'valid': (4, 8),
      'features': (4, 8, 16), 'geometry': (4, 8, 6)}
  assert all(np.isfinite(x).all() for x in said.values())
  assert said['valid'].sum(1).min() >= 3  # As many as `least`.
  shown = np.asarray(said['valid'])
  assert (np.diff(said['scores'], axis=1)[shown[:, 1:]] <= 0).all()
  np.testing.assert_allclose(
      said['geometry'][..., :4][shown], said['boxes'][shown] / 64, rtol=1e-6)
  assert not said['features'][~shown].any()


def test_what_lies_beside_a_picture_does_not_matter(tiny):
  model, params, batch = tiny
  extent = jnp.array([[64, 48]] * 4)
  run = jax.jit(lambda image: model.apply(
      {'params': params}, {'image': image, 'extent': extent}))
  noise = batch['image'].at[:, :, 48:].set(255)
  one, two = run(batch['image']), run(noise)
  for key, value in one.items():
    np.testing.assert_array_equal(value, two[key], err_msg=key)
  assert (one['boxes'][..., 2] <= 48).all()


def test_training_learns_from_objects_and_from_pictures_without(tiny):
  model, params, batch = tiny
  run = jax.jit(lambda params, key: model.apply(
      {'params': params}, batch, train=True, rngs={'dropout': key}))
  said = run(params, jax.random.key(1))
  assert said['rois'].shape == (4, 24, 4) and 'boxes' not in said
  objects = tee.in_pixels(batch, model.sides)
  # The objects' own boxes are among what is sampled, at most a quarter.
  for i in range(4):
    own = np.asarray(boxes.iou(said['rois'][i], objects[i]))
    own = own[:, np.asarray(batch['object_mask'][i])]
    assert (own.max(0, initial=0) == 1).all() if own.size else True
    assert (own.max(1, initial=0) >= 0.5).sum() <= 6
  terms = TASK.loss(said, batch, jax.random.key(2))
  assert set(terms) == set(TASK.terms)
  for name, rows in terms.items():
    assert rows.loss.shape == (4,) and np.isfinite(rows.loss).all(), name
  # Of a picture without objects there is background alone.
  assert terms['boxes'].loss[0] == terms['attributes'].loss[0] == 0
  assert terms['anchors'].loss[0] == 0 and terms['classes'].loss[0] > 0


def test_losses_by_hand():
  """One anchor and one proposal of an object, two of the background."""
  anchors = jnp.array([[0, 0, 20, 20], [30, 30, 40, 40], [50, 0, 60, 10.]])
  given = {
      'anchors': anchors[None], 'objectness': jnp.array([[1.0, -1.0, 2.0]]),
      'anchor_deltas': jnp.zeros((1, 3, 4)).at[0, 0, 0].set(0.5),
      'rois': anchors[None], 'roi_mask': jnp.array([[True, True, False]]),
      'classes': jnp.array([[[0.0, 1, 2], [3, 0, 0], [9, 9, 9]]]),
      'roi_deltas': jnp.zeros((1, 3, 4)).at[0, 0, 1].set(3.0),
      'attributes': jnp.zeros((1, 3, 4))}
  batch = {
      'image': jnp.zeros((1, 64, 64, 3)), 'mask': jnp.array([True]),
      'object_boxes': jnp.array([[[0, 0, 20, 20], [0, 0, 64, 64.]]]) / 64,
      'object_classes': jnp.array([[1, 0]]),
      'object_attributes': jnp.array([[[0, 2], [1, 1]]]),
      'object_mask': jnp.array([[True, False]])}
  terms = {name: float(rows.loss[0]) for name, rows in TASK.loss(
      given, batch, None).items()}
  soft = lambda x: np.log1p(np.exp(x))
  np.testing.assert_allclose(
      terms['objectness'], (soft(-1) + soft(-1) + soft(2)) / 3, rtol=1e-5)
  np.testing.assert_allclose(terms['anchors'], (0.5 - 1 / 18) / 3, rtol=1e-5)
  rows = np.log(np.exp([0, 1, 2]).sum()) - 2, np.log(np.exp(3) + 2) - 3
  np.testing.assert_allclose(terms['classes'], sum(rows) / 2, rtol=1e-5)
  np.testing.assert_allclose(terms['boxes'], 2.5 / 2, rtol=1e-5)
  np.testing.assert_allclose(terms['attributes'], np.log(4), rtol=1e-5)


def test_what_lies_in_a_crowd_is_not_background():
  rois = jnp.array([[0, 0, 20, 20], [34, 34, 40, 40], [50, 0, 60, 10.]])
  given = {
      'anchors': rois[None], 'objectness': jnp.array([[1.0, -1.0, 2.0]]),
      'anchor_deltas': jnp.zeros((1, 3, 4)), 'rois': rois[None],
      'roi_mask': jnp.ones((1, 3), bool), 'roi_deltas': jnp.zeros((1, 3, 4)),
      'classes': jnp.array([[[0.0, 1, 2], [3, 0, 0], [9, 0, 0]]])}
  batch = {
      'image': jnp.zeros((1, 64, 64, 3)), 'mask': jnp.array([True]),
      'object_boxes': jnp.array([[[0, 0, 20, 20], [30, 30, 64, 64.]]]) / 64,
      'object_classes': jnp.array([[1, 0]]),
      'object_mask': jnp.array([[True, False]]),
      'object_crowd': jnp.array([[False, True]])}
  terms = {name: float(rows.loss[0]) for name, rows in TASK.loss(
      given, batch, None).items()}
  soft = lambda x: np.log1p(np.exp(x))
  # Of the three the second is left out.
  np.testing.assert_allclose(
      terms['objectness'], (soft(-1) + soft(2)) / 2, rtol=1e-5)
  rows = np.log(np.exp([0, 1, 2]).sum()) - 2, np.log(np.exp(9) + 2) - 9
  np.testing.assert_allclose(terms['classes'], sum(rows) / 2, rtol=1e-4)


def test_what_is_found_and_what_is_named():
  outputs = {
      'boxes': jnp.array([[[0, 0, 32, 32], [32, 32, 64, 64], [0, 32, 9, 41.]]]),
      'found': jnp.array([[1, 2, 3]]), 'valid': jnp.array([[True, True, False]])}
  batch = {'image': jnp.zeros((1, 64, 64, 3)), 'mask': jnp.array([True]),
           'object_boxes': jnp.array([[[0, 0, .5, .5], [.5, .5, 1, 1],
                                       [0, .5, 9 / 64, 41 / 64], [0, 0, 1, 1]]]),
           'object_classes': jnp.array([[1, 3, 3, 0]]),
           'object_mask': jnp.array([[True, True, True, False]])}
  sums = jax.tree.map(np.asarray, TASK.measure.read(outputs, batch))
  found = TASK.measure.finish(sums, None)
  assert found == {'named': pytest.approx(100 / 3),
                   'found': pytest.approx(200 / 3)}


def test_some_steps_make_its_loss_less(tiny):
  """And batch statistics are one program's, whatever number of objects."""
  model, params, _ = tiny
  model = model.clone(batch_stats='batch')
  traced, tx = [], optax.adam(3e-3)

  @jax.jit
  def step(params, state, batch, key):
    traced.append(True)

    def loss(params):
      said, _ = model.apply({'params': params}, batch, train=True,
                            rngs={'dropout': key}, mutable=['written'])
      return tasks.hard(TASK, said, batch, key)

    value, grads = jax.value_and_grad(loss)(params)
    updates, state = tx.update(grads, state)
    return optax.apply_updates(params, updates), state, value, grads

  state, values = tx.init(params), []
  for i in range(20):
    params, state, value, grads = step(
        params, state, drawn(4, seed=i % 3), jax.random.key(i))
    values.append(float(value))
  assert len(traced) == 1
  assert np.isfinite(values).all() and np.mean(values[-5:]) < 0.7 * values[0]
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(grads))


@pytest.mark.parametrize('changes, said', [
    (dict(image_size=90), 'multiples of 32'),
    (dict(start=4), 'is no start of a pyramid'),
    (dict(anchor_sizes=(8, 16)), 'the pyramid has 5 levels'),
    (dict(groups=(1, 2)), 'groups are of 2 classes'),
    (dict(anchor_style='corner'), "no style of anchors 'corner'")])
def test_what_cannot_be(changes, said):
  with pytest.raises(ValueError, match=said):
    tee.Model(**TINY | changes)


def test_it_is_whole_at_any_time():
  model = tee.Model(**TINY)
  assert model.at(FULL) == model
  assert isinstance(model, nn.Module) and model.stacks == {}


def test_biases_move_twice_as_fast_and_do_not_decay():
  """The released detector's groups, as configs/tee_vg.py has them."""
  config = tee_vg.get_config()
  params = {'head': {'kernel': jnp.full((2, 3), 2.0), 'bias': jnp.full(3, 2.0)}}
  tx = optimizers.create(config.optimizer, config.schedule, params, 400, 80_000)
  updates, _ = tx.update(jax.tree.map(jnp.ones_like, params), tx.init(params),
                         params)
  rate = 0.1 / 2000  # The first step of the rise.
  np.testing.assert_allclose(updates['head']['kernel'], -rate * (1 + 2e-5),
                             rtol=1e-6)
  np.testing.assert_allclose(updates['head']['bias'], -2 * rate, rtol=1e-6)


def test_the_published_recipe_is_of_the_published_sizes():
  config = tee_vg.get_config('tee3')
  sizes = dict(config.data.sizes) | dict(object_attributes=16, extents=2)
  exp = experiment.build(config, sizes)
  assert config.data.canvases == ((768, 768), (832, 832), (896, 896))
  assert size(exp.shapes) - 1_008_140 - (1594 - 326) * 256 == 16_870_284


@pytest.mark.parametrize('source, train, moves', [
    ('stored', True, False), ('batch', True, True), ('batch', False, False)])
def test_which_statistics_a_step_writes(source, train, moves):
  """Stored ones stay, and evaluation never writes, whatever the batch."""
  model = tee.Model(**TINY | dict(batch_stats=source))
  batch = {'image': jnp.zeros((2, 64, 64, 3), jnp.uint8)}
  params = elastic.unbox(jax.eval_shape(
      model.init, jax.random.key(0), batch)['params'])
  _, sown = jax.eval_shape(
      lambda params, batch: model.apply(
          {'params': params}, batch, train=train, mutable=['written'],
          rngs={'dropout': jax.random.key(1)}), params, batch)
  stats = {path for path in elastic.flatten(params)
           if STATS in path.split('/')}
  written = {path for path in elastic.flatten(sown.get('written', {}))}
  assert written == (stats if moves else set()) and len(stats) > 40


def test_a_detector_is_warned_of_few_pictures_and_of_statistics_of_none(log):
  config = tee_scenes.get_config('tiny')
  sizes = dict(num_answers=9, num_attributes=5, num_objects=3, image_size=64)
  statistics.warn(experiment.build(config, sizes), 2, True)
  assert 'statistics of 2 examples at a time' in log.text
  log.clear()
  config.model.batch_stats = 'stored'
  statistics.warn(experiment.build(config, sizes), 2, True)
  assert 'which nobody measured' in log.text
  log.clear()
  statistics.warn(experiment.build(config, sizes), 2, False)
  assert not log.text


def test_training_takes_other_canvases_of_whole_cells():
  """As `config.data.canvases` draws them; evaluation has one size."""
  model, batch = tee.Model(**TINY), drawn(2)
  params = elastic.unbox(jax.eval_shape(
      model.init, jax.random.key(0), batch)['params'])
  run = lambda height, width, train: jax.eval_shape(
      lambda params, batch: model.apply(
          {'params': params}, batch, train=train, mutable=['written'],
          rngs={'dropout': jax.random.key(1)})[0],
      params, batch | {'image': jnp.zeros((2, height, width, 3), jnp.uint8)})
  cells = sum((96 // s) * -(-128 // s) for s in model.strides[:4]) + 2 * 2
  said = run(96, 128, True)
  assert said['anchors'].shape == (2, 3 * cells, 4)
  assert said['rois'].shape == (2, TINY['rois'], 4)
  for height, width, train in ((96, 100, True), (96, 128, False)):
    with pytest.raises(ValueError, match='do not fit'):
      run(height, width, train)
