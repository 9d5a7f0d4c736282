"""All kinds of scores of a model, gone on with after a kill."""
import dataclasses
import json

from bst_jax.elastic import base
from bst_jax.pruning import exact, gates, one_by_one, scoring
from bst_jax.pruning.scores import counts_of
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_gates import build


@pytest.fixture(scope='module')
def vit():
  exp, params, batch = build('vit')
  half = lambda rows: jax.tree.map(lambda x: x[rows], batch)
  batches = [half(slice(0, 2)), half(slice(2, 4))]
  batches[1]['mask'] = jnp.array([True, False])  # Three real pictures.
  return exp, params, batches


@pytest.mark.parametrize('kind', ['fisher', 'taylor', 'magnitude', 'random'])
def test_every_channel_has_a_score(vit, kind):
  exp, params, batches = vit
  found = scoring.score(exp, params, batches, kind, seed=3)
  assert {name: len(values) for name, values in found.channels.items()} == (
      counts_of(params, exp.axes))
  assert all((values >= 0).all() and values.std() > 0
             for values in found.channels.values())
  assert found.about['pictures'] == 3
  halves = found.about.get('agreement', {})
  assert (set(halves) == set(found.channels)) == (kind in ('fisher', 'taylor'))
  assert all(-1 <= value <= 1 for value in halves.values())
  found.check(params, exp.axes)
  again = scoring.score(exp, params, batches, kind, seed=3)
  for name, values in found.channels.items():
    np.testing.assert_array_equal(again.channels[name], values)


def test_magnitude_is_the_norm_of_what_a_channel_owns(vit):
  exp, params, batches = vit
  found = scoring.score(exp, params, batches, 'magnitude').channels
  ffn = params['encoder']['layer_0']['ffn']
  np.testing.assert_allclose(found['mlp@encoder/layer_0/ffn'] ** 2, (
      jnp.square(ffn['fc1']['kernel']).sum(0) + ffn['fc1']['bias'] ** 2
      + jnp.square(ffn['fc2']['kernel']).sum(1)), rtol=1e-5)


def test_hybrid_is_exact_where_a_normalisation_counts(vit):
  exp, params, batches = vit
  whole = scoring.score(exp, params, batches, 'hybrid')
  fisher = scoring.score(exp, params, batches, 'fisher')
  for name, values in whole.channels.items():
    same = np.array_equal(values, fisher.channels[name])
    assert same == (base(name) in gates.EXACT), name
  # Exact: the mean of the three pictures, of the model without a channel.
  run = exact.Scorer(exp, 'embed')
  parts = [run(params, b, exact.logits(exp, exp.model, params, b),
               run.start(params, b), [4])[0] for b in batches]
  np.testing.assert_allclose(whole.channels['embed'][4], (
      parts[0].sum() + parts[1][0]) / 3, rtol=1e-3)


@pytest.mark.parametrize('killed_at', [1, 6])
def test_scoring_goes_on_where_it_was_killed(
    vit, tmp_path, monkeypatch, caplog, killed_at):
  """Within a set and between two, to the same bits; what is done is not again.
  """
  exp, params, batches = vit
  monkeypatch.setattr(one_by_one, '_SAVED_EVERY', 0.0)
  sets = ['heads@encoder/layer_0/attention', 'mlp@encoder/layer_0/ffn',
          'mlp@encoder/layer_3/ffn', 'embed']
  counts = counts_of(params, exp.axes)
  run = lambda folder: one_by_one.score(
      exp, params, batches, {name: np.arange(counts[name]) for name in sets},
      folder, {'of': 'a test'})
  want, of, made = run(None), one_by_one._Run.of, []

  def fails(self, name, i):
    if len(made) == killed_at:
      raise KeyboardInterrupt
    made.append((name, i))
    return of(self, name, i)

  monkeypatch.setattr(one_by_one._Run, 'of', fails)
  with pytest.raises(KeyboardInterrupt):
    run(tmp_path)
  killed_at = -1
  with caplog.at_level('INFO', 'absl'):
    got = run(tmp_path)
  assert sorted(made) == sorted((name, i) for name in sets for i in range(2))
  for name in sets:
    np.testing.assert_array_equal(got[name], want[name])
  made.clear()  # All is there now: nothing is made once more.
  run(tmp_path)
  assert not made

  # Of another model, or damaged: told, and done anew.
  path = tmp_path / one_by_one.PART
  found = json.loads(path.read_text())
  for text in (json.dumps(found | {'settings': {}}), '{"settings": '):
    path.write_text(text)
    caplog.clear()
    nothing = one_by_one._read(path, found['settings'])
    assert nothing == {'sets': {}, 'begun': {}}
    assert 'scoring begins anew' in caplog.text.replace('\n', ' ')


