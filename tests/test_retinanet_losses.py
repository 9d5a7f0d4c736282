"""Task detect: losses by hand, pictures without objects, devices, thresholds."""
from bst_jax import tasks
from bst_jax.layers import retinanet
from bst_jax.layers.detection import losses
from bst_jax.report import boxes as report
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import virtual

ANCHORS = jnp.array([[0, 0, 20, 20], [30, 30, 40, 40], [0, 0, 20, 9.]])
OUTPUTS = {'anchors': ANCHORS[None],
           'classes': jnp.array([[[0.5, -1.0], [-2.0, 0.3], [1.0, 1.0]]]),
           'deltas': jnp.array([[[0.5, 0, -0.25, 0], [9, 9, 9, 9.], [1.] * 4]])}
BATCH = {'image': jnp.zeros((1, 64, 64, 3)), 'mask': jnp.array([True]),
         'object_boxes': jnp.array([[[0, 0, 20, 20], [0, 0, 64, 64.]]]) / 64,
         'object_classes': jnp.array([[1, 0]]),
         'object_mask': jnp.array([[True, False]])}
create = lambda **options: tasks.create(dict(name='detect') | options)


def focal(logits, ones):
  """-a (1 - p)^2 log p of what is right, a of ones a quarter."""
  p = 1 / (1 + np.exp(-np.asarray(logits, float)))
  p, share = np.where(ones, p, 1 - p), np.where(ones, 0.25, 0.75)
  return (-share * (1 - p) ** 2 * np.log(p)).sum()


def terms_of(task, outputs=OUTPUTS, batch=BATCH):
  found = task.loss(outputs, batch, None)
  return {name: np.asarray(rows.loss) for name, rows in found.items()}


def twice(tree, **changes):
  return jax.tree.map(lambda x: jnp.concatenate([x, x]), tree) | changes


def test_losses_by_hand():
  """The third anchor overlaps by 0.45: it is neither."""
  got = terms_of(create(best=False))
  want = focal([0.5, -1.0], [0, 1]) + focal([-2.0, 0.3], [0, 0])
  np.testing.assert_allclose(got['classes'], [want], rtol=1e-5)
  np.testing.assert_allclose(got['boxes'], [0.75], rtol=1e-6)
  # Overlaps may be others: then it is of the object too, and two divide.
  got = terms_of(create(high=0.45, low=0.3))
  wanted = np.array([0, 11 / 2 / 9, 0, np.log(20 / 9)])
  np.testing.assert_allclose(
      got['boxes'], [(0.75 + np.abs(1 - wanted).sum()) / 2], rtol=1e-5)


def test_boxes_compared_as_boxes():
  """Shifted by half its width: overlap 1/3, the box around has nothing else."""
  outputs = OUTPUTS | {'deltas': jnp.zeros((1, 3, 4)).at[0, 0, 0].set(0.5)}
  got = terms_of(create(box_loss='giou', best=False), outputs)
  np.testing.assert_allclose(got['boxes'], [2 / 3], rtol=1e-5)
  apart = losses.giou(jnp.array([[0, 0, 2, 2.]]), jnp.array([[4, 0, 6, 2.]]))
  np.testing.assert_allclose(apart, [1 + 1 / 3], rtol=1e-6)
  assert np.isfinite(jax.grad(lambda x: losses.giou(x, x * 0).sum())(
      jnp.zeros((1, 4)))).all()


def test_the_whole_batch_divides_by_its_anchors():
  """Two pictures, of which one has no object: its background counts in full."""
  none = twice(BATCH, object_mask=jnp.array([[True, False], [False, False]]))
  got = terms_of(create(best=False), twice(OUTPUTS), none)
  first = focal([0.5, -1.0], [0, 1]) + focal([-2.0, 0.3], [0, 0])
  second = focal(OUTPUTS['classes'], np.zeros((3, 2)))
  # A mean over two pictures of twice the sums over one anchor.
  np.testing.assert_allclose(got['classes'], [2 * first, 2 * second], rtol=1e-5)
  np.testing.assert_allclose(got['boxes'], [1.5, 0], rtol=1e-6)
  total = tasks.hard(create(best=False), twice(OUTPUTS), none)
  np.testing.assert_allclose(total, first + second + 0.75, rtol=1e-5)
  # A row that only fills the batch up is no picture.
  padded = twice(BATCH, mask=jnp.array([True, False]))
  np.testing.assert_allclose(
      tasks.hard(create(best=False), twice(OUTPUTS), padded), first + 0.75,
      rtol=1e-5)


