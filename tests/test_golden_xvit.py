"""X-ViT against the released code: shift, features, logits, gradients."""
from bst_jax import elastic
from bst_jax.elastic import Submodel
from bst_jax.interop import xvit as table
from bst_jax.layers.temporal_shift import shift
from bst_jax.models.xvit import Model
import golden_bert
from golden_bert import close
import jax
import jax.numpy as jnp
import models
import numpy as np
import pytest
import scipy.special

ARRAYS, META = golden_bert.read('xvit')


def test_the_shift():
  x = ARRAYS['in/shift'].swapaxes(1, 2)                     # [16, 3, 4, 8]
  want = ARRAYS['shift/out'].swapaxes(1, 2)
  got = shift(jnp.asarray(x), META['segment'], META['shift_div'])
  np.testing.assert_array_equal(got, want)
  # Tokens found by what they are, in any order.
  ids = jnp.broadcast_to(jnp.arange(2), (16, 2))
  same = shift(jnp.asarray(x), META['segment'], META['shift_div'], ids=ids,
               slots=2)
  np.testing.assert_array_equal(same, want)


def test_the_shift_of_frames_that_hold_other_patches():
  rng = np.random.default_rng(0)
  whole = rng.standard_normal((6, 6, 2, 8)).astype(np.float32)
  ids = np.stack([rng.permutation(5)[:4] for _ in range(6)])
  ids[2, 2:] = ids[4, 3] = -1
  # All patches in their places, those that are gone zero.
  grid, part = np.zeros_like(whole), np.zeros((6, 5, 2, 8), np.float32)
  for row, names in enumerate(ids):
    grid[row, 0] = part[row, 0] = whole[row, 0]
    for slot, name in enumerate(names):
      if name >= 0:
        grid[row, 1 + name] = part[row, 1 + slot] = whole[row, 1 + name]
  want = np.asarray(shift(jnp.asarray(grid), 3, 4))
  got = np.asarray(shift(jnp.asarray(part), 3, 4, ids=jnp.asarray(ids),
                         slots=5))
  for row, names in enumerate(ids):
    np.testing.assert_array_equal(got[row, 0], want[row, 0])
    for slot, name in enumerate(names):
      if name >= 0:
        np.testing.assert_array_equal(got[row, 1 + slot], want[row, 1 + name])
      else:
        np.testing.assert_array_equal(got[row, 1 + slot, 0], 0)


def model_of(frames):
  return Model(
      num_answers=META['classes'],
      clip_size=(frames, META['image'], META['image']), patch=META['patch'],
      segment=META['segment'], shift=META['shift_div'], width=META['width'],
      heads=META['heads'], mlp=int(META['width'] * META['mlp_ratio']),
      num_layers=META['depth'], fused=META['temporal_hidden'],
      eps=META['norm_eps'], head_eps=META['head_norm_eps'])


def clip_of(name):
  return {'clip': jnp.asarray(ARRAYS[name].transpose(0, 2, 3, 4, 1))}


@pytest.mark.parametrize('frames', [8, 16])
def test_features_and_logits(frames):
  batch = clip_of(f'in/clip{frames}')
  model = model_of(frames)
  params = golden_bert.params_of(model, batch, table, ARRAYS)
  with jax.default_matmul_precision('highest'):
    logits, kept = golden_bert.outputs_of(model, params, batch, 'norm')
  assert close(kept['norm'], ARRAYS[f'frames{frames}/features'], 1e-5)
  assert close(logits, ARRAYS[f'frames{frames}/logits'], 1e-5)


def temporal_head(features, heads):
  """Logits float[B, A] of frames' features float[B, T, d], in plain numpy."""
  p = {name.removeprefix('param/consensus.'): value.astype(np.float64)
       for name, value in ARRAYS.items() if name.startswith('param/consensus.')}

  def norm(x, name):
    x = x - x.mean(-1, keepdims=True)
    x = x / np.sqrt((x * x).mean(-1, keepdims=True) + META['head_norm_eps'])
    return x * p[f'{name}.weight'] + p[f'{name}.bias']

  def linear(x, name):
    return x @ p[f'{name}.weight'].T + p.get(f'{name}.bias', 0)

  gelu = lambda x: x * scipy.special.ndtr(x)
  first = np.broadcast_to(p['cls_token'], (len(features), 1, META['width']))
  x = np.concatenate([first, features], 1)
  layer = 'temporal_encoder.0'
  rows, tokens, width = x.shape
  q, k, v = linear(norm(x, f'{layer}.norm1'), f'{layer}.attn.qkv').reshape(
      rows, tokens, 3, heads, -1).transpose(2, 0, 3, 1, 4)
  scores = scipy.special.softmax(
      q @ k.swapaxes(-1, -2) / np.sqrt(width // heads), -1)
  z = (scores @ v).swapaxes(1, 2).reshape(x.shape)
  x = x + linear(z, f'{layer}.attn.proj')
  z = gelu(linear(norm(x, f'{layer}.norm2'), f'{layer}.mlp.fc1'))
  x = x + linear(z, f'{layer}.mlp.fc2')
  z = gelu(linear(norm(x[:, 0], 'mlp_head.0'), 'mlp_head.1'))
  return linear(z, 'mlp_head.4')


@pytest.mark.parametrize('heads', [4, 2, 8])
def test_the_head_over_frames_has_heads_of_its_own(heads):
  """The file has 4 of both; other numbers follow what gives its logits."""
  features = ARRAYS['frames8/features'].astype(np.float64)
  assert close(temporal_head(features, 4), ARRAYS['frames8/logits'], 1e-5)
  want = temporal_head(features, heads)
  assert close(want, ARRAYS['frames8/logits'], 1e-2) == (heads == 4)
  batch, model = clip_of('in/clip8'), model_of(8).clone(temporal_heads=heads)
  params = golden_bert.params_of(model, batch, table, ARRAYS)
  with jax.default_matmul_precision('highest'):
    logits, _ = golden_bert.outputs_of(model, params, batch, 'norm')
  assert close(logits, want, 1e-5)


def test_submodels_keep_a_share_of_the_heads_over_frames():
  model, batch, params, axes = models.build('xvit', temporal_heads=2)
  assert model.heads.to_dict() == {'': 4, 'temporal/attention': 2}
  assert model.clone() == model and model == model.clone(temporal_heads=2)
  sub = Submodel('1/2', '1/2')
  small = model.at(sub)
  assert small.heads.to_dict() == {'': 2, 'temporal/attention': 1}
  cut = elastic.Slices(axes, model.stacks).cut(params, sub)
  np.testing.assert_allclose(models.run(small, cut, batch),
                             models.run(model, params, batch, sub), atol=1e-5)
  with pytest.raises(ValueError, match='1/4'):
    model.at(Submodel('1/4', '1'))
  with pytest.raises(ValueError, match='temporal_heads 3 do not share 16'):
    model.clone(temporal_heads=3)


def test_gradients():
  model, batch = model_of(8), clip_of('in/clip8')
  params = golden_bert.params_of(model, batch, table, ARRAYS)
  loss = lambda clip: (model.apply({'params': params}, {'clip': clip})['classes']
                       * ARRAYS['in/cotangent8']).sum()
  with jax.default_matmul_precision('highest'):
    grad = jax.jit(jax.grad(loss))(batch['clip'])
  assert close(grad.transpose(0, 4, 1, 2, 3), ARRAYS['frames8/grad/clip'],
               5e-5)
