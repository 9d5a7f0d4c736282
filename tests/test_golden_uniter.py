"""UNITER for VQA against the outputs and gradients of the released code."""
import functools

from bst_jax.interop import core, uniter
from bst_jax.models.uniter import Model
import golden_bert
from golden_bert import close
import jax
import jax.numpy as jnp
import numpy as np
import pytest


@functools.cache
def golden():
  """Model, parameters, batch and raw arrays of the file."""
  arrays, meta = golden_bert.read('uniter_vqa')
  model = Model(**golden_bert.sizes(meta), feature_size=meta['region_dim'])
  batch = {'tokens': arrays['in/input_ids'], 'regions': arrays['in/img_feat'],
           'boxes': arrays['in/img_pos_feat'][..., :4]}
  params = golden_bert.params_of(model, batch, uniter, arrays)
  return model, params, batch, arrays


def test_the_seven_numbers_of_a_box_are_its_corners_and_sides():
  arrays, _ = golden_bert.read('uniter_vqa')
  corners = arrays['in/img_pos_feat'][..., :4]
  sides = corners[..., 2:] - corners[..., :2]
  np.testing.assert_array_equal(arrays['in/img_pos_feat'], np.concatenate(
      [corners, sides, sides.prod(-1, keepdims=True)], -1))


@pytest.mark.parametrize('width', ['1/4', '1/2', '3/4', '1'])
def test_logits_of_all_sixteen_pairs(width):
  model, params, batch, arrays = golden()
  subs = [sub for sub in golden_bert.PAIRS if str(sub.width) == width]
  with jax.default_matmul_precision('highest'):
    every = jax.jit(lambda params: [
        model.apply({'params': params}, batch, sub=sub)['answers'] for sub in subs])(
            params)
  for sub, logits in zip(subs, every):
    assert close(logits, arrays[f'slice/{sub}'], 1e-5), sub


def test_sequence_and_pooled_token():
  model, params, batch, arrays = golden()
  with jax.default_matmul_precision('highest'):
    logits, out = golden_bert.outputs_of(
        model, params, batch, 'encoder', 'pooler')
  assert close(logits, arrays['logits'], 1e-5)
  assert close(np.tanh(out['pooler']), arrays['pooled'], 1e-5)
  # The original packs text and regions; padding comes last and is zero.
  packed = np.take_along_axis(
      np.asarray(out['encoder']), arrays['in/gather_index'][..., None], 1)
  packed = packed * arrays['in/attn_masks'][..., None]
  assert close(packed, arrays['sequence'], 1e-5)


def test_loss_and_gradients():
  model, params, batch, arrays = golden()

  def loss(params, regions):
    logits = model.apply({'params': params}, batch | {'regions': regions})['answers']
    return golden_bert.loss_of(logits, arrays, 'mean_batch')

  with jax.default_matmul_precision('highest'):
    value, (grads, regions) = jax.jit(
        jax.value_and_grad(loss, argnums=(0, 1)))(
            params, jnp.asarray(batch['regions']))
  np.testing.assert_allclose(value, arrays['loss'], rtol=1e-5)
  assert close(regions, arrays['grad/img_feat'], 5e-5)
  foreign = core.write(uniter.TABLE, grads)
  wanted = golden_bert.gradients_of(arrays)
  assert len(wanted) == 8
  for name, want in wanted.items():
    assert close(foreign[name], want, 5e-5), name
