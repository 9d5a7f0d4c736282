"""CvT, and the sampling of its tokens over a grid that stands still."""
from bst_jax import elastic
from bst_jax.elastic import Submodel
from bst_jax.layers import cvt
from bst_jax.models.cvt import Model
import jax
import jax.numpy as jnp
import models
import numpy as np
import pytest

SIZES = {k: v for k, v in models.TINY['cvt'][0].items() if k != 'name'
         } | dict(num_layers=(1, 3))


def tiny(**changes):
  """A model with these changes; batch and parameters that fit any."""
  model, batch, params, _ = models.build('cvt', num_layers=(1, 3))
  return model.clone(**changes), batch, params


def outputs(**changes):
  """Logits, and the tokens and words of every layer of the last stage."""
  model, batch, params = tiny(**changes)
  logits, kept = model.apply(
      {'params': params}, batch, mutable=['intermediates'],
      capture_intermediates=lambda module, _: isinstance(module, cvt.Layer))
  layers = kept['intermediates']['stage_1']
  return np.asarray(logits['classes']), [
      {k: v[0] for k, v in layers[f'layer_{i}'].items()} for i in range(3)]


def test_with_nothing_dropped_it_is_plain_cvt():
  plain, _ = outputs()
  everything = dict(blocks=(0, 1), num_points=4000, anchor='keep_lowest')
  for changes in ({}, dict(dropped='zero'), dict(score_stride1=True)):
    logits, said = outputs(ats=everything, **changes)
    assert (said[1]['count'] == 16).all()
    # They do not stand in the order of the grid any more.
    assert (np.diff(said[1]['token_ids']) < 0).any()
    np.testing.assert_allclose(logits, plain, atol=1e-5, err_msg=str(changes))


@pytest.mark.parametrize('dropped', cvt.DROPPED)
def test_the_grid_that_layers_read(dropped):
  """Cells of living tokens are theirs, the others as they were, or zero."""
  _, said = outputs(ats=dict(blocks=(0, 1), capacity=(None, 9)),
                    dropped=dropped)
  tokens = [layer['__call__'] for layer in said]
  stood = 0
  for before, after in zip(tokens[:-1], tokens[1:]):
    for image in range(4):
      want = np.array(before.grid[image])
      if dropped == 'zero':
        want[:] = 0
      for cell, x, valid in zip(before.ids[image], before.x[image, 1:],
                                before.valid[image, 1:]):
        assert bool(valid) == (cell >= 0)
        if valid:
          want[cell] = x
        stood += not valid
      np.testing.assert_array_equal(after.grid[image], want)
  assert stood  # Some slots are padding.


def test_ways_to_sample_that_are_the_same():
  base = dict(blocks=(0, 1))
  logits, said = outputs(ats=base)
  most = tuple(int(said[i]['count'].max()) for i in (0, 1))
  assert most[1] <= most[0] < 16
  for other in (dict(attention='reference'), dict(capacity=most),
                dict(grad='ste')):
    same, others = outputs(ats=base | other)
    np.testing.assert_allclose(same, logits, atol=1e-5, err_msg=str(other))
    for i in (0, 1):
      np.testing.assert_array_equal(others[i]['count'], said[i]['count'])
      wide = said[i]['token_ids'][:, :others[i]['token_ids'].shape[1]]
      np.testing.assert_array_equal(others[i]['token_ids'], wide)


def test_ways_to_sample_that_differ():
  base = dict(blocks=(0, 1), num_points=9)
  logits, said = outputs(ats=base)
  for changes in (dict(score_stride1=True), dict(ats=base | dict(
      score='attn_colsum', attention='reference'))):
    _, others = outputs(**dict(ats=base) | changes)
    assert (others[0]['token_ids'] != said[0]['token_ids']).any(), changes
  zero, others = outputs(ats=base, dropped='zero')
  np.testing.assert_array_equal(others[0]['token_ids'], said[0]['token_ids'])
  assert np.abs(zero - logits).max() > 1e-3


