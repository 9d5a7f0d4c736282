"""Where a network looked: shares of the tokens of a picture."""
from bst_jax.layers import looks
import jax
import jax.numpy as jnp
import models
import numpy as np
import pytest

TELL = ('mcan_vqa', 'mcan_image', 'uniter', 'clip_vil', 'vit', 'vit_ats', 'cvt')


@pytest.mark.parametrize('name', TELL)
def test_shares_of_a_picture(name):
  model, batch, params, _ = models.build(name)
  shares = np.asarray(looks.looked_at(model, params, batch))
  np.testing.assert_allclose(shares.sum(-1), 1, rtol=1e-5)
  assert shares.min() >= 0 and shares.shape[1] > 3
  # To ask changes nothing, and nobody is told who does not ask.
  plain = model.apply({'params': params}, batch)
  asked, _ = model.apply({'params': params}, batch, mutable=[looks.SOWN])
  jax.tree.map(np.testing.assert_array_equal, plain, asked)
  assert set(model.init(jax.random.key(0), batch)) == {'params'}


def test_it_is_the_attention_of_the_class_token():
  """By hand, from the parameters of the last layer and what it reads."""
  model, batch, params, _ = models.build('vit')
  last = f'layer_{model.stacks["encoder"].num_layers - 1}'
  own = params['encoder'][last]['attention']
  _, seen = model.apply(
      {'params': params}, batch, mutable=['intermediates'],
      capture_intermediates=lambda module, _: module.name == 'norm1')
  y = seen['intermediates']['encoder'][last]['norm1']['__call__'][0]
  to = lambda part: (jnp.einsum('bnd,dhk->bnhk', y, own[part]['kernel'])
                     + own[part]['bias'])
  q, k = to('query')[:, 0], to('key')
  probs = jax.nn.softmax(
      jnp.einsum('bhk,bmhk->bhm', q, k) / q.shape[-1] ** 0.5).mean(1)
  probs = probs[:, model.lead:]
  np.testing.assert_allclose(looks.looked_at(model, params, batch),
                             probs / probs.sum(-1, keepdims=True), atol=1e-5)


def test_padding_is_not_looked_at():
  model, batch, params, _ = models.build('mcan_vqa')
  batch = dict(batch, regions=batch['regions'].at[:, -2:].set(0))
  shares = looks.looked_at(model, params, batch)
  assert float(shares[:, -2:].max()) == 0 < float(shares[:, :-2].min())


def test_models_that_do_not_tell():
  model, batch, params, _ = models.build('timesformer')
  with pytest.raises(ValueError, match='timesformer looked was asked for'):
    looks.looked_at(model, params, batch)
