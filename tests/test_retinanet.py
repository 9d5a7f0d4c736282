"""RetinaNet on PVTv2: sizes, grids, and what is cut out of its backbone."""
from bst_jax import elastic
from bst_jax.elastic import Axis, Choice, Submodel
from bst_jax.layers import retinanet as layers
from bst_jax.models import pvt, retinanet
import chex
import jax
import jax.numpy as jnp
import models
import numpy as np
import pytest

SIZES, _ = models.DETECTORS['retinanet']
SAID = 'classes', 'deltas'  # What no rounding can bring into another order.


@pytest.fixture(scope='module')
def tiny():
  return models.build('retinanet')


def run(model, params, batch, **options):
  """What is said of all anchors; nothing drops out, and no box is chosen."""
  return model.apply({'params': params}, batch, train=True,
                     rngs={'dropout': jax.random.key(0)}, **options)


@pytest.fixture(scope='module')
def evaluate(tiny):
  """(batch, extent) -> all outputs, compiled once."""
  model, _, params, _ = tiny
  call = jax.jit(lambda batch: model.apply({'params': params}, batch))
  return lambda batch, extent: call(batch | {'extent': jnp.array([extent] * 4)})


def same(one, other):
  for name in SAID:
    np.testing.assert_allclose(
        one[name], other[name], rtol=0, err_msg=name,
        atol=3e-6 * np.abs(other[name]).max())


def shapes_of(model):
  boxed = jax.eval_shape(model.init, jax.random.key(0), {
      'image': np.zeros((1, *model.sides, 3), np.uint8)})['params']
  return elastic.unbox(boxed), elastic.names(boxed)


def test_published_size_on_b0():
  """12.95 M with 80 classes: backbone, then pyramid and head."""
  shapes, axes = shapes_of(retinanet.Model(80, image_size=128))
  ours = elastic.size(shapes['fpn']) + elastic.size(shapes['head'])
  assert (elastic.size(shapes) - ours, ours) == (3_409_760, 9_537_268)
  # As many sets of channels as the classifier has, and the same ones.
  classifier = shapes_of(pvt.Model(80, image_size=128))[1]
  assert elastic.groups(axes).keys() == elastic.groups(classifier).keys()
  assert ('fpn/inner_2/kernel', 2) in elastic.groups(axes)['embed@stage_3']


def test_what_it_says(tiny, evaluate):
  model, batch, params, _ = tiny
  said = evaluate(batch, [16, 16])
  count = 9 * (16 + 16 + 4 + 1)
  assert {key: x.shape for key, x in said.items()} == {
      'anchors': (4, count, 4), 'classes': (4, count, 7),
      'deltas': (4, count, 4), 'boxes': (4, 6, 4), 'scores': (4, 6),
      'found': (4, 6), 'valid': (4, 6)}
  assert model.level_strides == (4, 4, 8, 16)
  assert said['valid'].any() and (said['boxes'] <= 16).all()
  assert run(model, params, batch).keys() == {'anchors', 'classes', 'deltas'}


def test_untrained_every_class_has_a_probability_of_1_in_100():
  head = layers.Head(Axis('pyramid', 4), 3, depth=1)
  (logits,), (deltas,) = head.init_with_output(
      jax.random.key(0), [jnp.zeros((1, 2, 3, 4))])[0]
  assert logits.shape == (1, 54, 3) and not deltas.any()
  np.testing.assert_allclose(jax.nn.sigmoid(logits), 0.01, rtol=1e-5)


def test_what_lies_beside_a_picture_does_not_matter(tiny, evaluate):
  _, batch, *_ = tiny
  one = evaluate(batch, [16, 10])
  two = evaluate({'image': batch['image'].at[:, :, 10:].set(9)}, [16, 10])
  for key, value in one.items():
    np.testing.assert_array_equal(value, two[key], err_msg=key)
  assert (one['boxes'][..., 2] <= 10).all() and one['valid'].any()


@pytest.mark.parametrize('text', ['1/4x1/2', '3/4x1', '1x3/4'])
def test_slicing_then_running_equals_running_sliced(tiny, text):
  model, batch, params, axes = tiny
  sub = Submodel.parse(text)
  sliced = run(model, params, batch, sub=sub)
  small = elastic.Slices(axes, model.stacks).cut(params, sub)
  same(sliced, run(model.at(sub), small, batch))
  chex.assert_trees_all_equal_shapes(small, shapes_of(model.at(sub))[0])
  whole = run(model, params, batch)
  assert np.abs(sliced['classes'] - whole['classes']).max() > 1e-2


