"""Vision transformers and the sampling of their tokens."""
from bst_jax import elastic, methods, tasks
from bst_jax.elastic import Space, Submodel
from bst_jax.layers.sampler import Ats
from bst_jax.models.vit import Model
import jax
import jax.numpy as jnp
import models
import numpy as np
import optax
import pytest

SIZES = {k: v for k, v in models.TINY['vit'][0].items() if k != 'name'
         } | dict(num_layers=2)


def tiny(**ats):
  """A model that samples so; batch and parameters that fit any."""
  model, batch, params, _ = models.build('vit', num_layers=2)
  return model.clone(ats=ats), batch, params


def outputs(model, params, batch, **ats):
  """Logits, and what the sampling layers say, by layer."""
  model = model.clone(ats=ats) if ats else model
  logits, kept = jax.jit(lambda params, batch: model.apply(
      {'params': params}, batch, mutable=['intermediates']))(params, batch)
  said = kept.get('intermediates', {}).get('encoder', {})
  return np.asarray(logits['classes']), {
      name: {k: np.asarray(v[0]) for k, v in layer.items()}
      for name, layer in said.items()}


def test_an_image_does_not_see_what_shares_its_batch():
  model, batch, params = tiny(blocks=(0, 1), capacity=(14, None))
  together, said = outputs(model, params, batch)
  counts = np.stack([layer['count'] for layer in said.values()])
  assert np.ptp(counts[-1]) > 0  # They differ in how many tokens live.
  for row in range(4):
    alone, _ = outputs(model, params, {'image': batch['image'][row:row + 1]})
    np.testing.assert_allclose(alone[0], together[row], atol=1e-6)


def test_ways_to_sample_that_are_the_same():
  """The order of operations, its form, and room for all that live."""
  model, batch, params = tiny(blocks=(0, 1))
  logits, said = outputs(model, params, batch)
  most = tuple(int(said[f'layer_{i}']['count'].max()) for i in (0, 1))
  assert most[1] <= most[0] < 16
  for other in (dict(attention='reference'), dict(form='pairwise'),
                dict(capacity=most), dict(grad='ste'), dict(policy_eps=1e-6),
                dict(grad='ste', fill=True, capacity=(16, 16))):
    same, others = outputs(model, params, batch, blocks=(0, 1), **other)
    np.testing.assert_allclose(same, logits, atol=1e-5, err_msg=str(other))
    for name, layer in said.items():
      np.testing.assert_array_equal(others[name]['count'], layer['count'])
      wide = layer['token_ids'][:, :others[name]['token_ids'].shape[1]]
      np.testing.assert_array_equal(others[name]['token_ids'], wide)


def test_ways_to_sample_that_differ():
  model, batch, params = tiny(blocks=(0, 1))
  ids = lambda **ats: outputs(
      model, params, batch, blocks=(0, 1), **ats)[1]['layer_0']['token_ids']
  base = ids()
  for other in (dict(score='per_head'), dict(score='attn_only'),
                dict(score='attn_colsum', attention='reference'),
                dict(order='raster'), dict(method='topk', num_points=9),
                dict(num_points=8), dict(anchor='keep_lowest')):
    assert (ids(**other) != base).any(), other


def test_without_blocks_it_is_the_plain_network():
  model, batch, params = tiny()
  assert model == models.build('vit', num_layers=2)[0] == Model(**SIZES)
  _, _, ours, _ = models.build('vit', num_layers=2)
  shapes = jax.eval_shape(
      tiny(blocks=(1,))[0].init, jax.random.key(0), batch)['params']
  assert jax.tree.map(jnp.shape, elastic.unbox(shapes)) == jax.tree.map(
      jnp.shape, ours)


def test_all_but_the_lowest_token_live_on_a_fine_grid():
  model, batch, params = tiny(blocks=(0,), num_points=4000)
  _, said = outputs(model, params, batch)
  assert (said['layer_0']['count'] == 15).all()
  keep, said = outputs(model, params, batch, blocks=(0,), num_points=4000,
                       anchor='keep_lowest')
  assert (said['layer_0']['count'] == 16).all()
  np.testing.assert_allclose(
      keep, models.run(models.build('vit', num_layers=2)[0], params, batch), atol=1e-5)


