"""PS-ViT: points that move, and the sampling of tokens behind them."""
from bst_jax import elastic
from bst_jax.elastic import Submodel
from bst_jax.layers.progressive import Looking, SamplingLayer
from bst_jax.models.ps_vit import Model
import chex
import jax
import jax.numpy as jnp
import models
import numpy as np
import pytest

SIZES = {k: v for k, v in models.TINY['ps_vit'][0].items() if k != 'name'
         } | dict(sampling_layers=2, num_layers=2)


def tiny(**changes):
  """A model with these changes; batch and parameters that fit any."""
  model, batch, params, _ = models.build(
      'ps_vit', sampling_layers=2, num_layers=2)
  return model.clone(**changes), batch, params


def test_points_start_evenly_column_by_column():
  got = Looking.start(2, (2, 3), (8, 6))
  assert got.points.shape == (2, 6, 2) and not got.offsets.any()
  np.testing.assert_array_equal(
      got.points[1], [(2, 1), (6, 1), (2, 3), (6, 3), (2, 5), (6, 5)])


def test_with_nothing_dropped_it_is_plain():
  plain, batch, params = tiny()
  want = models.run(plain, params, batch)
  model, *_ = tiny(ats=dict(blocks=(0, 1), num_points=4000,
                            anchor='keep_lowest'))
  logits, kept = model.apply({'params': params}, batch,
                             mutable=['intermediates'])
  layers = kept['intermediates']['encoder']
  assert all((layers[f'layer_{i}']['count'][0] == 16).all() for i in (0, 1))
  # They do not stand in the order of the points any more.
  assert (np.diff(layers['layer_1']['token_ids'][0]) < 0).any()
  np.testing.assert_allclose(logits['classes'], want, atol=1e-5)


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
    assert np.any(leaf) != path.endswith(('mean', 'var')), path


def test_places_stay_exact_in_half_precision():
  model, batch, params = tiny(dtype=jnp.bfloat16)
  logits, kept = jax.eval_shape(lambda params: model.apply(
      {'params': params}, batch, mutable=['intermediates'],
      capture_intermediates=lambda module, _: isinstance(
          module, SamplingLayer)), params)
  assert logits['classes'].dtype == jnp.float32
  for layer in kept['intermediates']['sampling'].values():
    state = layer['__call__'][0]
    assert state.points.dtype == state.offsets.dtype == jnp.float32
    assert state.x.dtype == jnp.bfloat16


# Of as many channels as the width, and of the same number by chance.
@pytest.mark.parametrize('stem', [(4, None), (4, 8)], ids=str)
def test_what_is_left_of_the_stem(stem):
  model = Model(**SIZES | dict(width=12, heads=3, mlp=24, stem=stem))
  batch, sub = models.batch_of('image'), Submodel('2/3', '1/2')
  boxed = jax.eval_shape(model.init, jax.random.key(0), batch)['params']
  params = elastic.unbox(boxed)
  assert ('shortcut' in params['stem']['block_1']) == (stem[1] == 8)
  slices = elastic.Slices(elastic.names(boxed), model.stacks)
  small = jax.eval_shape(lambda p: slices.cut(p, sub), params)
  alone = jax.eval_shape(model.at(sub).init, jax.random.key(0), batch)
  chex.assert_trees_all_equal_shapes(small, elastic.unbox(alone['params']))


@pytest.mark.parametrize('strategy', ['middle', 'uniform', 'keep_last'])
def test_the_last_sampling_layer_ends_the_search(strategy):
  model = Model(10, sampling_layers=4, num_layers=8, strategy=strategy)
  for depth in ('1/4', '1/2', '3/4'):
    sub = Submodel(1, depth)
    assert sub.layers(model.stacks['sampling'])[-1] == 3
    assert model.at(sub).sampling_layers == sub.count(4)


def test_models_that_cannot_be():
  with pytest.raises(ValueError, match='keeps the sampling layers .0, 1. of 4'):
    Model(10, strategy='keep_first').at(Submodel(1, '1/2'))
  with pytest.raises(ValueError, match="depth 1/4 keeps 2.5 of the 10 layers"):
    Model(10).at(Submodel(1, '1/4'))
  with pytest.raises(ValueError, match=r'layers \[10\], but the network has 10'):
    Model(10, ats=dict(blocks=(10,)))
  with pytest.raises(ValueError, match='at least 1'):
    Model(10, sampling_layers=0)