def test_what_lies_in_a_crowd_is_not_background():
  batch = BATCH | {
      'object_boxes': jnp.array([[[0, 0, 20, 20], [28, 28, 64, 64.]]]) / 64,
      'object_crowd': jnp.array([[False, True]])}
  got = terms_of(create(best=False), batch=batch)
  np.testing.assert_allclose(
      got['classes'], [focal([0.5, -1.0], [0, 1])], rtol=1e-5)


@pytest.mark.parametrize('box_loss', ['l1', 'giou'])
@pytest.mark.parametrize('side', [None, 3])
def test_a_batch_without_an_anchor_of_an_object(box_loss, side):
  """No object; or one of three pixels, that no anchor reaches."""
  batch = BATCH | {
      'object_mask': jnp.array([[side is not None, False]]),
      'object_boxes': jnp.full((1, 2, 4), 2 / 64).at[0, 0, 2:].add(
          (side or 0) / 64)}
  task = create(box_loss=box_loss, best=False)
  got = terms_of(task, batch=batch)
  assert got['boxes'] == 0
  np.testing.assert_allclose(
      got['classes'], [focal(OUTPUTS['classes'], np.zeros((3, 2)))], rtol=1e-5)
  grads = jax.grad(lambda outputs: tasks.hard(task, outputs, batch))(OUTPUTS)
  assert all(np.isfinite(x).all() for x in grads.values())
  assert grads['classes'].all() and not grads['deltas'].any()
  if side:  # As released code has it, the nearest anchor is of it all the same.
    assert terms_of(create(box_loss=box_loss), batch=batch)['boxes'] > 0


DEVICES = '''
import json
from bst_jax import elastic, methods, tasks
from bst_jax.learn import sharding
import jax, jax.numpy as jnp, numpy as np, optax
import models

model, batch, params, axes = models.build('retinanet', num_layers=(1, 1))
# All objects lie on the first device.
batch = {key: np.asarray(x) for key, x in (batch | dict(
    mask=np.array([True, True, True, False]),
    object_boxes=np.tile(np.float32([[0, 0, 0.5, 0.5], [0.4, 0.3, 1, 1]]),
                         (4, 1, 1)),
    object_classes=np.zeros((4, 2), np.int32),
    object_mask=np.array([[True, True], [True, False]] + 2 * [[False] * 2])
)).items()}
task, out = tasks.create(dict(name='detect')), {}
method = methods.create(
    dict(name='plain'), model=model, task=task, tx=optax.sgd(1e-3),
    axes=axes, space=elastic.Space(), micro_batches=1)
for count in (1, 2):
  mesh = sharding.make_mesh({'data': count, 'fsdp': 1}, jax.devices()[:count])
  with jax.set_mesh(mesh):
    now = method.init(jax.random.key(0), params)
    now, metrics = jax.jit(method.step)(
        now, {'train': sharding.place(batch, mesh)})
  out[count] = [float(metrics[k]) for k in ('loss/full', 'grad_norm')] + [
      float(jnp.abs(x).sum()) for x in jax.tree.leaves(now.params)]
said = model.apply({'params': params}, batch, train=True,
                   rngs={'dropout': jax.random.key(0)})
half = lambda tree, i: {k: x[2 * i:2 * i + 2] for k, x in tree.items()}
out['halves'] = float(np.mean([tasks.hard(task, half(said, i), half(batch, i))
                               for i in range(2)]))
print(json.dumps(out))
'''


def test_one_and_two_devices_have_one_loss():
  """The divisor is that of the batch, not that of a device's share."""
  out = virtual.run(DEVICES, 2)
  np.testing.assert_allclose(out['1'], out['2'], rtol=1e-5)
  assert abs(out['halves'] / out['1'][0] - 1) > 0.1


