"""MCAN-BST against the outputs and gradients of the released code."""

from bst_jax import elastic
from bst_jax.interop import core, mcan_bst
from bst_jax.tasks import losses
import golden_mcan
import jax
import numpy as np
import pytest

PAIRS = [elastic.Submodel(w, d) for w in ('1/4', '1/2', '3/4', '1')
         for d in ('1/6', '1/3', '2/3', '1')]
TRAINED = ('1/4x1/6', '1/4x2/3', '1/2x1/3', '3/4x2/3', '1x1')
# Zero in exact arithmetic: a key bias shifts all scores of a query alike, and
# so does the bias of a pool's score.
NOISE = ('linear_k.bias', 'attflat_img.linear.bias', 'attflat_lang.linear.bias')


def close(got, want, tolerance):
  return np.abs(got - want).max() <= tolerance * np.abs(want).max()


@pytest.mark.parametrize('form', ['vqa', 'gqa'])
def test_logits_of_all_sixteen_pairs(form):
  model, params, axes, batch, arrays = golden_mcan.load(form)
  with jax.default_matmul_precision('highest'):
    for sub in PAIRS:
      got = jax.jit(model.apply, static_argnames='sub')(
          {'params': params}, batch, sub=sub)
      assert close(got['answers'], arrays[f'logits/{sub}'], 1e-5), sub


@pytest.mark.parametrize('form', ['vqa', 'gqa'])
def test_losses_and_every_gradient_of_the_five_submodel_sum(form):
  model, params, axes, batch, arrays = golden_mcan.load(form)

  def loss(params, sub):
    logits = model.apply({'params': params}, batch, sub=sub)['answers']
    if form == 'vqa':
      return losses.binary_cross_entropy(logits, arrays['in/soft']).sum()
    soft = jax.nn.softmax(arrays['in/soft'])
    return losses.kl_divergence(logits, soft).sum()

  @jax.jit
  def total(params):
    each = {sub: loss(params, elastic.Submodel.parse(sub)) for sub in TRAINED}
    return sum(each.values()), each

  with jax.default_matmul_precision('highest'):
    (_, each), grads = jax.value_and_grad(total, has_aux=True)(params)
  for sub in TRAINED:
    np.testing.assert_allclose(each[sub], arrays[f'loss/{sub}'], rtol=1e-5)

  foreign = core.write(mcan_bst.TABLE, grads)
  wanted = {k.removeprefix('grad/'): v for k, v in arrays.items()
            if k.startswith('grad/')}
  assert foreign.keys() == wanted.keys()
  largest = max(np.abs(v).max() for v in wanted.values())
  for name, want in wanted.items():
    if name.endswith(NOISE):
      assert np.abs(foreign[name] - want).max() <= 1e-5 * largest, name
    else:
      assert close(foreign[name], want, 1e-4), name
