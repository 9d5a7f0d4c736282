"""A sampling layer and a network of them against the released code."""
from bst_jax.elastic import Axis, unbox
from bst_jax.interop import core, timm_vit
from bst_jax.layers import linear
from bst_jax.layers.sampler import Ats
from bst_jax.layers.vit import Layer, Tokens
import golden_ats
import golden_bert
from golden_bert import close
import jax
import jax.numpy as jnp
import numpy as np
import pytest


def layer_of(meta, case, attention):
  ats = Ats((0,), anchor=meta['anchor'][case], attention=attention,
            policy_eps=meta['policy_eps'] if attention == 'reference' else 0)
  return Layer(
      Axis('embed', meta['width']), Axis('heads', meta['heads']),
      Axis('mlp', int(meta['width'] * meta['mlp_ratio'])), linear.LayerNorm,
      lambda x: jax.nn.gelu(x, approximate=False),
      stage=ats.stages((0,), meta['slots'], 1)[0], policy_eps=ats.policy_eps)


@pytest.mark.parametrize('attention', ['select_first', 'reference'])
@pytest.mark.parametrize('case', ['all', 'some'])
def test_a_sampling_layer(case, attention):
  arrays, meta = golden_bert.read('ats_block')
  layer = layer_of(meta, case, attention)
  policy = arrays[f'in/policy_{case}']

  def run(params, x, mutable=False):
    x = x * policy[..., None]
    ids = jnp.broadcast_to(jnp.arange(meta['slots']), (3, meta['slots']))
    tokens = Tokens(
        x, None if case == 'all' else policy > 0,
        policy if layer.policy_eps else None, ids)
    return layer.apply({'params': params}, tokens, mutable=mutable)

  x = jnp.asarray(arrays['in/x'])
  boxed = jax.eval_shape(lambda key: layer.init(
      key, Tokens(x, ids=jnp.zeros((3, 49), jnp.int32))), jax.random.key(0))
  prefix = lambda names: {f'blocks.0.{k}': v for k, v in names.items()}
  params = core.read(
      timm_vit.TABLE, prefix(golden_bert.foreign_of(arrays)),
      {'encoder': {'layer_0': unbox(boxed['params'])}},
      timm_vit.IGNORED)['encoder']['layer_0']

  def loss(params, x):
    out, kept = run(params, x, ['intermediates'])
    return (out.x * arrays['in/cotangent']).sum(), (out, kept)

  with jax.default_matmul_precision('highest'):
    grads, (out, kept) = jax.jit(
        jax.grad(loss, argnums=(0, 1), has_aux=True))(params, x)
  of = lambda name: arrays[f'{case}/{name}']
  np.testing.assert_array_equal(out.ids, of('order'))
  np.testing.assert_array_equal(out.valid, of('policy_out') > 0)
  np.testing.assert_array_equal(kept['intermediates']['count'][0], of('count'))
  assert close(out.x, of('y'), 1e-5)
  assert close(grads[1], of('grad/x'), 5e-5)
  foreign = core.write(timm_vit.TABLE, {'encoder': {'layer_0': grads[0]}})
  wanted = {k.removeprefix(f'{case}/grad/param/'): v
            for k, v in arrays.items() if k.startswith(f'{case}/grad/param/')}
  assert len(wanted) == 12
  largest = max(np.abs(v).max() for v in wanted.values())
  for name, want in wanted.items():
    got = foreign[f'blocks.0.{name}']
    if name == 'attn.qkv.bias':  # A key's bias moves nothing.
      width = meta['width']
      assert np.abs((got - want)[width:2 * width]).max() <= 1e-5 * largest
      got, want = (np.delete(v, range(width, 2 * width)) for v in (got, want))
    assert close(got, want, 5e-5), name


def test_the_plain_network():
  arrays, meta, batch, params = golden_ats.vit()
  with jax.default_matmul_precision('highest'):
    logits = golden_ats.model_of(meta).apply(
        {'params': params}, batch)['classes']
  assert close(logits, arrays['logits_plain'], 1e-5)


@pytest.mark.parametrize('capacity', [None, (48, 39, 34, 32)])
def test_the_sampling_network(capacity):
  arrays, meta, batch, params = golden_ats.vit()
  model = golden_ats.model_of(
      meta, blocks=meta['ats_blocks'], num_points=meta['num_points'],
      capacity=capacity)

  def loss(image):
    logits, kept = model.apply(
        {'params': params}, {'image': image}, mutable=['intermediates'])
    logits = logits['classes']
    return (logits * arrays['in/cotangent']).sum(), (logits, kept)

  with jax.default_matmul_precision('highest'):
    grad, (logits, kept) = jax.jit(jax.grad(loss, has_aux=True))(
        jnp.asarray(batch['image']))
  layers = kept['intermediates']['encoder']
  for row, block in enumerate(meta['ats_blocks']):
    got = {k: np.asarray(v[0]) for k, v in layers[f'layer_{block}'].items()}
    np.testing.assert_array_equal(got['count'], arrays['counts'][row])
    assert not got['overflow'].any()
    ids = got['token_ids']
    want = arrays[f'block{block}/patch_ids']
    np.testing.assert_array_equal(ids, want[:, :ids.shape[1]])
    assert (want[:, ids.shape[1]:] == -1).all()
  assert close(logits, arrays['logits'], 1e-5)
  assert close(np.transpose(grad, (0, 3, 1, 2)), arrays['grad/image'], 5e-5)
