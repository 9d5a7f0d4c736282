"""Runs that shrink with the tokens give what the mask gives."""
import dataclasses

from bst_jax.models.vit import Model
from bst_jax.report import token_macs
from bst_jax.sampling import bucketed, ragged
from bst_jax.sampling import ways as token_ways
import jax
import jax.numpy as jnp
import models
import numpy as np
import pytest

ATS = dict(blocks=(1, 2), num_points=20, capacity=None)


@pytest.fixture(scope='module')
def vit():
  """A ViT that samples, 10 images of unlike contrast, and its logits."""
  model = Model(5, image_size=24, patch=4, width=16, heads=4, mlp=32,
                num_layers=4, distilled=True, ats=ATS)
  rng = np.random.default_rng(0)
  image = rng.standard_normal((10, 24, 24, 3)).astype(np.float32)
  image *= np.linspace(0.1, 6, 10)[:, None, None, None]
  batch = {'image': jnp.asarray(image)}
  params, _ = models.prepare(model, {'image': batch['image'][:1]})
  # Attention that differs from token to token.
  params = jax.tree.map(lambda p: 2 * p, params)
  logits, sown = jax.jit(lambda p, b: model.apply(
      {'params': p}, b, mutable=['intermediates']))(params, batch)
  layers = sown['intermediates']['encoder']
  counts = np.stack([layers[f'layer_{i}']['count'][0] for i in ATS['blocks']])
  assert np.ptp(counts, axis=1).min() >= 2  # Images differ.
  return model, params, batch, np.asarray(logits['classes']), counts


def same(got, want):
  np.testing.assert_allclose(got, want, atol=2e-5 * np.abs(want).max())


@pytest.mark.parametrize('sort', [True, False])
def test_buckets(vit, sort):
  model, params, batch, want, counts = vit
  run = bucketed.Bucketed(model, params, batch=4, multiple=2, sort=sort)
  same(run(batch)['classes'], want)                       # The last batch is half empty.
  assert [len(widths) for widths in run.widths] == [3, 3]
  need = counts.max(1) + model.lead
  assert max(run.widths[0]) >= need[0] and max(run.widths[1]) >= need[1]
  assert max(run.widths[1]) < model.slots + model.lead
  if sort:  # Images of few tokens are among themselves.
    assert run.widths[0] == sorted(run.widths[0])
    assert run.widths[0][0] < run.widths[0][-1]
  same(run({'image': batch['image'][:3]})['classes'], want[:3])


def test_buckets_behind_some_layers(vit):
  model, params, batch, want, _ = vit
  run = bucketed.Bucketed(model, params, batch=5, multiple=4, cuts=(2,))
  same(run(batch)['classes'], want)
  assert len(run.widths) == 1
  with pytest.raises(ValueError, match=r'behind the layers \[0\].*\[1, 2\]'):
    bucketed.Bucketed(model, params, batch=5, cuts=(0,))


def test_ragged(vit):
  model, params, batch, want, counts = vit
  fits = model.clone(ats=dataclasses.replace(
      model.ats, capacity=tuple(counts.max(1).tolist())))
  buffers = ragged.lengths(counts.mean(1), 10, model.lead, margin=0.0)
  assert buffers[0] == counts[0].sum() + 10 * model.lead
  logits, fit = ragged.make(fits, buffers)(params, batch)
  assert fit
  same(logits['classes'], want)
  # A token too many: the capacities do it.
  logits, fit = ragged.make(fits, (buffers[0], buffers[1] - 1))(params, batch)
  assert not fit
  same(logits['classes'], want)


def test_ragged_runs_vits_of_other_forms():
  """Gains of channels, register tokens, no biases, another activation."""
  model, batch, params, _ = models.build(
      'vit', layer_scale=0.1, registers=2, qkv_bias=False, activation='relu',
      num_layers=3)
  model = model.clone(ats=dict(blocks=(1, 2), capacity=(14, 12)))
  want = np.asarray(model.apply({'params': params}, batch)['classes'])
  logits, fit = ragged.make(model, (200, 200))(params, batch)
  assert fit
  same(logits['classes'], want)
  with pytest.raises(ValueError, match="head of this model reads 'class_mean'"):
    ragged.make(model.clone(head_reads='class_mean'), (200, 200))


def test_ragged_cuts_what_the_capacities_cut(vit):
  model, params, batch, _, counts = vit
  tight = model.clone(ats=dataclasses.replace(
      model.ats, capacity=tuple(np.median(counts, 1).astype(int).tolist())))
  want = np.asarray(tight.apply({'params': params}, batch)['classes'])
  logits, fit = ragged.make(tight, (400, 400))(params, batch)
  assert fit
  same(logits['classes'], want)


def test_what_cannot_be_ragged(vit):
  model = vit[0]
  with pytest.raises(ValueError, match='1 buffers for the 2 layers'):
    ragged.make(model, (10,))
  soft = model.clone(ats=dataclasses.replace(model.ats, grad='ste'))
  with pytest.raises(ValueError, match='hard selection'):
    ragged.make(soft, (10, 10))


def test_all_ways_say_the_same(vit):
  model, params, batch, want, counts = vit
  images = np.asarray(batch['image'])
  roomy = model.clone(ats=dataclasses.replace(
      model.ats, capacity=tuple(counts.max(1).tolist()), grad='ste', fill=True))
  ways = token_ways.make(roomy, params, 5, counts.mean(1), margin=0.5)
  assert [*ways] == ['dense', 'mask', 'capacity', 'sorted', 'ragged']
  for name, run in ways.items():
    if name != 'dense':
      same(run(images), want)
  assert ways['ragged'].fits == [True, True]
  whole = np.asarray(ways['dense'](images))
  assert np.abs(whole - want).max() > 1e-3 * np.abs(want).max()

  # Without capacities one is not there. A softmax that leaks reads tokens that
  # are gone.
  assert [*token_ways.make(model, params, 5, counts.mean(1))] == [
      'dense', 'mask', 'sorted', 'ragged']
  leaky = model.clone(ats=dataclasses.replace(model.ats, policy_eps=1e-6))
  assert [*token_ways.make(leaky, params, 5, counts.mean(1))] == [
      'dense', 'mask']
  with pytest.raises(ValueError, match='1e-06 leaks to tokens that are gone'):
    bucketed.Bucketed(leaky, params, batch=5)


def test_ways_take_turns(vit):
  model, _, batch, *_ = vit
  order = []
  run = lambda name: lambda images: order.append(name) or images
  found = token_ways.rates({'a': run('a'), 'b': run('b')}, np.zeros(7), 3)
  assert order == ['a', 'b'] * 3
  assert all(len(speeds) == 3 and speeds.min() > 0 for speeds in found.values())
  tight = model.clone(ats=dataclasses.replace(model.ats, capacity=9))
  example = {'image': batch['image'][:1]}
  paid = token_ways.macs(tight, example, 123.0)
  assert paid['dense'] == paid['mask'] > paid['capacity']
  assert paid['capacity'] == token_macs.fit(tight, example)((9, 9))
  assert paid['sorted'] == paid['ragged'] == 123.0
