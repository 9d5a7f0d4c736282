"""Channels, skips and layers cut out of parameters, against zeroing them."""

from bst_jax import elastic
from bst_jax import models as backbones
from bst_jax.elastic import Choice, Submodel
import jax
import jax.numpy as jnp
import models
import numpy as np
import pytest

FFN, HEADS = 'mlp@encoder/layer_{}/ffn', 'heads@encoder/layer_{}/attention'


def cut(build, choice):
  model, _, params, axes = build
  return elastic.cut(params, axes, choice, model.stacks)


def logits(model, params, batch):
  return np.asarray(models.only(model.apply({'params': params}, batch)))


def test_deit_b_cut_to_t_is_deit_t():
  """Exactly its parameters and shapes, from names and indices alone."""
  vit = dict(name='vit', num_answers=1000)
  batch = {'image': jnp.zeros((1, 224, 224, 3), jnp.uint8)}

  def shapes_of(model):
    boxed = jax.eval_shape(model.init, jax.random.key(0), batch)['params']
    return elastic.unbox(boxed), elastic.names(boxed)

  large = backbones.create(vit | dict(width=768, heads=12, mlp=3072))
  tiny, _ = shapes_of(backbones.create(
      vit | dict(width=192, heads=3, mlp=768)))
  shapes, axes = shapes_of(large)
  rng = np.random.default_rng(0)
  some = lambda n, size: np.sort(rng.permutation(size)[:n]).tolist()
  choice = Choice(keep={
      'embed': some(192, 768),
      **{FFN.format(i): some(768, 3072) for i in range(12)},
      # Each new head has 64 of the channels of four old ones.
      **{HEADS.format(i): [[256 * h + c for c in some(64, 256)]
                           for h in range(3)] for i in range(12)}})
  got = jax.eval_shape(
      lambda p: elastic.cut(p, axes, choice, large.stacks), shapes)
  want = jax.tree.map(lambda s: s.shape, tiny)
  assert jax.tree.map(lambda s: s.shape, got) == want
  assert elastic.size(got) == elastic.size(tiny) == 5_717_416
  small, _ = shapes_of(large.chosen(choice))
  assert jax.tree.map(lambda s: s.shape, small) == want


def zeroed(build, choice):
  """The parameters, whole, with zeros where the choice keeps nothing.

  Such channels have no effect. The whole model divides the scores by the root
  of all channels of a head, the smaller one by that of the fewer it has: `cut`
  makes up for it.
  """
  _, _, params, axes = build
  sets, flat = elastic.groups(axes), dict(elastic.flatten(params))
  for name, index in choice.keep.items():
    rows = np.asarray(index)
    for path, dim in sets[name]:
      leaf = np.array(flat[path])
      if rows.ndim == 1:
        dead = np.setdiff1d(np.arange(leaf.shape[dim]), rows)
        np.moveaxis(leaf, dim, 0)[dead] = 0
      else:
        shape = leaf.shape
        wide = leaf.reshape(*shape[:dim], -1, *shape[dim + 2:])
        dead = np.setdiff1d(np.arange(wide.shape[dim]), rows)
        np.moveaxis(wide, dim, 0)[dead] = 0
        leaf = wide.reshape(shape)
      flat[path] = leaf
  return jax.tree_util.tree_map_with_path(
      lambda path, _: flat['/'.join(p.key for p in path)], params)


