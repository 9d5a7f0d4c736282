"""PVTv2: sizes as published, index sets, the linear variant's windows, errors."""
from bst_jax import elastic
from bst_jax.elastic import Choice
from bst_jax.layers import pvt
from bst_jax.models.pvt import Model
from bst_jax.report import costs
import jax
import jax.numpy as jnp
import models
import numpy as np
import pytest

WIDTH, MLP = (64, 128, 320, 512), (512, 1024, 1280, 2048)
B1 = dict(width=WIDTH, mlp=MLP)
# Arguments, parameters, tensors of the official file, 10^9 multiply-accumulates.
PUBLISHED = {
    'b0': ({}, 3_666_760, 178, 0.57), 'b1': (B1, 14_009_000, 178, 2.11),
    'b2': (B1 | dict(num_layers=(3, 4, 6, 3)), 25_362_856, 334, 4.03),
    'b2-linear': (B1 | dict(num_layers=(3, 4, 6, 3), linear=True), 22_553_512,
                  346, 3.89),
    'b3': (B1 | dict(num_layers=(3, 4, 18, 3)), 45_238_696, 574, 6.90),
    'b4': (B1 | dict(num_layers=(3, 8, 27, 3)), 62_556_072, 834, 10.10),
    'b5': (B1 | dict(num_layers=(3, 6, 40, 3), mlp=(256, 512, 1280, 2048)),
           81_956_008, 1054, 11.72)}


def shapes_of(model, side=None):
  side = side or model.sides
  boxed = jax.eval_shape(model.init, jax.random.key(0), {
      'image': np.zeros((1, *side, 3), np.uint8)})['params']
  return elastic.unbox(boxed), elastic.names(boxed)


@pytest.mark.parametrize('name', PUBLISHED)
def test_parameters_are_those_published(name):
  sizes, parameters, tensors, _ = PUBLISHED[name]
  shapes, _ = shapes_of(Model(1000, **sizes))
  assert elastic.size(shapes) == parameters
  # Keys and values are one matrix there.
  flat = elastic.flatten(shapes)
  assert len(flat) - sum('/key/' in path for path in flat) == tensors


def test_index_sets_and_the_cut_to_a_smaller_one():
  """26 sets, and B1 cut to B0 has B0's shapes and is B0 as a model."""
  small, large = Model(1000), Model(1000, **B1)
  shapes, axes = shapes_of(large)
  sets = elastic.groups(axes)
  assert len(sets) == len(elastic.groups(shapes_of(small)[1])) == 26
  kinds = [elastic.base(name) for name in sets]
  assert {kind: kinds.count(kind) for kind in kinds} == {
      'embed': 4, 'heads': 8, 'mlp': 8, 'reduced': 6}
  flat = elastic.flatten(shapes)
  rng, keep = np.random.default_rng(0), {}
  for name, ((path, dimension), *_) in sets.items():
    size = flat[path].shape[dimension]
    half = lambda n: tuple(sorted(rng.permutation(n)[:n // 2].tolist()))
    keep[name] = half(size)
    if elastic.base(name) == 'heads':
      channels = flat[path].shape[dimension + 1]
      keep[name] = tuple(tuple(head * channels + i for i in half(channels))
                         for head in range(size))
  choice = Choice(keep=keep)
  cut = jax.eval_shape(lambda p: elastic.cut(p, axes, choice, large.stacks),
                       shapes)
  assert jax.tree.map(jnp.shape, cut) == jax.tree.map(
      jnp.shape, shapes_of(small)[0])
  chosen = large.chosen(choice)
  assert chosen.usual(cut, axes).clone(head_dim=None) == small


@pytest.mark.parametrize('sides', [(7, 7), (10, 13), (3, 5), (14, 1)])
def test_windows_cover_any_grid(sides):
  x = np.random.default_rng(0).standard_normal((2, *sides, 3))
  want = np.zeros((2, 7, 7, 3))
  bounds = lambda i, n: slice(i * n // 7, -(-(i + 1) * n // 7))
  for i in range(7):
    for j in range(7):
      want[:, i, j] = x[:, bounds(i, sides[0]), bounds(j, sides[1])].mean((1, 2))
  np.testing.assert_allclose(pvt.pooled(jnp.asarray(x, jnp.float32)), want,
                             rtol=0, atol=1e-6)


def test_pictures_of_any_size_and_one_alone():
  """The same parameters; a batch of one is a part of a batch of two."""
  square, _, params, _ = models.build('pvt')
  model = square.clone(image_size=(20, 28))
  image = np.random.default_rng(0).integers(0, 256, (2, 20, 28, 3), np.uint8)
  both = models.run(model, params, {'image': image})
  one = models.run(model, params, {'image': image[:1]})
  np.testing.assert_allclose(one, both[:1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('changes, said', [
    (dict(heads=(4,)), 'heads is of 1 stages and width of 2'),
    (dict(reductions=(0, 1)), 'whole number of at least 1'),
    (dict(reduction_eps=0.0), 'number above 0'),
    (dict(activation='mish'), 'gelu_tanh'),
])
def test_what_cannot_be_is_refused(changes, said):
  sizes = models.TINY['pvt'][0] | changes
  with pytest.raises(ValueError, match=said):
    models.backbones.create(sizes)


def test_pictures_without_a_coarser_cell():
  model = models.backbones.create(models.TINY['pvt'][0] | dict(image_size=4))
  with pytest.raises(ValueError, match='reductions 2 leaves none'):
    shapes_of(model)


@pytest.mark.parametrize('name', ['b0', 'b2-linear'])
def test_costs_are_those_published(name):
  sizes, *_, published = PUBLISHED[name]
  model = Model(1000, **sizes)
  found = costs.of(model, shapes_of(model)[0], {
      'image': jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.uint8)})
  # The means of windows, which are no products there.
  means = sum(layers * costs.count(pvt.pooled, jnp.zeros((1, *grid, width))).macs
              for layers, grid, width in zip(
                  model.num_layers, model.grids, model.width))
  assert round((found.macs - model.linear * means) / 1e9, 2) == published
