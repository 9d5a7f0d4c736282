"""TimeSformer: time and space, and sites that live in all frames or none."""
from bst_jax import elastic
from bst_jax.models.timesformer import Model
import jax
import jax.numpy as jnp
import models
import numpy as np
import pytest

SIZES = {k: v for k, v in models.TINY['timesformer'][0].items() if k != 'name'
         } | dict(num_layers=2)


def tiny():
  model, batch, params, _ = models.build('timesformer', num_layers=2)
  return model, batch, params


def outputs(model, params, batch, **ats):
  """Logits, and what the sampling layers say, by layer."""
  logits, kept = jax.jit(lambda params, batch: model.clone(ats=ats).apply(
      {'params': params}, batch, mutable=['intermediates']))(params, batch)
  return np.asarray(logits['classes']), {
      name: {k: np.asarray(v[0]) for k, v in layer.items()}
      for name, layer in kept['intermediates']['encoder'].items()}


def test_sites_are_picked_once_a_clip():
  model, batch, params = tiny()
  grid = dict(blocks=(0, 1), num_points=12)
  logits, said = outputs(model, params, batch, **grid)
  counts = [said[f'layer_{i}']['count'] for i in (0, 1)]
  assert counts[0].shape == (4,) and np.ptp(counts[1]) > 0
  ids = said['layer_1']['token_ids']
  assert ids.shape == (4, 16)
  for row, count in zip(ids, counts[1], strict=True):
    assert len(set(row[:count])) == count and (row[count:] == -1).all()
  # Just enough room, another order of operations, another grouping of clips.
  most = tuple(int(count.max()) for count in counts)
  assert most[1] <= most[0] < 16
  for other in (dict(capacity=most), dict(attention='reference')):
    same, others = outputs(model, params, batch, **grid | other)
    np.testing.assert_allclose(same, logits, atol=1e-5, err_msg=str(other))
    width = others['layer_1']['token_ids'].shape[1]
    np.testing.assert_array_equal(others['layer_1']['token_ids'],
                                  ids[:, :width])
  alone, _ = outputs(model, params, {'clip': batch['clip'][2:3]}, **grid)
  np.testing.assert_allclose(alone[0], logits[2], atol=1e-5)


def test_scores_are_sums_over_frames():
  """In any order of frames, where they have no places, the sites are these."""
  model, batch, params = tiny()
  params = params | {'times': jnp.zeros_like(params['times'])}
  shuffled = {'clip': batch['clip'][:, np.array([2, 0, 3, 1])]}
  logits, said = outputs(model, params, batch, blocks=(0,), capacity=5)
  same, others = outputs(model, params, shuffled, blocks=(0,), capacity=5)
  np.testing.assert_allclose(same, logits, atol=1e-5)
  np.testing.assert_array_equal(
      *(said['layer_0']['token_ids'] for said in (said, others)))
  still = {'clip': jnp.repeat(batch['clip'][:, :1], 4, 1)}
  assert (outputs(model, params, still, blocks=(0,), capacity=5)[1]['layer_0'][
      'token_ids'] != said['layer_0']['token_ids']).any()


def test_where_nothing_is_dropped_it_is_the_plain_network():
  model, batch, params = tiny()
  got, said = outputs(model, params, batch, blocks=(0, 1), num_points=10 ** 6,
                      anchor='keep_lowest', capacity=16)
  assert (said['layer_1']['count'] == 16).all()
  np.testing.assert_allclose(got, models.run(model, params, batch), atol=1e-5)


def test_what_a_network_starts_from():
  _, batch, _ = tiny()
  begin = lambda **options: elastic.unbox(Model(**SIZES | options).init(
      jax.random.key(0), batch)['params'])
  published, asked = begin(), begin(init_std=0.3, places_std=(0.5, 0.7))
  assert not published['times'].any()
  deviations = lambda params: [float(np.std(x)) for x in (
      params['encoder']['layer_0']['ffn']['fc1']['kernel'],
      params['positions'], params['patches']['proj']['kernel'])]
  # The normal distribution is cut at two deviations, which leaves 0.88 of one.
  np.testing.assert_allclose(deviations(published), 0.88 * 0.02, rtol=0.15)
  np.testing.assert_allclose(
      deviations(asked), np.multiply(0.88, (0.3, 0.5, 0.02)), rtol=0.15)
  assert np.std(asked['times']) == pytest.approx(0.88 * 0.7, rel=0.3)


def test_a_new_network_looks_at_frames_one_by_one():
  model, batch, _ = tiny()
  params = elastic.unbox(jax.jit(model.init)(jax.random.key(0), batch))
  layer = params['params']['encoder']['layer_1']
  assert not any(leaf.any() for leaf in layer['temporal_out'].values())
  assert layer['temporal_attention']['query']['kernel'].any()
  assert not params['params']['times'].any()


@pytest.mark.parametrize('grad', ['hard', 'ste'])
def test_all_parts_learn_while_sites_are_dropped(grad):
  model, batch, params = tiny()
  model = model.clone(
      ats=dict(blocks=(0, 1), capacity=(12, 8), grad=grad), dropout=0.1,
      depth_dropout=0.5, remat=True)
  slopes = jax.jit(jax.grad(lambda params, key: jnp.square(model.apply(
      {'params': params}, batch, train=True, rngs={'dropout': key})['classes']).sum()))
  one, two = (slopes(params, jax.random.key(seed)) for seed in (0, 1))
  for path, leaf in elastic.flatten(one).items():
    assert np.isfinite(leaf).all(), path
    assert np.abs(leaf).max() > 0 or path.endswith('key/bias'), path
  assert np.abs(one['head']['kernel'] - two['head']['kernel']).max() > 1e-3


@pytest.mark.parametrize('changes, why', [
    (dict(share='frame'), "by 'frame'.*Set share='clip'"),
    (dict(clip_size=16), r'clip_size 16 is not \(frames, height, width\)'),
    (dict(clip_size=(4, 30, 16)), '30 x 16 pixels .* multiples of 4'),
    (dict(ats=dict(blocks=(1,), capacity=17)), 'choose 1 to 16'),
    (dict(ats=dict(blocks=(2,))), 'the network has 2')])
def test_networks_that_cannot_be(changes, why):
  with pytest.raises(ValueError, match=why):
    Model(**SIZES | changes)


def test_clips_that_cannot_be():
  model, batch, params = tiny()
  with pytest.raises(ValueError, match=r'reads \[B, 4, 16, 16, 3\]'):
    models.run(model, params, {'clip': batch['clip'][:, :3]})
  with pytest.raises(ValueError, match="key of the batch 'clip'"):
    models.run(model, params, {'image': batch['clip']})
