"""PS-ViT against what its released code computes, random weights."""
import functools

from bst_jax import elastic
from bst_jax.interop import core, ps_vit
from bst_jax.layers import bilinear
from bst_jax.layers.progressive import SamplingLayer, Stem
from bst_jax.models.ps_vit import Model
import golden_bert
from golden_bert import close
import jax
import jax.numpy as jnp
import numpy as np
import pytest


def last(x):
  """Channels last, of arrays that have them second."""
  return jnp.asarray(np.moveaxis(x, 1, -1))


def test_features_between_cells():
  arrays, _ = golden_bert.read('ps_vit')
  grid, points, offsets = (arrays[f'in/sampler/{name}']
                           for name in ('map', 'points', 'offsets'))

  def loss(offsets):
    out = bilinear.sample(last(grid), points + offsets)
    return (out * arrays['in/sampler/cotangent']).sum(), out

  grad, out = jax.grad(loss, has_aux=True)(jnp.asarray(offsets))
  assert close(out, arrays['sampler/out'], 1e-5)
  # Near the border the released kernel's gradient is not that of its values.
  inside = arrays['sampler/interior'] > 0
  assert inside.any() and not inside.all()
  assert close(np.asarray(grad)[inside], arrays['sampler/grad_offset'][inside],
               5e-5)


@functools.cache
def ran():
  """Arrays, what the model says of them, and gradients."""
  arrays, meta = golden_bert.read('ps_vit')
  model = Model(
      meta['classes'], meta['image'], meta['points'], meta['width'],
      meta['heads'], int(meta['width'] * meta['mlp_ratio']), meta['iters'],
      meta['depth'] - meta['iters'],
      (meta['stem_width'], meta['stem_mid_width']))
  image = last(arrays['in/image'])
  boxed = jax.eval_shape(model.init, jax.random.key(0), {'image': image})
  foreign = golden_bert.foreign_of(arrays)
  shapes = elastic.unbox(boxed['params'])
  params = core.read(ps_vit.TABLE, ps_vit.ADAPT(foreign, shapes), shapes,
                     ps_vit.IGNORED, ps_vit.RENAMES)

  def loss(params, image):
    logits, kept = model.apply(
        {'params': params}, {'image': image}, mutable=['intermediates'],
        capture_intermediates=lambda module, _: isinstance(
            module, (Stem, SamplingLayer)))
    logits = logits['classes']
    return (logits * arrays['in/cotangent']).sum(), (
        logits, kept['intermediates'])

  with jax.default_matmul_precision('highest'):
    grads, (logits, kept) = jax.jit(
        jax.grad(loss, argnums=(0, 1), has_aux=True))(params, image)
  layers = [kept['sampling'][f'layer_{i}']['__call__'][0] for i in range(4)]
  return arrays, foreign, params, logits, kept['stem']['__call__'][
      0], layers, grads


def test_what_layers_see_and_say():
  arrays, _, _, logits, grid, layers, _ = ran()
  assert close(grid, last(arrays['stem']), 1e-5)
  for i, layer in enumerate(layers):
    points = arrays[f'layer{i}/points']
    assert np.abs(layer.points - points).max() <= 1e-4
    seen = bilinear.sample(last(arrays['stem']), jnp.asarray(points))
    assert close(seen, arrays[f'layer{i}/sampled'], 1e-5)
    assert close(layer.x, arrays[f'layer{i}/tokens'], 1e-5)
    if i < 3:
      assert close(layer.offsets, arrays[f'layer{i}/offset_out'], 1e-5)
  assert close(logits, arrays['logits'], 1e-5)


def test_gradients():
  arrays, _, _, _, _, _, (grads, image) = ran()
  assert close(np.moveaxis(image, -1, 1), arrays['grad/image'], 5e-5)
  wanted = golden_bert.gradients_of(arrays)
  assert len(wanted) == 11
  foreign = core.write(ps_vit.TABLE, grads)
  for name, want in wanted.items():
    assert close(foreign[name], want, 1e-4 if 'offset' in name else 5e-5), name


def test_there_and_back():
  arrays, foreign, params, *_ = ran()
  written = core.write(ps_vit.TABLE, params)
  left = {name for name in foreign if name not in written}
  assert all('num_batches_tracked' in name or 'position_layer' in name
             or name == 'point_coord' for name in left)
  for name, value in written.items():
    np.testing.assert_array_equal(value, foreign[name], err_msg=name)

  # Under any of its names what is shared is found; two of a kind are an error.
  one = {name: value for name, value in foreign.items()
         if not name.startswith('pos_layer')}
  got = ps_vit.ADAPT(one, params)
  np.testing.assert_array_equal(got['pos_layer.bias'],
                                foreign['pos_layer.bias'])
  name = 'ps_layers.2.position_layer.bias'
  with pytest.raises(ValueError, match='ps_layers.2.* differs from pos_layer'):
    ps_vit.ADAPT(foreign | {name: foreign[name] + 1}, params)
