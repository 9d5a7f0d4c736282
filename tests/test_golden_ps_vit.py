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


def stem_of(image, foreign):
  """The stem's map float[B, d, h, w] of float[B, 3, H, W], in plain numpy."""
  p = {name: value.astype(np.float64) for name, value in foreign.items()}

  def conv(x, name, stride=1):
    kernel = p[f'{name}.weight']
    side = kernel.shape[2] // 2
    x = np.pad(x, ((0, 0), (0, 0), (side, side), (side, side)))
    seen = np.lib.stride_tricks.sliding_window_view(
        x, kernel.shape[2:], (2, 3))[:, :, ::stride, ::stride]
    return np.einsum('bchwij,ocij->bohw', seen, kernel)

  def norm(x, name):
    mean, var, gain, shift = (
        p[f'{name}.{leaf}'][:, None, None] for leaf in (
            'running_mean', 'running_var', 'weight', 'bias'))
    return (x - mean) / np.sqrt(var + 1e-5) * gain + shift

  relu = lambda x: np.maximum(x, 0)
  x = relu(norm(conv(image, 'stem.0', 2), 'stem.1'))
  x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))  # Nothing is below zero.
  x = np.lib.stride_tricks.sliding_window_view(
      x, (3, 3), (2, 3))[:, :, ::2, ::2].max((-1, -2))
  for block in ('stem.4', 'stem.5'):
    y = x
    for i in (1, 2, 3):
      y = norm(conv(y, f'{block}.conv{i}'), f'{block}.bn{i}')
      y = relu(y) if i < 3 else y
    x = norm(conv(x, f'{block}.downsample.0'), f'{block}.downsample.1')
    x = relu(x + y)
  return x


def test_bottlenecks_have_a_width_of_their_own():
  """The file has 8 of both; another width follows what gives its map."""
  arrays, meta = golden_bert.read('ps_vit')
  foreign = golden_bert.foreign_of(arrays)
  image = arrays['in/image'][:2]
  assert close(stem_of(image, foreign), arrays['stem'][:2], 1e-5)

  rng = np.random.default_rng(0)
  inside = 5  # Cut out of the file's, and so as varied as it is.
  narrow = dict(foreign)
  for name in foreign:
    if name.startswith(('stem.4.conv', 'stem.5.conv',
                        'stem.4.bn', 'stem.5.bn')):
      value = foreign[name]
      keep = np.sort(rng.permutation(8)[:inside])
      if value.ndim and not name.split('.')[2].endswith('3'):
        value = value[keep]
      if value.ndim == 4 and not name.split('.')[2].endswith('1'):
        value = value[:, keep]
      narrow[name] = value
  want = stem_of(image, narrow)
  assert not close(want, arrays['stem'][:2], 1e-2)
  model = Model(
      meta['classes'], meta['image'], meta['points'], meta['width'],
      meta['heads'], int(meta['width'] * meta['mlp_ratio']), meta['iters'],
      meta['depth'] - meta['iters'],
      (meta['stem_width'], meta['stem_mid_width']), bottleneck=inside)
  shapes = elastic.unbox(jax.eval_shape(
      model.init, jax.random.key(0), {'image': last(image)})['params'])
  params = core.read(ps_vit.TABLE, ps_vit.ADAPT(narrow, shapes), shapes,
                     ps_vit.IGNORED, ps_vit.RENAMES)
  with jax.default_matmul_precision('highest'):
    _, kept = model.apply(
        {'params': params}, {'image': last(image)}, mutable=['intermediates'],
        capture_intermediates=lambda module, _: isinstance(module, Stem))
  got = kept['intermediates']['stem']['__call__'][0]
  assert close(got, last(want), 1e-5)


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
