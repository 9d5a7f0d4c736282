"""X-ViT: selections that frames share or not, and what they see of others."""
import functools

from bst_jax import elastic
from bst_jax.models.xvit import Model
import jax
import jax.numpy as jnp
import models
import numpy as np
import pytest

SIZES = {k: v for k, v in models.TINY['xvit'][0].items() if k != 'name'
         } | dict(num_layers=2)


def tiny():
  model, batch, params, _ = models.build('xvit', num_layers=2)
  return model, batch, params


@functools.cache
def outputs(share='group', **ats):
  """Logits, and what the sampling layers say, by layer."""
  model, batch, params = tiny()
  model = model.clone(ats=ats, share=share)
  logits, kept = jax.jit(lambda params, batch: model.apply(
      {'params': params}, batch, mutable=['intermediates']))(params, batch)
  return np.asarray(logits['classes']), {
      name: {k: np.asarray(v[0]) for k, v in layer.items()}
      for name, layer in kept['intermediates']['encoder'].items()}


def test_layers_start_from_the_deviation_that_is_asked_for():
  _, batch, _ = tiny()
  params = elastic.unbox(Model(**SIZES, init_std=0.3).init(
      jax.random.key(0), batch)['params'])
  # The normal distribution is cut at two deviations, which leaves 0.88 of one.
  for layer, name, deviation in (
      (params['encoder']['layer_0']['ffn'], 'fc1', 0.3),
      (params['temporal']['ffn'], 'fc1', 0.3), (params['head'], 'fc1', 0.02),
      (params['patches'], 'proj', 0.02)):
    assert np.std(layer[name]['kernel']) == pytest.approx(
        0.88 * deviation, rel=0.15)


@pytest.mark.parametrize('share', ['group', 'frame'])
def test_who_shares_a_selection(share):
  _, said = outputs(share, blocks=(0, 1), num_points=12)
  for layer in said.values():
    ids, count = layer['token_ids'], layer['count']
    assert ids.shape == (4, 4, 16) and count.shape == (4, 4)
    pairs = ids.reshape(4, 2, 2, 16)  # Two segments of two frames.
    assert (pairs[:, 0, 0] != pairs[:, 1, 0]).any()
    assert (pairs[:, :, 0] == pairs[:, :, 1]).all() == (share == 'group')
    for row, living in zip(ids.reshape(16, 16), count.reshape(16)):
      assert len(set(row[:living])) == living and (row[living:] == -1).all()


@pytest.mark.parametrize('share', ['group', 'frame'])
def test_room_for_all_that_live_is_enough(share):
  """The shift finds a patch's neighbours wherever they stand."""
  logits, said = outputs(share, blocks=(0, 1), num_points=12)
  most = tuple(int(said[f'layer_{i}']['count'].max()) for i in (0, 1))
  assert most[1] <= most[0] < 16
  for other in (dict(capacity=most), dict(attention='reference')):
    same, others = outputs(share, blocks=(0, 1), num_points=12, **other)
    np.testing.assert_allclose(same, logits, atol=1e-5, err_msg=str(other))


def test_where_nothing_is_dropped_it_is_the_plain_network():
  model, batch, params = tiny()
  plain = models.run(model, params, batch)
  for share in ('group', 'frame'):
    got, said = outputs(share, blocks=(0, 1), num_points=10 ** 6,
                        anchor='keep_lowest', capacity=16)
    assert (said['layer_1']['count'] == 16).all()
    np.testing.assert_allclose(got, plain, atol=1e-5, err_msg=share)


@pytest.mark.parametrize('share, grad', [('group', 'ste'), ('frame', 'hard')])
def test_all_parts_learn_while_tokens_are_dropped(share, grad):
  model, batch, params = tiny()
  model = model.clone(
      share=share, ats=dict(blocks=(0, 1), capacity=(12, 8), grad=grad),
      dropout=0.1, depth_dropout=0.5, remat=True)
  slopes = jax.jit(jax.grad(lambda params, key: jnp.square(model.apply(
      {'params': params}, batch, train=True, rngs={'dropout': key})['classes']).sum()))
  one, two = (slopes(params, jax.random.key(seed)) for seed in (0, 1))
  for path, leaf in elastic.flatten(one).items():
    assert np.isfinite(leaf).all(), path
    assert np.abs(leaf).max() > 0 or path.endswith('key/bias'), path
  assert 'bias' not in one['temporal']['attention']['query']
  difference = one['head']['fc2']['kernel'] - two['head']['fc2']['kernel']
  assert np.abs(difference).max() > 1e-3


@pytest.mark.parametrize('changes, why', [
    (dict(share='clip'), "sharing of selections 'clip'.*frame, group"),
    (dict(segment=3), '4 frames do not split into segments of 3'),
    (dict(shift=1), 'choose 2'),
    (dict(clip_size=(4, 16)), r'is not \(frames, height, width\)'),
    (dict(ats=dict(blocks=(1,), capacity=17)), 'choose 1 to 16')])
def test_networks_that_cannot_be(changes, why):
  with pytest.raises(ValueError, match=why):
    Model(**SIZES | changes)


def test_clips_that_cannot_be():
  model, batch, params = tiny()
  with pytest.raises(ValueError, match=r'reads \[B, 4, 16, 16, 3\]'):
    models.run(model, params, {'clip': batch['clip'][:, :, :8]})