def test_channels_and_layers_are_cut(tiny):
  """Zeros in what is removed: of the widths of stages alone nothing is."""
  model, batch, params, axes = tiny
  flat, rng, keep = dict(elastic.flatten(params)), np.random.default_rng(0), {}
  for name, members in sorted(elastic.groups(axes).items()):
    path, dim = members[0]
    if elastic.base(name) != 'mlp':
      continue
    size = flat[path].shape[dim]
    keep[name] = rng.permutation(size)[:size // 2].tolist()
    dead = np.setdiff1d(np.arange(size), keep[name])
    for place, axis in members:
      leaf = np.array(flat[place])
      np.moveaxis(leaf, axis, 0)[dead] = 0
      flat[place] = leaf
  blank = jax.tree_util.tree_map_with_path(
      lambda path, _: flat['/'.join(p.key for p in path)], params)
  assert len(keep) == 8
  choice = Choice(keep=keep)
  small = model.chosen(choice)
  same(run(small, elastic.cut(params, axes, choice, model.stacks), batch),
       run(model, blank, batch))
  fewer = Choice(layers={'stage_1': (3, 0)})
  cut = elastic.cut(params, axes, fewer, model.stacks)
  assert model.chosen(fewer).num_layers == (4, 2)
  for new, old in enumerate((3, 0)):
    jax.tree.map(np.testing.assert_array_equal, cut['stage_1'][f'layer_{new}'],
                 params['stage_1'][f'layer_{old}'])


def test_channels_in_another_order_change_nothing(tiny):
  """The pyramid reads the channels of a stage by what they are."""
  model, batch, params, axes = tiny
  keep = {f'embed@stage_{i}': np.random.default_rng(i).permutation(16).tolist()
          for i in range(2)}
  choice = Choice(keep=keep)
  moved = elastic.cut(params, axes, choice, model.stacks)
  assert np.abs(moved['fpn']['inner_0']['kernel']
                - params['fpn']['inner_0']['kernel']).max() > 0.1
  same(run(model.chosen(choice), moved, batch), run(model, params, batch))


def pruned():
  """A classifier of four stages, and a choice of half of its channels."""
  large = pvt.Model(7, image_size=64, width=(8, 16, 16, 32), heads=(1, 2, 2, 4),
                    mlp=(16,) * 4, num_layers=(1,) * 4)
  shapes, axes = shapes_of(large)
  flat, keep = elastic.flatten(shapes), {}
  for name, ((path, dim), *_) in elastic.groups(axes).items():
    size = flat[path].shape[dim]
    keep[name] = list(range(0, size, 2))
    if elastic.base(name) == 'heads':
      channels = flat[path].shape[dim + 1]
      keep[name] = [list(range(head * channels, (head + 1) * channels, 2))
                    for head in range(size)]
  return large, Choice(keep=keep)


@pytest.mark.parametrize('sides', [(64, 64), (75, 101)])
def test_a_pruned_classifier_has_its_parents_grids_and_goes_in(sides):
  """Stages of any canvas keep their cells; its sizes are the detector's."""
  large, choice = pruned()
  large = large.clone(image_size=sides)
  small = large.chosen(choice)
  batch = {'image': jnp.zeros((1, *sides, 3), jnp.uint8)}
  detector = lambda model: retinanet.Model(**{
      name: getattr(model, name) for name in (
          'num_answers', 'image_size', 'width', 'heads', 'mlp', 'num_layers',
          'head_dim', 'reduced')}, pyramid_width=8, depth=1)

  def seen(model):
    """What the model says, and cells and channels of its stages."""
    said, variables = jax.eval_shape(lambda batch: model.init_with_output(
        jax.random.key(0), batch, capture_intermediates=True), batch)
    maps = variables['intermediates']
    return said, [maps[f'norm_{i}']['__call__'][0].shape for i in range(4)]

  shapes, inside = shapes_of(small)[0], shapes_of(detector(small))[0]
  assert inside.keys() - shapes.keys() == {'fpn'}
  for name in shapes.keys() - {'head'}:
    assert inside[name] == shapes[name], name

  (said, maps), (before, parents) = seen(detector(small)), seen(detector(large))
  assert said == before
  assert [cells for _, cells, _ in maps] == [cells for _, cells, _ in parents]
  assert [width for *_, width in maps] == [4, 8, 8, 16]
  assert [2 * width for *_, width in maps] == [width for *_, width in parents]
  up = lambda side, stride: -(-side // stride)
  assert [cells for _, cells, _ in maps] == [
      up(sides[0], s) * up(sides[1], s) for s in (4, 8, 16, 32)]
  assert said['classes'].shape == (1, 9 * sum(
      up(sides[0], s) * up(sides[1], s) for s in (8, 16, 32, 64, 128)), 7)


@pytest.mark.parametrize('changes, said', [
    (dict(stages=3), 'the last 3 stages, but there are 2'),
    (dict(stages=0), 'at least 1'), (dict(top='p6'), "levels on top 'p6'"),
    (dict(anchor_sizes=(8, 16)), 'are of 2 levels, but the pyramid has 4'),
    (dict(heads=(4,)), 'heads is of 1 stages')])
def test_what_cannot_be(changes, said):
  with pytest.raises(ValueError, match=said):
    models.backbones.create(SIZES | changes)
