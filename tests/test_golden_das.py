"""ViLT's and METER's layers with adapters against those of the released DAS."""
import functools
import zlib

from bst_jax import elastic
from bst_jax.elastic import Axis
from bst_jax.interop import core, meter, vilt
from bst_jax.layers import co_attention, linear
from bst_jax.layers.activations import gelu
from bst_jax.layers.adapters import SkipAdapter
from bst_jax.layers.extra import Extra
from bst_jax.layers.heads import said_of
from bst_jax.layers.vit import Layer, SkipTokens, Tokens
from bst_jax.models.meter import IMAGE, Model, TEXT
from bst_jax.tasks import losses
from flax import linen as nn
import golden_bert
from golden_bert import close
import jax
import jax.numpy as jnp
import numpy as np
import pytest


class Fusion(Model):
  """METER without its encoders: both streams, their poolers, the head."""

  @nn.compact
  def __call__(self, batch, *, flags=None):
    flags = co_attention.split_flags(flags, {
        TEXT: self.num_layers, IMAGE: self.num_layers})
    x, y, pooled = self._fused(
        batch['text'], batch['image'], batch['text_mask'], batch['image_mask'],
        flags, elastic.FULL, None)
    embed = Axis('embed', self.width)
    return x, y, pooled, said_of(
        'answers', pooled, (Axis('stream', 2), embed), self.fused,
        self.num_answers, self.dtype)


def fusion(meta, layers):
  """The model of a file."""
  return Fusion(
      vocab_size=4, num_answers=meta.get('answers', 3), width=meta['width'],
      heads=meta['heads'], mlp=meta['mlp'], num_layers=layers,
      fused=2 * meta['width'], adapter=meta['skip_adapter'], skip=None,
      extra=Extra('parallel', meta['adapter']), dropout=0.0)


def batch_of(arrays):
  return {'text': jnp.asarray(arrays['in/text']),
          'image': jnp.asarray(arrays['in/image']),
          'text_mask': jnp.asarray(arrays['in/text_mask']) > 0,
          'image_mask': jnp.asarray(arrays['in/image_mask']) > 0}


def made(arrays, base=0):
  """The tensors of a file that tells their shapes, and how they are drawn."""
  found = {}
  for name in arrays:
    if not name.startswith('shape/'):
      continue
    key = name.removeprefix('shape/')
    draws = np.random.Generator(np.random.PCG64(
        (zlib.crc32(key.encode()) + base) % 2 ** 32))
    z = draws.standard_normal(tuple(arrays[name]))
    w = 0.03 * z if z.ndim > 1 else (
        1 + 0.1 * z if key.endswith('.weight') else 0.05 * z)
    found[key] = w.astype(np.float32)
    probe = arrays[f'probe/{key}']
    flat = found[key].reshape(-1)
    np.testing.assert_allclose(flat[:4], probe[:4], rtol=1e-6)
    np.testing.assert_allclose(np.abs(flat.astype(np.float64)).sum(), probe[5],
                               rtol=1e-5)
  return found


def read(table, foreign, model, *args, keep=lambda path: True):
  """Our parameters of foreign tensors; of others zeros."""
  boxed = jax.eval_shape(model.init, jax.random.key(0), *args)['params']
  shapes = elastic.unbox(boxed)
  flat = elastic.flatten(shapes)
  rows = core.rows_for(table, list(flat))
  found = {}
  for name, targets, op in rows:
    if name not in foreign:
      continue
    parts = np.split(foreign[name], len(targets)) if len(targets) > 1 else [
        foreign[name]]
    for path, part in zip(targets, parts):
      found[path] = jnp.asarray(op.read(part, flat[path].shape))
  missing = [path for path in flat if path not in found and keep(path)]
  assert not missing, missing[:5]
  return jax.tree.unflatten(jax.tree.structure(shapes), [
      found.get(path, jnp.zeros(flat[path].shape)) for path in flat])


@functools.cache
def tiny():
  arrays, meta = golden_bert.read('das_meter_tiny')
  model, batch = fusion(meta, meta['layers']), batch_of(arrays)
  params = read(meter.FUSION, golden_bert.foreign_of(arrays), model, batch)
  return model, params, batch, arrays, meta


def flags_of(skips, count):
  return jnp.array([i in skips for i in range(count)])


@pytest.mark.parametrize('skips', [(), (0,), (3,), (1, 4), (0, 1, 5),
                                   (0, 2, 4)], ids=str)