@pytest.mark.parametrize('grad, reaches', [
    ('hard', False), ('ste', True), ('ste_smooth', True)])
def test_only_straight_through_gradients_reach_the_class_token(grad, reaches):
  """Through patches alone: the query of the class token scores and no more."""
  _, batch, params = tiny()

  def loss(query, grad):
    model = Model(**SIZES, ats=dict(blocks=(1,), grad=grad))
    layer = params['encoder']['layer_1']
    layer = layer | {'attention': layer['attention'] | {'query': query}}
    new = params | {'encoder': params['encoder'] | {'layer_1': layer}}
    _, kept = model.apply(
        {'params': new}, batch, mutable=['intermediates'],
        capture_intermediates=lambda m, _: m.name == 'layer_1')
    out = kept['intermediates']['encoder']['layer_1']['__call__'][0].x
    return jnp.square(out[:, 1:].astype(jnp.float32)).sum(), out

  query = params['encoder']['layer_1']['attention']['query']
  slope = jax.jit(jax.grad(loss, has_aux=True), static_argnums=1)
  grads, out = slope(query, grad)
  same, plain = slope(query, 'hard')
  np.testing.assert_allclose(out, plain, atol=1e-6)
  differ = any(np.abs(a - b).max() > 1e-4 for a, b in zip(
      jax.tree.leaves(grads), jax.tree.leaves(same)))
  assert differ == reaches


def test_training_drops_tokens_and_branches():
  model, batch, params = tiny(blocks=(0, 1), capacity=(12, 8))
  model = model.clone(depth_dropout=0.5, remat=True)
  grads = jax.jit(jax.grad(lambda params, key: jnp.square(model.apply(
      {'params': params}, batch, train=True, rngs={'dropout': key})['classes']).sum()))
  one, two = (grads(params, jax.random.key(seed)) for seed in (1, 2))
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(one))
  assert np.abs(one['head']['kernel'] - two['head']['kernel']).max() > 1e-3
  # Every layer learns: tokens that go leave through keys and values.
  for leaf in jax.tree.leaves(one['encoder']['layer_0']['ffn']):
    assert np.abs(leaf).max() > 0


@pytest.mark.parametrize('method', ['plain', 'bst'])
def test_training_with_dropped_tokens_lowers_the_loss(method):
  """The sandwich too: every submodel samples tokens of its own."""
  model, batch, params = tiny(blocks=(0, 1), capacity=(12, 8))
  _, _, _, axes = models.build('vit', num_layers=2)
  options = {'bst': dict(teacher='inplace', sampled=0)}.get(method, {})
  made = methods.create(
      dict(name=method) | options, model=model, axes=axes, micro_batches=1,
      task=tasks.create(dict(name='classify')), tx=optax.adam(3e-3),
      space=Space(('1/2', '1'), ('1/2', '1')))
  batch = batch | {'label': jnp.arange(4), 'mask': jnp.ones(4, bool)}
  state, step = made.init(jax.random.key(0), params), jax.jit(made.step)
  losses = []
  for _ in range(8):
    state, metrics = step(state, {'train': batch})
    losses.append(float(metrics['loss/full']))
  assert losses[-1] < 0.7 * losses[0]


def test_submodels_sample_in_the_layers_that_they_keep():
  ats = Ats((3, 4, 7, 11), num_points=(9, 8, 7, 6), capacity=(90, 80, 70, 60))
  kept = (0, 1, 4, 11)
  small = ats.at(kept)
  assert small == Ats((2, 3), num_points=(8, 6), capacity=(80, 60))
  # Whichever samples first drops its lowest token.
  anchors = [dict(stage.options)['anchor']
             for stage in ats.stages(kept, 196, 1).values()]
  assert anchors == ['drop_lowest', 'keep_lowest']
  model = Model(10, image_size=64, num_layers=12, ats=dict(
      blocks=(0, 11), capacity=(12, 3)))
  assert model.at(Submodel(1, '1/2')).ats == Ats((0, 5), capacity=(12, 3))


