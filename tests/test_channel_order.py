"""Channels in the order of their scores: the same model, better prefixes."""
import types

from bst_jax import elastic, tasks
from bst_jax.elastic import base, Submodel
from bst_jax.pruning import exact, fisher, gates, order, scoring
from bst_jax.pruning.scores import counts_of, Scores
import jax
import jax.numpy as jnp
import models
import numpy as np
import pytest


def build(name):
  """An experiment of questions, parameters, and a batch with answers."""
  model, batch, params, axes = models.build(name)
  exp = types.SimpleNamespace(
      model=model, axes=axes, shapes=params, example=lambda: batch,
      task=tasks.create(dict(name='vqa' if 'tokens' in batch else 'classify')))
  return exp, params, batch | {'mask': jnp.ones(
      len(batch.get('tokens', batch.get('image'))), bool)}


@pytest.mark.parametrize('name', ['vit', 'mcan_vqa', 'uniter'])
def test_order_changes_no_answer_and_puts_the_needed_first(name):
  exp, params, batch = build(name)
  rng = np.random.default_rng(0)
  scores = Scores('fisher', '', {
      axis: rng.random(count)
      for axis, count in counts_of(params, exp.axes).items()})
  choice = order.choice(scores, params, exp.axes)
  moved = elastic.cut(params, exp.axes, choice, exp.model.stacks)
  out = exp.task.outputs[0]
  run = jax.jit(lambda p: exp.model.apply({'params': p}, batch)[out])
  np.testing.assert_allclose(run(moved), run(params), rtol=2e-5, atol=2e-5)
  # Half the width is the better half of every set.
  half = elastic.Slices(exp.axes, exp.model.stacks).cut(
      moved, Submodel('1/2', 1))
  axis = next(axis for axis in choice.keep if base(axis) == 'mlp')
  path, dim = elastic.groups(exp.axes)[axis][0]
  best = np.argsort(-scores.channels[axis])[:scores.channels[axis].size // 2]
  whole, left = (np.moveaxis(np.asarray(elastic.flatten(tree)[path]), dim, 0)
                 for tree in (params, half))
  if whole.ndim == 1:
    np.testing.assert_array_equal(left, whole[best])
  for axis, kept in choice.keep.items():
    values = scores.channels[axis]
    if base(axis) == 'heads':
      values = values.reshape(len(kept), -1).sum(1)
    assert (np.diff(values[list(kept)]) <= 0).all()


def test_fisher_of_answers_each_for_itself():
  """Half of the sum over answers of p (1 - p) and the squared slope of a logit.
  """
  exp, params, batch = build('mcan_vqa')
  found = fisher.scorer(exp, classes=10 ** 6)(params, batch)
  whole = gates.ones(params, exp.axes)
  p = jax.nn.sigmoid(exact.logits(exp, exp.model, params, batch))
  for axis in (next(axis for axis in whole if base(axis) == 'mlp'), 'embed'):
    for j in (0, 5):
      _, slope = jax.jvp(lambda gate, axis=axis: exact.logits(
          exp, exp.model, gates.gated(params, exp.axes, whole | {axis: gate}),
          batch), (whole[axis],), (jnp.zeros_like(whole[axis]).at[j].set(1.0),))
      want = (p * (1 - p) * jnp.square(slope)).sum(-1) / 2
      assert found[axis].shape == (batch['mask'].size, whole[axis].size)
      np.testing.assert_allclose(found[axis][:, j], want, rtol=1e-3,
                                 atol=1e-6 * float(want.max()))


def test_divergences_need_one_right_answer():
  exp, params, batch = build('mcan_vqa')
  with pytest.raises(ValueError, match='take kind fisher'):
    scoring.score(exp, params, [batch], 'hybrid')
