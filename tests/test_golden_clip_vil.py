"""CLIP-ViL-p against the outputs and gradients of the released code."""
import functools

from bst_jax.interop import clip_vil, core
from bst_jax.models.clip_vil import Model
import golden_bert
from golden_bert import close
import jax
import jax.numpy as jnp
import numpy as np
import pytest

_BERT = 'lxrt_encoder.model.bert.'
# The original calls index 0 of these tables padding: row 0 has no gradient.
TEXT_TABLES = tuple(f'{_BERT}embeddings.{name}_embeddings.weight'
                    for name in ('word', 'position', 'token_type'))


@functools.cache
def golden():
  """Model, parameters, batch and raw arrays of the file."""
  arrays, meta = golden_bert.read('clip_vil')
  model = Model(
      **golden_bert.sizes(meta), grid_positions=meta['grid_positions'],
      visual_blocks=tuple(meta['cnn_layers']), visual_width=meta['cnn_width'])
  batch = {'tokens': arrays['in/input_ids'],
           'image': arrays['in/image'].transpose(0, 2, 3, 1)}
  params = golden_bert.params_of(model, batch, clip_vil, arrays)
  return model, params, batch, arrays


@functools.cache
def shared():
  """The batch with the grid, computed once for all submodels."""
  model, params, batch, _ = golden()
  with jax.default_matmul_precision('highest'):
    grid = jax.jit(functools.partial(model.apply, method='shared'))(
        {'params': params}, batch)
  return {'tokens': batch['tokens']} | grid


def test_the_tokens_are_the_mask():
  arrays, _ = golden_bert.read('clip_vil')
  np.testing.assert_array_equal(arrays['in/input_ids'] != 0,
                                arrays['in/text_mask'] != 0)


def test_the_grid():
  *_, arrays = golden()
  assert close(shared()['grid'].transpose(0, 3, 1, 2), arrays['layer4'], 1e-5)


@pytest.mark.parametrize('width', ['1/4', '1/2', '3/4', '1'])
def test_logits_of_all_sixteen_pairs(width):
  model, params, _, arrays = golden()
  subs = [sub for sub in golden_bert.PAIRS if str(sub.width) == width]
  with jax.default_matmul_precision('highest'):
    every = jax.jit(lambda params: [
        model.apply({'params': params}, shared(), sub=sub)['answers'] for sub in subs])(
            params)
  for sub, logits in zip(subs, every):
    assert close(logits, arrays[f'slice/{sub}'], 1e-5), sub


def test_cells_sequence_and_pooled_token():
  model, params, _, arrays = golden()
  with jax.default_matmul_precision('highest'):
    logits, out = golden_bert.outputs_of(
        model, params, shared(), 'image_norm', 'encoder', 'pooler')
  assert close(logits, arrays['logits'], 1e-5)
  assert close(out['image_norm'], arrays['grid_tokens'], 1e-5)
  assert close(out['encoder'], arrays['joint'], 1e-5)
  assert close(out['pooler'], arrays['pooled'], 1e-5)


def test_loss_and_gradients():
  model, params, batch, arrays = golden()

  def loss(params, image):
    logits = model.apply({'params': params}, batch | {'image': image})['answers']
    return golden_bert.loss_of(logits, arrays, 'mean_all_x500')

  with jax.default_matmul_precision('highest'):
    value, (grads, image) = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(
        params, jnp.asarray(batch['image']))
  np.testing.assert_allclose(value, arrays['loss'], rtol=1e-5)
  assert close(image.transpose(0, 3, 1, 2), arrays['grad/image'], 5e-5)

  foreign = core.write(clip_vil.TABLE, grads)
  wanted = golden_bert.gradients_of(arrays)
  assert len(wanted) == 8
  for name, want in wanted.items():
    got = np.array(foreign[name])
    if name in TEXT_TABLES:
      got[0] = 0
      want = want.copy()
      assert not want[0].any()
      if name == TEXT_TABLES[-1]:  # Every token is of type 0.
        assert not got.any() and not want.any()
        continue
    assert close(got, want, 5e-5), name
  # Statistics are not learnt.
  assert not any(np.any(x) for name, x in foreign.items()
                 if name.endswith(('running_mean', 'running_var')))