@pytest.mark.parametrize('way', ['cond', 'static', 'extracted'])
def test_streams_and_logits_of_every_set_of_skips(skips, way):
  model, params, batch, arrays, meta = tiny()
  assert list(skips) in meta['skip_sets']
  flags = flags_of(skips, 6)
  if way != 'cond':
    assert model.candidates == (*(f'text_fusion/layer_{i}' for i in range(3)),
                                *(f'image_fusion/layer_{i}' for i in range(3)))
    choice = elastic.Choice(skip=tuple(model.candidates[i] for i in skips))
    if way == 'extracted':
      axes = elastic.names(jax.eval_shape(
          model.init, jax.random.key(0), batch)['params'])
      params = elastic.cut(params, axes, choice, model.stacks)
    model, flags = model.chosen(choice), None
  with jax.default_matmul_precision('highest'):
    x, y, _, logits = model.apply({'params': params}, batch, flags=flags)
  name = 'skip_' + ('_'.join(map(str, skips)) or 'none')
  assert close(x, arrays[f'{name}/text'], 1e-5)
  assert close(y, arrays[f'{name}/image'], 1e-5)
  assert close(logits, arrays[f'{name}/logits'], 1e-5)


def test_loss_and_gradients_and_none_of_what_is_skipped():
  model, params, batch, arrays, meta = tiny()
  flags = flags_of(meta['gradient_case'], 6)

  def loss(params):
    logits = model.apply({'params': params}, batch, flags=flags)[-1]
    each = losses.binary_cross_entropy(logits, arrays['in/targets'])
    return losses.reduce(each, np.ones(len(each)), logits.shape[1],
                         'mean_batch')

  with jax.default_matmul_precision('highest'):
    value, grads = jax.jit(jax.value_and_grad(loss))(params)
  assert close(value, arrays['loss'], 1e-5)
  wanted = read(meter.FUSION, golden_bert.gradients_of(arrays), model, batch,
                keep=lambda path: False)
  names = {target for name, targets, _ in core.rows_for(
      meter.FUSION, list(elastic.flatten(params)))
           if f'grad/param/{name}' in arrays for target in targets}
  assert len(names) > 60
  largest = max(np.abs(g).max() for g in jax.tree.leaves(wanted))
  ours, theirs = elastic.flatten(grads), elastic.flatten(wanted)
  for name in names:
    assert np.abs(ours[name] - theirs[name]).max() <= 5e-5 * largest, name
  assert not np.abs(ours['text_fusion/layer_0/ffn/fc1/kernel']).any()
  assert not np.abs(ours['text_fusion/skip_layer_1/ffn/fc1/kernel']).any()


def test_a_skipped_text_layer_leaves_the_picture_of_its_depth_as_it_is():
  model, params, batch, _, _ = tiny()
  one = model.chosen(elastic.Choice(skip=())).clone(num_layers=1)
  other = one.clone(skip=('text_fusion/layer_0',))
  y = [m.apply({'params': params}, batch)[1] for m in (one, other)]
  np.testing.assert_array_equal(*y)


@functools.cache
def layer_pair():
  arrays, meta = golden_bert.read('das_meter_layer')
  model, batch = fusion(meta, 1), batch_of(arrays)
  params = read(meter.FUSION, made(arrays), model, batch,
                keep=lambda path: not path.startswith('head'))
  return model, params, batch, arrays


def test_a_layer_pair_of_full_width():
  model, params, batch, arrays = layer_pair()
  run = jax.jit(lambda flags: model.apply({'params': params}, batch,
                                          flags=flags)[:3])
  with jax.default_matmul_precision('highest'):
    for name, skips in (('keep', ()), ('skip_text', (0,)),
                        ('skip_image', (1,)), ('skip_both', (0, 1))):
      x, y, pooled = run(flags_of(skips, 2))
      assert close(pooled.reshape(2, -1), arrays[f'{name}/cls'], 1e-5), name
      if f'{name}/text' in arrays:
        assert close(x, arrays[f'{name}/text'], 1e-5), name
        assert close(y, arrays[f'{name}/image'], 1e-5), name


def test_gradients_of_a_layer_pair():
  model, params, batch, arrays = layer_pair()
  small = model.chosen(elastic.Choice(skip=()))

  def total(params, text, image):
    x, y, *_ = small.apply({'params': params}, batch | dict(
        text=text, image=image))
    return ((x * arrays['in/cotangent_text']).sum()
            + (y * arrays['in/cotangent_image']).sum())

  with jax.default_matmul_precision('highest'):
    grads, text, image = jax.jit(jax.grad(total, argnums=(0, 1, 2)))(
        params, batch['text'], batch['image'])
  assert close(text, arrays['grad/text'], 5e-5)
  assert close(image, arrays['grad/image'], 5e-5)
  _check_probes(arrays, meter.FUSION, grads, params)