def few_of(build):
  """Half of the hidden units, and of the channels of every head."""
  _, _, params, axes = build
  flat, rng, keep = elastic.flatten(params), np.random.default_rng(0), {}
  for name, members in sorted(elastic.groups(axes).items()):
    path, dim = members[0]
    size = flat[path].shape[dim]
    if elastic.base(name) in ('mlp', 'pool', 'adapter'):
      keep[name] = rng.permutation(size)[:size // 2].tolist()
    if elastic.base(name) == 'heads':
      channels = flat[path].shape[dim + 1]
      keep[name] = [(head * channels + rng.permutation(channels)[
          :channels // 2]).tolist() for head in range(size)]
  return Choice(keep=keep)


# A width of its own is what frames of xvit hand to one another.
@pytest.mark.parametrize('name', [
    'mcan_vqa', 'uniter', 'clip_vil', 'vit_skip', 'timesformer', 'cvt', 'pvt',
    'ps_vit'])
def test_removing_channels_that_are_zero_changes_nothing(name):
  model, batch, params, axes = build = models.build(name)
  choice = few_of(build)
  assert len(choice.keep) >= 7
  blank = zeroed(build, choice)
  whole = logits(model, blank, batch)
  assert np.abs(whole - logits(model, params, batch)).max() > 1e-3
  small = model.chosen(choice)
  got = logits(small, elastic.cut(blank, axes, choice, model.stacks), batch)
  np.testing.assert_allclose(got, whole, atol=1e-5)
  # The zeros were not what was kept.
  got = logits(small, elastic.cut(params, axes, choice, model.stacks), batch)
  np.testing.assert_allclose(got, whole, atol=1e-5)


def test_units_of_a_channel_less_each_have_their_own_zeros():
  """Unequal widths by layer, and one head less in one of them."""
  model, batch, params, axes = build = models.build('vit')
  choice = Choice(keep={
      FFN.format(0): list(range(5)), FFN.format(2): [31],
      HEADS.format(1): [3, 0, 2], HEADS.format(3): [[1, 2, 3], [9, 10, 15]]})
  small = model.chosen(choice)
  assert small.mlp.to_dict() == {'': 32, 'encoder/layer_0/ffn': 5,
                                 'encoder/layer_2/ffn': 1}
  assert small.heads.to_dict() == {'': 4, 'encoder/layer_1/attention': 3,
                                   'encoder/layer_3/attention': 2}
  assert small.head_dim.to_dict() == {'': 4, 'encoder/layer_3/attention': 3}
  alone = cut(build, choice)
  assert alone['encoder']['layer_3']['attention']['query']['kernel'].shape == (
      16, 2, 3)
  # Channels of other heads are not what a new head of old ones had: leave
  # those heads out here.
  few = Choice(keep={k: v for k, v in choice.keep.items() if '3/' not in k})
  np.testing.assert_allclose(
      logits(model.chosen(few), cut(build, few), batch),
      logits(model, zeroed(build, few), batch), atol=1e-5)
  assert np.isfinite(logits(small, alone, batch)).all()


@pytest.mark.parametrize('name', [
    'mcan_vqa', 'uniter', 'vit_skip', 'timesformer', 'xvit', 'cvt', 'pvt',
    'ps_vit'])
def test_a_permutation_leaves_the_logits(name):
  model, batch, params, axes = models.build(name)
  flat, rng, keep = elastic.flatten(params), np.random.default_rng(1), {}
  for key, members in elastic.groups(axes).items():
    path, dim = members[0]
    size = flat[path].shape[dim]
    if elastic.base(key) != 'heads':
      keep[key] = rng.permutation(size).tolist()
    elif name != 'xvit':  # The first channels of its heads are shifted.
      rows = rng.permuted(np.arange(size * flat[path].shape[dim + 1]).reshape(
          size, -1), axis=1)
      keep[key] = rng.permutation(rows).tolist()
  choice = Choice(keep=keep)
  np.testing.assert_allclose(
      logits(model.chosen(choice),
             elastic.cut(params, axes, choice, model.stacks), batch),
      logits(model, params, batch), atol=1e-5)


def test_indices_may_be_traced():
  model, batch, params, axes = models.build('vit')
  size = 16

  @jax.jit
  def without(params, channel):
    index = jnp.arange(size - 1)
    index = index + (index >= channel)
    return elastic.cut(params, axes, Choice(keep={'embed': index}),
                       model.stacks)

  for channel in (0, 9):
    index = [i for i in range(size) if i != channel]
    want = elastic.cut(params, axes, Choice(keep={'embed': index}),
                       model.stacks)
    jax.tree.map(np.testing.assert_array_equal, without(params, channel), want)
  assert without._cache_size() == 1


def test_layers_of_a_network_that_adds_are_left_out_by_zeros():
  """Halves too: the attention of one layer, the feed-forward of another."""
  model, batch, params, _ = build = models.build('vit')
  choice = Choice(layers={'encoder': (3, {'attention': 1, 'ffn': 0})})
  small = model.chosen(choice)
  assert small.num_layers == 2

  # Layers run in the order that they stand in: write them where they are to be.
  blank = jax.tree.map(np.array, params)
  layer = lambda i: jax.tree.map(np.array, params['encoder'][f'layer_{i}'])
  blank['encoder'] = {'layer_0': layer(3), 'layer_1': layer(1),
                      'layer_2': layer(0), 'layer_3': layer(2)}
  for i, branch, last in ((1, 'ffn', 'fc2'), (2, 'attention', 'out'),
                          (3, 'ffn', 'fc2'), (3, 'attention', 'out')):
    for leaf in blank['encoder'][f'layer_{i}'][branch][last].values():
      leaf[:] = 0
  np.testing.assert_allclose(
      logits(small, cut(build, choice), batch),
      logits(model, blank, batch), atol=1e-5)


@pytest.mark.parametrize('name, stack, halves', [
    ('mcan_vqa', 'decoder', (
        'norm1 self_attention norm2 guided_attention', 'norm3 ffn')),
    ('uniter', 'encoder', ('norm1 attention', 'norm2 ffn')),
    ('timesformer', 'encoder', (
        'temporal_norm temporal_attention temporal_out norm1 attention',
        'norm2 ffn'))])
def test_halves_take_their_norms_along(name, stack, halves):
  model, _, params, _ = build = models.build(name)
  entries = (2, {'attention': 3, 'ffn': 0})
  got = cut(build, Choice(layers={stack: entries}))
  old = params[stack]
  attention, ffn = map(str.split, halves)
  assert {*attention, *ffn} == set(old['layer_0'])
  want = {'layer_0': old['layer_2'],
          'layer_1': {**{key: old['layer_3'][key] for key in attention},
                      **{key: old['layer_0'][key] for key in ffn}}}
  jax.tree.map(np.testing.assert_array_equal, got[stack], want)
  assert model.chosen(Choice(layers={stack: entries})).stacks[
      stack].num_layers == 2
  if name == 'mcan_vqa':  # The other stack is as it was.
    assert got['encoder'].keys() == params['encoder'].keys()


def test_a_part_of_the_parameters_is_cut_alike():
  model, _, params, axes = build = models.build('vit')
  choice = Choice(Submodel(1, '1/2'), keep={'embed': [3, 1], FFN.format(3): [7]},
                  layers={'encoder': (1, 3)})
  part = {'head': params['head'], 'encoder': {
      'layer_3': {'ffn': params['encoder']['layer_3']['ffn']},
      'layer_1': {'norm1': params['encoder']['layer_1']['norm1']}}}
  whole = elastic.flatten(cut(build, choice))
  got = elastic.flatten(elastic.cut(part, axes, choice, model.stacks))
  assert got.keys() == {'head/kernel', 'head/bias',
                        'encoder/layer_0/norm1/bias',
                        'encoder/layer_0/norm1/scale'}
  for path, leaf in got.items():
    np.testing.assert_array_equal(leaf, whole[path])


MLP, FIRST = FFN.format(0), HEADS.format(0)


@pytest.mark.parametrize('choice, message', [
    (dict(keep={MLP: [0, 3, 0]}),
     'keeps index 0 of .mlp@encoder/layer_0/ffn. twice; a channel lives once'),
    (dict(keep={FIRST: [[0, 1], [2, 1]]}), 'index 1 .* twice, in one head or in two'),
    (dict(keep={FIRST: [[0, 1], []]}), 'a head of it is empty'),
    (dict(keep={FIRST: [[0, 1], [2]]}), 'its heads differ in size'),
    (dict(keep={FIRST: []}), 'nothing is left'),
    (dict(keep={MLP: []}), 'nothing is left'),
    (dict(keep={MLP: [31, 32]}),
     'keeps index 32 of .*, which has 32; choose from 0 to 31'),
    (dict(keep={FIRST: [[0, 16]]}), 'index 16 of .* has 16'),
    (dict(keep={MLP: [-1]}), 'index -1 of'),
    (dict(keep={MLP: [0.5]}), 'indices are whole numbers'),
    (dict(keep={MLP: [[0], [1]]}), 'only those of heads@… make something'),
    (dict(keep={'mlp@encoder/layer_9/ffn': [0]}),
     "no index set of this model 'mlp@encoder/layer_9/ffn'. Did you mean"),
    (dict(keep={'embedding': [0]}), "no index set .* Did you mean 'embed'"),
    (dict(layers={'encoder': (0, 2, 0)}), "repeats layer 0 of 'encoder'"),
    (dict(layers={'encoder': (0, {'attention': 1, 'ffn': 0})}),
     r"repeats layer 0 of 'encoder' \(its ffn\)"),
    (dict(layers={'encoder': (0, 4)}), 'keeps layer 4 of .*choose from 0 to 3'),
    (dict(layers={'encoder': ()}), "keeps no layer of 'encoder'"),
    (dict(layers={'encoder': ({'attention': 1},)}), 'halves of two'),
    (dict(layers={'decoder': (0,)}), "no layer stack of this model 'decoder'"),
    (dict(skip=('encoder/layer_1',)), 'no layer of this model has an adapter'),
])
def test_impossible_choices_say_so(choice, message):
  build = models.build('vit')
  with pytest.raises(ValueError, match=message):
    cut(build, Choice(**choice))


def test_a_model_alone_finds_what_it_can():
  model, *_ = models.build('cvt')
  for choice, message in (
      (dict(layers={'stage_0': (0, 4)}), 'keeps layer 4 of .stage_0.'),
      (dict(layers={'stage_1': (1, 1)}), 'repeats layer 1'),
      (dict(layers={'encoder': (0,)}), "no layer stack of this model 'encod"),
      (dict(keep={'embed@stage_2': [0]}), "no owner of width 'stage_2'"),
      (dict(keep={'fused': [0]}), "has no size of 'fused'"),
      (dict(keep={'embedding': [0]}), "has no size of 'embedding'")):
    with pytest.raises(ValueError, match=message):
      model.chosen(Choice(**choice))


def test_sampling_layers_of_ps_vit_have_no_halves():
  with pytest.raises(ValueError, match='no ffn of their own; name whole'):
    cut(models.build('ps_vit'), Choice(
        layers={'sampling': (0, 1, {'attention': 2, 'ffn': 3})}))
  model = models.build('ps_vit')[0]
  with pytest.raises(ValueError, match='the last one ends the search'):
    model.chosen(Choice(layers={'sampling': (3, 0)}))


def test_what_is_skipped_is_the_layer_or_its_adapter():
  build = models.build('vit_skip', skip=None)
  skip = ('encoder/layer_1', 'encoder/layer_3')
  keys = lambda choice: set(cut(build, choice)['encoder'])
  every = {f'{kind}_{i}' for kind in ('layer', 'skip_layer') for i in range(4)}
  assert keys(Choice()) == every
  assert keys(Choice(skip=())) == {f'layer_{i}' for i in range(4)}
  assert keys(Choice(skip=skip)) == {
      'layer_0', 'skip_layer_1', 'layer_2', 'skip_layer_3'}
  assert keys(Choice(Submodel(1, '1/2'), skip)) == {'layer_0', 'skip_layer_1'}
  assert keys(Choice(skip=skip, layers={'encoder': (3, 0)})) == {
      'skip_layer_0', 'layer_1'}
  mixed = {'encoder': ({'attention': 0, 'ffn': 3},)}
  for choice, message in (
      (Choice(layers=mixed), r'layer 0 may be skipped: say which'),
      (Choice(skip=skip, layers=mixed), 'layer 3 is skipped: nothing of it'),
      (Choice(skip=('encoder/layer_4',)), "no layer that can be skipped"),
      (Choice(skip=skip[:1] * 2), 'skips a layer twice')):
    with pytest.raises(ValueError, match=message):
      keys(choice)
