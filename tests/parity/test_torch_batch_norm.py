"""Batch normalisation against torch's, three steps in training and after.

  pytest -n 0 tests/parity/test_torch_batch_norm.py
"""
from bst_jax import elastic
from bst_jax.elastic import Axis
from bst_jax.layers.batch_norm import BatchNorm, WRITTEN
from bst_jax.learn import statistics
import jax
import jax.numpy as jnp
import numpy as np
import torch


def test_three_steps():
  rng = np.random.default_rng(0)
  theirs = torch.nn.BatchNorm2d(5)
  ours = BatchNorm(Axis('embed', 5), frozen=False)
  draw = lambda: (2 + 3 * rng.standard_normal((4, 3, 2, 5))).astype(np.float32)
  params = elastic.unbox(ours.init(jax.random.key(0), draw())['params'])
  gain = (1 + 0.3 * rng.standard_normal(5)).astype(np.float32)
  params['scale'] = jnp.asarray(gain)
  with torch.no_grad():
    theirs.weight.copy_(torch.from_numpy(gain))

  for _ in range(3):
    x, slope = draw(), draw()
    y, pull, sown = jax.vjp(lambda params, x: ours.apply(
        {'params': params}, x, train=True, mutable=[WRITTEN]),
                            params, x, has_aux=True)
    grads, at_input = pull(jnp.asarray(slope))
    params = statistics.put_over(params, sown[WRITTEN])
    theirs.zero_grad()
    read = torch.from_numpy(x.transpose(0, 3, 1, 2)).requires_grad_()
    want = theirs(read)
    want.backward(torch.from_numpy(slope.transpose(0, 3, 1, 2)))
    for a, b in ((y, want), (at_input, read.grad)):
      np.testing.assert_allclose(
          a, b.detach().numpy().transpose(0, 2, 3, 1), atol=2e-5)
    np.testing.assert_allclose(grads['scale'], theirs.weight.grad, rtol=1e-4)
    np.testing.assert_allclose(grads['bias'], theirs.bias.grad, rtol=1e-4)
    assert not any(np.any(leaf) for leaf in grads['stats'].values())

  stats = params['stats']
  np.testing.assert_allclose(stats['mean'], theirs.running_mean, rtol=1e-5)
  np.testing.assert_allclose(stats['var'], theirs.running_var, rtol=1e-5)
  x = draw()
  with torch.no_grad():
    want = theirs.eval()(torch.from_numpy(x.transpose(0, 3, 1, 2))).numpy()
  np.testing.assert_allclose(ours.apply({'params': params}, x),
                             want.transpose(0, 2, 3, 1), atol=1e-5)
