"""X-ViT against the released code: shift, features, logits, gradients."""
from bst_jax.interop import xvit as table
from bst_jax.layers.temporal_shift import shift
from bst_jax.models.xvit import Model
import golden_bert
from golden_bert import close
import jax
import jax.numpy as jnp
import numpy as np
import pytest

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


def test_gradients():
  model, batch = model_of(8), clip_of('in/clip8')
  params = golden_bert.params_of(model, batch, table, ARRAYS)
  loss = lambda clip: (model.apply({'params': params}, {'clip': clip})['classes']
                       * ARRAYS['in/cotangent8']).sum()
  with jax.default_matmul_precision('highest'):
    grad = jax.jit(jax.grad(loss))(batch['clip'])
  assert close(grad.transpose(0, 4, 1, 2, 3), ARRAYS['frames8/grad/clip'],
               5e-5)
