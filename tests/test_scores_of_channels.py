"""Files of scores, and the divergence that they are made of."""
import json

from bst_jax import elastic
from bst_jax.pruning import scores
from bst_jax.pruning.scores import Scores
import jax.numpy as jnp
import models
import numpy as np
import pytest


def test_divergence_is_exact_where_logarithms_are_not():
  """From 1e-12 to 1, against float64; shifted logits are the same answer."""
  rng = np.random.default_rng(0)
  teacher = 3 * rng.standard_normal((40, 1000))
  for size in (1e-6, 1e-4, 1e-2, 1.0):
    student = teacher + size * rng.standard_normal(teacher.shape)
    given = teacher.astype(np.float32), student.astype(np.float32)
    a, b = (x.astype(np.float64) for x in given)
    a, b = (x - np.log(np.exp(x).sum(-1, keepdims=True)) for x in (a, b))
    want = (np.exp(a) * (a - b)).sum(-1)
    got = np.asarray(scores.divergence(*map(jnp.asarray, given)))
    assert (got >= 0).all()
    # The logits themselves are rounded to 1e-7 of about ten.
    np.testing.assert_allclose(got, want, rtol=2e-3, atol=1e-13)
  same = jnp.asarray(teacher, jnp.float32)
  np.testing.assert_allclose(scores.divergence(same, same + 2.0), 0, atol=1e-11)


def test_a_file_of_scores_comes_back(tmp_path):
  _, _, params, axes = models.build('vit')
  counts = scores.counts_of(params, axes)
  assert counts['embed'] == 16 and counts['mlp@encoder/layer_0/ffn'] == 32
  assert counts['heads@encoder/layer_0/attention'] == 16
  assert len(counts) == 1 + 2 * 4
  rng = np.random.default_rng(0)
  made = Scores('kl', elastic.fingerprint(params), {
      name: rng.random(n) * 1e-9 for name, n in counts.items()},
      {'encoder': rng.random(7)}, {'seed': 3})
  made.check(params, axes)
  made.save(tmp_path / 'scores.json')
  back = Scores.load(tmp_path / 'scores.json')
  assert (back.kind, back.model, back.about) == (
      made.kind, made.model, made.about)
  for name, values in {**made.channels, **made.depth}.items():
    np.testing.assert_array_equal(
        (back.channels | back.depth)[name], values)
  assert sorted(path.name for path in tmp_path.iterdir()) == ['scores.json']


@pytest.mark.parametrize('change, said', [
    (dict(kind='best'), 'kind of scores'),
    (dict(model='0' * 16), 'fingerprint 0000'),
    (dict(channels={'embed': [1.0, float('nan')]}), "score 1 of 'embed' is nan"),
    (dict(channels={'embed': [1.0] * 15}), "have 15 of 'embed', which has 16"),
    (dict(channels={'embd': [1.0] * 16}), "'embd'"),
    (dict(surplus=1), 'holds no scores of channels')])
def test_scores_of_something_else(tmp_path, change, said):
  _, _, params, axes = models.build('vit')
  path = tmp_path / 'scores.json'
  path.write_text(json.dumps(dict(
      kind='kl', model=elastic.fingerprint(params),
      channels={'embed': [1.0] * 16}) | change))
  with pytest.raises(ValueError, match=said):
    Scores.load(path).check(params, axes)


def test_tiny_scores_are_read_as_tiny(tmp_path):
  """In scientific notation: 8.6e-06 is almost nothing, not 6."""
  _, _, params, axes = models.build('vit')
  path = tmp_path / 'scores.json'
  values = ', '.join(['8.6e-06', '1E-7', *['0.5'] * 14])
  path.write_text(f'{{"kind": "kl", "model": "{elastic.fingerprint(params)}", '
                  f'"channels": {{"embed": [{values}]}}}}')
  found = Scores.load(path)
  found.check(params, axes)
  np.testing.assert_array_equal(
      found.channels['embed'], [8.6e-6, 1e-7, *[0.5] * 14])