@pytest.mark.parametrize('ats, why', [
    (dict(blocks=(1, 2)), r'layers \[2\], but the network has 2; choose from 0'),
    (dict(blocks=(0, 1), capacity=(9, 17)), 'layer 1 does not fit: 9 tokens'),
    (dict(blocks=(1,), capacity=0), 'choose 1 to 16'),
    (dict(blocks=(0, 1), capacity=(9,)), '1 numbers for 2 blocks'),
    (dict(blocks=(1, 0)), 'not ascending'),
    (dict(block=(1,)), "Did you mean 'blocks'"),
    (dict(blocks=(1,), score='attn_colsum'), "set ats.attention to 'ref"),
    (dict(blocks=(1,), grad='soft'), 'gradient of token sampling'),
])
def test_samplings_that_cannot_be(ats, why):
  with pytest.raises(ValueError, match=why):
    Model(**SIZES, ats=ats)


def test_pictures_that_cannot_be():
  with pytest.raises(ValueError, match='30 x 224 .* patches of 16; .* 32 x 224'):
    Model(7, image_size=(30, 224))
  model, batch, params = tiny()
  with pytest.raises(ValueError, match=r'reads \[B, 16, 16, 3\]'):
    models.run(model, params, {'image': batch['image'][:, :8]})
  with pytest.raises(ValueError, match="key of the batch 'image'"):
    models.run(model, params, {'images': batch['image']})
  wide = Model(**SIZES | dict(image_size=(8, 16)))
  params = params | {'positions': params['positions'][:9]}
  assert models.run(wide, params, {'image': batch['image'][:, :8]}).shape == (
      4, 7)


# --- gains of channels, registers, other activations -------------------------

OTHER = dict(layer_scale=0.1, registers=2, head_reads='class_mean',
             qkv_bias=False, activation='relu', num_layers=2)


@pytest.mark.parametrize('ats', [None, dict(
    blocks=(0, 1), capacity=(12, None))], ids=['dense', 'sampled'])
def test_submodels_of_other_vits_are_ordinary_models(ats):
  model, batch, params, axes = models.build('vit', **OTHER)
  model = model.clone(ats=ats)
  layer = params['encoder']['layer_0']
  assert layer['layer_scale1'].shape == layer['layer_scale2'].shape == (16,)
  assert params['register_tokens'].shape == (2, 16)
  assert params['positions'].shape == (17, 16)  # Registers have no place.
  assert params['head']['kernel'].shape == (2, 16, 7)
  assert 'bias' not in layer['attention']['query']
  for sub in (Submodel('1/2', '1/2'), Submodel('1/4', '1')):
    cut = elastic.Slices(axes, model.stacks).cut(params, sub)
    want = models.run(model.at(sub), cut, batch)
    np.testing.assert_allclose(models.run(model, params, batch, sub), want,
                               atol=1e-5)
    assert jax.tree.map(np.shape, cut) == jax.tree.map(np.shape, models.prepare(
        model.at(sub), batch)[0])


def test_each_of_them_is_read():
  model, batch, params, _ = models.build('vit', **OTHER)
  logits = models.run(model, params, batch)
  for path in ('register_tokens', 'encoder/layer_0/layer_scale1',
               'encoder/layer_1/layer_scale2'):
    flat = elastic.flatten(params)
    other = jax.tree.unflatten(jax.tree.structure(params), [
        2 * leaf if name == path else leaf for name, leaf in flat.items()])
    assert np.abs(models.run(model, other, batch) - logits).max() > 1e-4, path
  gelu = models.run(model.clone(activation='gelu_tanh'), params, batch)
  assert np.abs(gelu - logits).max() > 1e-4


def test_the_mean_of_patches_is_of_those_that_live():
  """Room for more than live changes nothing."""
  model, batch, params, _ = models.build('vit', **OTHER)
  narrow, said = outputs(model.clone(ats=dict(blocks=(0, 1))), params, batch)
  most = tuple(int(said[f'layer_{i}']['count'].max()) for i in (0, 1))
  assert most[1] < 16
  other, _ = outputs(model.clone(ats=dict(blocks=(0, 1), capacity=most)),
                     params, batch)
  np.testing.assert_allclose(other, narrow, atol=1e-5)


def test_heads_and_activations_that_cannot_be():
  for changes, why in ((dict(activation='mish'), 'activation .mish.'),
                       (dict(head_reads='mean'), "are: class, class_mean"),
                       (dict(head_reads='class_mean', distilled=True),
                        'a distilled model reads its two tokens alone')):
    with pytest.raises(ValueError, match=why):
      Model(**SIZES | changes)