def _check_probes(arrays, table, grads, params):
  """Norms of gradients, and how far they go along their parameters."""
  ours, values = elastic.flatten(grads), elastic.flatten(params)
  seen = 0
  for name, targets, _ in core.rows_for(table, list(ours)):
    if f'gradprobe/{name}' not in arrays:
      continue
    norm, inner = arrays[f'gradprobe/{name}']
    g = np.concatenate([np.ravel(ours[path]) for path in targets])
    p = np.concatenate([np.ravel(values[path]) for path in targets])
    seen += 1
    if 'key.bias' in name:  # Zero in exact arithmetic.
      continue
    assert abs(np.linalg.norm(g) - norm) <= 1e-4 * norm, name
    assert abs(g @ p - inner) <= 1e-4 * norm * np.linalg.norm(p), name
  assert seen > 15


@functools.cache
def vilt_block():
  arrays, meta = golden_bert.read('das_vilt_block')
  embed, size = Axis('embed', meta['width']), meta['skip_adapter']
  norm = functools.partial(linear.LayerNorm, eps=meta['norm_eps'])

  class Block(nn.Module):
    @nn.compact
    def __call__(self, tokens):
      layer = Layer(embed, Axis('heads', meta['heads']),
                    Axis('mlp', meta['mlp']), norm, gelu, fill=True,
                    extra=Extra('parallel', meta['adapter']), name='layer_0')
      skip = SkipTokens(embed, Axis('adapter', size), name='skip_layer_0')
      return layer(tokens).x, skip(tokens).x

  class Encoder(nn.Module):
    @nn.compact
    def __call__(self, tokens):
      return Block(name='encoder')(tokens)

  mask = jnp.asarray(arrays['in/mask']) > 0
  tokens = Tokens(jnp.asarray(arrays['in/x']), mask)
  model = Encoder()
  return model, read(vilt.TABLE, made(arrays), model, tokens), tokens, arrays


def test_vilts_block_of_full_width_and_what_runs_in_its_place():
  model, params, tokens, arrays = vilt_block()
  with jax.default_matmul_precision('highest'):
    (x, skipped), kept = model.apply(
        {'params': params}, tokens, mutable=['intermediates'],
        capture_intermediates=lambda m, _: m.name == 'adapter_attention')
  adapter, = jax.tree.leaves(kept)
  real = np.asarray(tokens.valid)[..., None]
  assert close(adapter, arrays['keep/adapter0'], 1e-5)
  assert close(x, arrays['keep/x'], 1e-5)
  assert close(skipped * real, arrays['skip/x'] * real, 1e-5)


def test_gradients_of_vilts_block():
  model, params, tokens, arrays = vilt_block()

  def total(params, x):
    return (model.apply({'params': params}, tokens._replace(x=x))[0]
            * arrays['in/cotangent']).sum()

  with jax.default_matmul_precision('highest'):
    grads, x = jax.jit(jax.grad(total, argnums=(0, 1)))(params, tokens.x)
  assert close(x, arrays['grad/x'], 5e-5)
  _check_probes(arrays, vilt.TABLE, grads, params)


@pytest.mark.parametrize('size, count', [(96, 149_856), (192, 297_408),
                                         (288, 444_960)])
def test_parameters_of_an_adapter(size, count):
  adapter = SkipAdapter(Axis('embed', 768), Axis('adapter', size))
  shapes = elastic.unbox(jax.eval_shape(
      adapter.init, jax.random.key(0), jnp.ones((1, 768)))['params'])
  assert elastic.size(shapes) == count


@pytest.mark.parametrize('size, deviation', [(192, 0.108), (288, 0.134)])
def test_a_skipped_layer_starts_near_the_identity(size, deviation):
  adapter = SkipAdapter(Axis('embed', 768), Axis('adapter', size))
  x = jax.random.normal(jax.random.key(1), (64, 768))

  def noise(key):
    params = elastic.unbox(adapter.init(key, x)['params'])
    return (adapter.apply({'params': params}, x) - x).std()

  found = jax.jit(jax.vmap(noise))(jax.random.split(jax.random.key(0), 16))
  np.testing.assert_allclose(found.mean(), deviation, rtol=0.02)