@pytest.mark.parametrize('grid', [(4, 4), (5, 3), (1, 2)])
def test_scores_between_strided_cells(grid):
  rows, columns = (-(-side // 2) for side in grid)
  x = np.random.default_rng(0).random((2, rows, columns)).astype(np.float32)
  want = np.empty((2, *grid), np.float32)
  for i, j in np.ndindex(*grid):
    places = [(a, b) for a in {i // 2, -(-i // 2)} for b in {j // 2, -(-j // 2)}
              ]
    clamped = [(min(a, rows - 1), min(b, columns - 1)) for a, b in places]
    want[:, i, j] = np.mean([x[:, a, b] for a, b in clamped], 0)
  np.testing.assert_allclose(cvt.upsampled(jnp.asarray(x), grid), want,
                             atol=1e-6)


def test_an_image_does_not_see_what_shares_its_batch():
  model, batch, params = tiny(ats=dict(blocks=(0, 1)))
  together = models.run(model, params, batch)
  other = {'image': batch['image'].at[jnp.array([0, 1, 3])].set(99)}
  apart = models.run(model, params, other)
  np.testing.assert_allclose(apart[2], together[2], atol=1e-6)
  assert np.abs(apart[0] - together[0]).max() > 1e-3


def test_the_grid_is_as_precise_as_tokens():
  model, batch, params = tiny(ats=dict(blocks=(0, 1)), dtype=jnp.bfloat16)
  logits, kept = jax.eval_shape(lambda params: model.apply(
      {'params': params}, batch, mutable=['intermediates'],
      capture_intermediates=lambda module, _: isinstance(module, cvt.Layer)),
                                params)
  assert logits['classes'].dtype == jnp.float32
  for layer in kept['intermediates']['stage_1'].values():
    tokens = layer['__call__'][0]
    assert tokens.x.dtype == tokens.grid.dtype == jnp.bfloat16
    assert tokens.grid.shape == (4, 16, 16)


def test_every_part_learns_while_tokens_go():
  model, batch, params = tiny(
      ats=dict(blocks=(0, 1), capacity=(12, 8), grad='ste'), remat=True,
      depth_dropout=0.2)

  @jax.jit
  def slopes(params, key):
    return jax.grad(lambda params: jnp.square(model.apply(
        {'params': params}, batch, train=True, rngs={'dropout': key})['classes']).sum())(
            params)

  one, two = (slopes(params, jax.random.key(seed)) for seed in (1, 2))
  assert np.abs(one['head']['kernel'] - two['head']['kernel']).max() > 1e-3
  for path, leaf in elastic.flatten(one).items():
    assert np.isfinite(leaf).all(), path
    if path.endswith(('mean', 'var')):
      assert not np.any(leaf), path
    # A key's bias moves all scores alike, and the class's query passes by the
    # convolution: in the last layer nothing else asks.
    elif 'key/bias' not in path and 'layer_2/attention/query_' not in path:
      assert np.any(leaf), path


def test_submodels_that_cannot_be():
  model = Model(10)
  with pytest.raises(ValueError, match=(
      'stages of 1, 2, 10 share a divisor of 1, and depth 1/2 keeps 0.5 .*'
      'Ratios that fit: 1')):
    model.at(Submodel(1, '1/2'))
  with pytest.raises(ValueError, match="1, 3, 6 .* 'heads' .* fit: 1"):
    model.at(Submodel('1/2', 1))
  deep = Model(10, num_layers=(4, 6, 8))
  with pytest.raises(ValueError, match='divisor of 2, .* fit: 1/2, 1'):
    deep.at(Submodel(1, '1/4'))
  assert deep.at(Submodel(1, '1/2')).num_layers == (2, 3, 4)


def test_submodels_sample_in_the_layers_that_they_keep():
  model = Model(10, num_layers=(4, 4, 4), ats=dict(
      blocks=(0, 2, 3), capacity=(90, 80, 70)))
  small = model.at(Submodel(1, '1/2'))
  assert (small.ats.blocks, small.ats.capacity) == ((0, 1), (90, 70))


@pytest.mark.parametrize('changes, why', [
    (dict(ats=dict(blocks=(3,))), r'layers \[3\], but the network has 3'),
    (dict(ats=dict(blocks=(0,), capacity=17)), 'layer 0 does not fit: 16'),
    (dict(ats=dict(blocks=(0,), policy_eps=1e-6)), 'CvT hides none'),
    (dict(ats=dict(blocks=(0,), grad='ste', fill=True)), 'CvT hides none'),
    (dict(score_stride1=True, ats=dict(blocks=(0,), attention='reference')),
     "set it to 'select_first'"),
    (dict(dropped='stal'), "Did you mean 'stale'"),
    (dict(activation='relu'), 'There are: gelu, quick_gelu'),
    (dict(heads=(4, 4, 4)), 'heads is of 3 stages and width of 2'),
    (dict(image_size=4, kernels=(7, 3)), 'pictures of 4 x 4 pixels leave no'),
])
def test_models_that_cannot_be(changes, why):
  with pytest.raises(ValueError, match=why):
    Model(**SIZES | changes)


def test_keys_at_every_cell_and_further_apart():
  """Sampling scores cells by their own keys; what looks has shares of all."""
  model, batch, params = tiny(key_strides=(2, 1), ats=dict(
      blocks=(0, 1), num_points=9))
  assert tiny()[0].key_strides == (2, 2)
  logits = models.run(model, params, batch)
  # Every key is a cell of its own, whichever way it is scored.
  both, *_ = tiny(key_strides=(2, 1), score_stride1=True, ats=dict(
      blocks=(0, 1), num_points=9))
  np.testing.assert_allclose(models.run(both, params, batch), logits, atol=1e-5)
  with pytest.raises(ValueError, match='is 3, but tokens are sampled there'):
    tiny(key_strides=(2, 3), ats=dict(blocks=(0,)))
  with pytest.raises(ValueError, match='key_strides is of 1 stages'):
    tiny(key_strides=(2,))