# --- evaluation ----------------------------------------------------------------

def one_box(score):
  """Two pictures with an object each, of which one is found."""
  boxes = jnp.zeros((2, 3, 4)).at[0, 0].set(jnp.array([0, 0, 32, 32.]))
  outputs = {'boxes': boxes, 'scores': jnp.zeros((2, 3)).at[0, 0].set(score),
             'found': jnp.ones((2, 3), int),
             'valid': jnp.zeros((2, 3), bool).at[0, 0].set(True)}
  batch = {'image': jnp.zeros((2, 64, 64, 3)), 'mask': jnp.ones(2, bool),
           'object_boxes': jnp.array([[[0, 0, .5, .5]], [[.5, .5, 1, 1]]]),
           'object_classes': jnp.ones((2, 1), int),
           'object_mask': jnp.ones((2, 1), bool)}
  return outputs, batch


def precision(task, outputs, batch):
  pytest.importorskip('pycocotools', reason='pip install bst_jax[eval]')
  rows = jax.tree.map(np.asarray, task.measure.read(outputs, batch))
  return task.measure.finish(rows, None)['AP50']


def test_what_is_drawn_decides_nothing_of_what_is_measured():
  outputs, batch = one_box(0.3)
  task = create()
  before = precision(task, outputs, batch)
  assert before == pytest.approx(100 * 51 / 101)  # Recall 0 to a half.
  one = {key: np.asarray(x[0]) for key, x in outputs.items()}
  picture = np.zeros((64, 64, 3), np.uint8)
  drawn = [np.asarray(report.drawing(picture, one, 'ab', threshold)).any()
           for threshold in (0.05, 0.5)]
  assert drawn == [True, False]
  assert precision(task, outputs, batch) == before
  assert task.measure.name == 'average_precision'


def test_another_threshold_stands_in_the_name_of_the_result():
  outputs, batch = one_box(0.3)
  sure = create(measure=dict(name='boxes', threshold=0.5))
  assert sure.measure.name == 'average_precision_from_0.5'
  assert sure.measure.title.endswith('of boxes with a score from 0.5 on')
  assert precision(sure, outputs, batch) == 0
  assert precision(create(measure=dict(name='boxes', threshold=0.2)), outputs,
                   batch) > 50


def test_a_hundred_boxes_of_scores_from_a_twentieth_on_are_handed_on():
  """By default, whatever is drawn."""
  score = np.full(300, 0.04)
  score[:60], score[200:260] = 0.06, 0.3
  places = np.arange(300)[:, None] * np.array([[20, 0, 20, 0]])
  first = jnp.asarray(places + np.array([[0, 0, 9, 9]]), jnp.float32)
  logits = jnp.log(score / (1 - score))[None, :, None]
  said = retinanet.outputs(
      [logits.astype(jnp.float32)], [jnp.zeros((1, 300, 4))], [first],
      jnp.array([[64, 10_000]]), False)
  assert said['valid'].sum() == 100
  np.testing.assert_allclose(said['scores'][0, [0, 59, 60, 99]],
                             [0.3, 0.3, 0.06, 0.06], rtol=1e-4)
  some = retinanet.outputs(
      [logits[:, 60:200].astype(jnp.float32)], [jnp.zeros((1, 140, 4))],
      [first[60:200]], jnp.array([[64, 10_000]]), False)
  assert not some['valid'].any()


@pytest.mark.parametrize('options, said', [
    (dict(box_loss='l2'), "loss of boxes 'l2'.*l1"),
    (dict(divisor='device'), "divisor of losses 'device'"),
    (dict(low=0.6), 'low=0.6 and high=0.5 do not follow')])
def test_what_cannot_be(options, said):
  with pytest.raises(ValueError, match=said):
    create(**options)


def test_a_batch_without_labels_of_objects():
  with pytest.raises(ValueError, match="key of the batch 'object_boxes'"):
    create().loss(OUTPUTS, {'image': BATCH['image']}, None)