def test_the_number_of_channels_side_by_side_changes_little(vit, monkeypatch):
  exp, params, batches = vit
  name = 'mlp@encoder/layer_0/ffn'
  some = {name: np.array([0, 3, 4, 7, 30])}
  one, four = (one_by_one.score(
      exp, params, batches, some, None, {}, chunk)[name] for chunk in (1, 4))
  np.testing.assert_allclose(four, one, rtol=1e-3, atol=1e-9)
  tried = one_by_one._Run(exp, params, batches, some, 0)
  assert tried.chunk == 1  # On a CPU, and nothing is tried.
  tried.tune(name)
  assert tried.chunk in one_by_one._CHUNKS


@pytest.mark.parametrize('rule', ['per_head', 'segment'])
def test_around_the_cut_the_order_is_exact(vit, rule, tmp_path, caplog):
  exp, params, batches = vit
  fisher = scoring.score(exp, params, batches, 'hybrid')
  wrong = dataclasses.replace(fisher, channels={
      name: np.random.default_rng(0).permutation(values)
      for name, values in fisher.channels.items()})
  mlp, heads = 'mlp@encoder/layer_1/ffn', 'heads@encoder/layer_2/attention'
  exact = one_by_one.score(exp, params, batches, {
      name: np.arange(wrong.channels[name].size) for name in (mlp, heads)},
                           None, {})
  sizes = {mlp: 8, heads: (4, 2) if rule == 'per_head' else (2, 4), 'embed': 9}
  found = scoring.refined(wrong, exp, params, batches, sizes, rule, 0.25,
                          tmp_path)
  for name in fisher.channels:
    np.testing.assert_array_equal(np.sort(found.channels[name]),
                                  np.sort(wrong.channels[name]))
    if name not in (mlp, heads):
      np.testing.assert_array_equal(found.channels[name], wrong.channels[name])
  want = (2 * exact[mlp][0] + exact[mlp][1]) / 3  # Of three pictures.
  order = np.argsort(wrong.channels[mlp], kind='stable')
  band = order[24 - 8:24 + 8]
  np.testing.assert_array_equal(
      np.argsort(found.channels[mlp][band]), np.argsort(want[band]))
  beyond = np.setdiff1d(order, band)
  np.testing.assert_array_equal(found.channels[mlp][beyond],
                                wrong.channels[mlp][beyond])
  # Heads row by row, each of which is cut for itself.
  want = (2 * exact[heads][0] + exact[heads][1]) / 3
  rows = 4 if rule == 'per_head' else 2
  for before, after, true in zip(*(values.reshape(rows, -1) for values in (
      wrong.channels[heads], found.channels[heads], want))):
    half, width = len(before) // 2, len(before) // 4
    band = np.argsort(before, kind='stable')[half - width:half + width]
    np.testing.assert_array_equal(np.argsort(after[band]),
                                  np.argsort(true[band]))
  assert found.about['refined'] == 0.25
  same = scoring.refined(wrong, exp, params, batches, sizes, rule, 0.0)
  assert same is wrong
  # Gone on with for the same cut, and begun anew for another.
  for other, said in ((8, '2 sets of channels are done'), (9, 'begins anew')):
    with caplog.at_level('INFO', 'absl'):
      caplog.clear()
      scoring.refined(wrong, exp, params, batches, sizes | {mlp: other}, rule,
                      0.25, tmp_path)
    assert said in caplog.text.replace('\n', ' ')


def test_a_model_of_nan_is_refused(vit):
  exp, params, batches = vit
  broken = jax.tree.map(jnp.copy, params)
  broken['head']['bias'] = broken['head']['bias'].at[0].set(jnp.nan)
  with pytest.raises(ValueError, match='is nan, which is no number'):
    scoring.score(exp, broken, batches, 'fisher')


def test_agreement_of_ranks():
  values = np.random.default_rng(0).random(50)
  assert scoring.agreement(values, np.exp(9 * values)) == pytest.approx(1)
  assert scoring.agreement(values, -values) == pytest.approx(-1)
