"""Index sets: what stands together in parameters, from their names alone."""
import collections

from bst_jax import elastic
from bst_jax import models as backbones
from bst_jax.elastic import Axis, Sizes
from bst_jax.layers.blocks import FeedForward
import jax
import jax.numpy as jnp
import models
import pytest


def sets_of(config, *shape):
  model = backbones.create(config)
  boxed = jax.eval_shape(model.init, jax.random.key(0),
                         {'image': jnp.zeros(shape, jnp.uint8)})['params']
  return elastic.groups(elastic.names(boxed)), elastic.names(boxed)


def test_deit_has_25_index_sets():
  found, _ = sets_of(dict(name='vit', num_answers=1000, width=192, heads=3,
                          mlp=768), 1, 224, 224, 3)
  assert len(found) == 25
  assert collections.Counter(map(elastic.base, found)) == {
      'embed': 1, 'heads': 12, 'mlp': 12}
  assert sorted(found['mlp@encoder/layer_3/ffn']) == [
      ('encoder/layer_3/ffn/fc1/bias', 0),
      ('encoder/layer_3/ffn/fc1/kernel', 1),
      ('encoder/layer_3/ffn/fc2/kernel', 0)]
  inside = 'encoder/layer_0/attention'
  assert sorted(found[f'heads@{inside}']) == [
      (f'{inside}/key/bias', 0), (f'{inside}/key/kernel', 1),
      (f'{inside}/out/kernel', 0), (f'{inside}/query/bias', 0),
      (f'{inside}/query/kernel', 1), (f'{inside}/value/bias', 0),
      (f'{inside}/value/kernel', 1)]
  # The neck reaches from the patches to the head.
  neck = dict(found['embed'])
  assert neck['patches/proj/kernel'] == 3 and neck['head/kernel'] == 0
  assert len(neck) == len(found['embed']) == 4 + 12 * 12 + 2 + 1


def test_a_kernel_between_stages_has_two_sets_of_one_name():
  model, _, _, axes = models.build('cvt')
  flat = elastic.flatten(axes)
  assert flat['embed_1/proj/kernel'] == (
      'window', 'window', 'embed@stage_0', 'embed@stage_1')
  found = elastic.groups(axes)
  stages = [set(found[f'embed@stage_{i}']) for i in range(2)]
  assert not stages[0] & stages[1]
  assert {('embed_1/proj/kernel', 2)} == {
      place for place in stages[0] if place[0].startswith('embed_1')}
  assert ('head/kernel', 0) in stages[1]
  assert len(found) == 2 + sum(model.num_layers) * 2


@pytest.mark.parametrize('name', [*models.TINY, *models.DETECTORS])
def test_every_elastic_dimension_is_in_one_set(name):
  """And all dimensions of a set have one size, or they could not be cut."""
  _, _, params, axes = models.build(name)
  flat = elastic.flatten(params)
  sets, seen = elastic.groups(axes), collections.Counter()
  for members in sets.values():
    seen.update(members)
    assert len({flat[path].shape[dim] for path, dim in members}) == 1
  assert set(seen.values()) == {1}
  for path, names in elastic.flatten(axes).items():
    for dim, axis in enumerate(names):
      cuttable = elastic.base(axis) in elastic.ELASTIC | {'adapter'}
      assert cuttable == ((path, dim) in seen)


def test_what_asks_is_named_apart():
  _, _, _, axes = models.build('vit')
  inside = axes['encoder']['layer_1']['attention']
  owner = 'encoder/layer_1/attention'
  assert inside['query']['kernel'] == (
      'embed', f'heads@{owner}', f'query_dim@{owner}')
  assert inside['key']['kernel'] == (
      'embed', f'heads@{owner}', f'head_dim@{owner}')


def test_owners_resolve_sizes():
  sizes = Sizes.of({'': 6, 'b': 4})
  embed, hidden = Axis('embed', 2), Axis('mlp', sizes)
  shape = lambda name: jax.eval_shape(
      FeedForward(embed, hidden, embed, name=name).init, jax.random.key(0),
      jnp.zeros((1, 2)))['params']['fc1']['kernel'].value.shape
  assert hidden.full == 'mlp' and Axis('mlp', 1, 'b').full == 'mlp@b'
  assert shape(None) == (2, 6)
  assert (sizes.at('a'), sizes.at('b')) == (6, 4)


def test_sizes_read_back_and_forget_what_is_usual():
  given = {'': 6, 'b': 4, 'a': 5, 'c': 6}
  sizes = Sizes.of(given)
  assert sizes == Sizes(6, (('a', 5), ('b', 4))) == Sizes.of(sizes)
  assert Sizes.of(sizes.to_dict()) == sizes and hash(sizes)
  assert Sizes.of({'': 6, 'c': 6}) == 6 and Sizes.of(6) == 6
  assert Sizes.of(None) is None
  with pytest.raises(ValueError, match="do not say the usual one; write {'':"):
    Sizes.of({'a': 4})
