"""All kinds of scores of a model, gone on with after a kill."""
import json

from bst_jax import elastic
from bst_jax.elastic import base
from bst_jax.pruning import exact, gates, scoring
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


def test_hybrid_is_exact_where_a_normalisation_counts_and_goes_on(
    vit, tmp_path, monkeypatch, caplog):
  """Bit for bit after a kill in the middle, without work that was done."""
  exp, params, batches = vit
  whole = scoring.score(exp, params, batches, 'hybrid')
  fisher = scoring.score(exp, params, batches, 'fisher')
  for name, values in whole.channels.items():
    same = np.array_equal(values, fisher.channels[name])
    assert same == (base(name) in gates.EXACT), name
  # Exact: the mean of the three pictures, of the model without a channel.
  run = exact.scorer(exp, 'embed', {})
  teacher = [exact.logits(exp, exp.model, params, b) for b in batches]
  parts = [run(params, b, t, 4) for b, t in zip(batches, teacher)]
  np.testing.assert_allclose(whole.channels['embed'][4], (
      parts[0].sum() + parts[1][0]) / 3, rtol=1e-3)

  sets = [name for name in elastic.groups(exp.axes)
          if 'layer_0' in name or name == 'embed']
  monkeypatch.setattr(scoring, 'counts_of', lambda shapes, axes: {
      name: count for name, count in counts_of(shapes, axes).items()
      if name in sets})
  want = scoring.score(exp, params, batches, 'kl')
  made, scorer = [], exact.scorer

  def fails(exp, name, shared):
    if len(made) == 2:
      raise KeyboardInterrupt
    made.append(name)
    return scorer(exp, name, shared)

  monkeypatch.setattr(exact, 'scorer', fails)
  with pytest.raises(KeyboardInterrupt):
    scoring.score(exp, params, batches, 'kl', folder=tmp_path)
  first = list(made)
  made[:] = ['done', 'done', 'so that none fails']
  with caplog.at_level('INFO', 'absl'):
    got = scoring.score(exp, params, batches, 'kl', folder=tmp_path)
  assert '2 sets of channels are done' in caplog.text
  assert set(first) | set(made[3:]) == set(sets) and not (
      set(first) & set(made[3:]))
  for name, values in want.channels.items():
    np.testing.assert_array_equal(got.channels[name], values)

  # Of another model, or damaged: told, and done anew.
  path = tmp_path / scoring.PART
  found = json.loads(path.read_text())
  for text in (json.dumps(found | {'settings': {}}), '{"settings": '):
    path.write_text(text)
    caplog.clear()
    assert scoring._read(tmp_path, found['settings']) == {}
    assert 'scoring begins anew' in caplog.text.replace('\n', ' ')


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
