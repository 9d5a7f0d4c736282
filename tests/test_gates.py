"""Scores of channels by gates: exact ones are removal, Fisher's are near."""
import types

from bst_jax import elastic, tasks
from bst_jax.elastic import Choice
from bst_jax.pruning import exact, fisher, gates, scores
import jax
import jax.numpy as jnp
import models
import numpy as np
import pytest

TASK = tasks.create(dict(name='classes'))


def build(name):
  """An experiment as scorers take it, parameters and a batch with labels."""
  model, batch, params, axes = models.build(name)
  exp = types.SimpleNamespace(model=model, axes=axes, task=TASK, shapes=params)
  batch = batch | {'label': jnp.arange(4) % 7, 'mask': jnp.ones(4, bool)}
  return exp, params, batch


def some_of(sets):
  """The first set of each kind, and the last."""
  kinds = {}
  for name in sets:
    kinds.setdefault(elastic.base(name), []).append(name)
  return [name for names in kinds.values() for name in {
      names[0]: 0, names[-1]: 0}]


@pytest.mark.parametrize('name', ['vit', 'pvt'])
def test_exact_scores_are_those_of_models_without_the_channel(name):
  """By brute force: zeros where nothing counts them, else cut out by hand."""
  exp, params, batch = build(name)
  run = jax.jit(lambda model, params: exact.logits(exp, model, params, batch),
                static_argnums=0)
  teacher, shared = run(exp.model, params), {}
  sets = elastic.groups(exp.axes)
  for axis in some_of(sets):
    score = exact.scorer(exp, axis, shared)
    for j in (0, 5):
      if elastic.base(axis) in gates.EXACT:
        flat = {path: np.array(leaf) for path, leaf in elastic.flatten(
            params).items()}
        for path, dim in sets[axis]:  # Zeros in all that the channel owns.
          leaf = flat[path]
          if elastic.base(axis) == 'heads':
            head, channel = divmod(j, leaf.shape[dim + 1])
            np.moveaxis(leaf, (dim, dim + 1), (0, 1))[head, channel] = 0
          else:
            np.moveaxis(leaf, dim, 0)[j] = 0
        without = jax.tree.unflatten(jax.tree.structure(params), [
            flat[path] for path in elastic.flatten(params)])
        small = exp.model
      else:
        size = elastic.flatten(params)[sets[axis][0][0]].shape[sets[axis][0][1]]
        choice = Choice(keep={axis: [i for i in range(size) if i != j]})
        small = exp.model.chosen(choice)
        without = elastic.cut(params, exp.axes, choice, exp.model.stacks)
      want = scores.divergence(teacher, run(small, without))
      got = score(params, batch, teacher, j)
      assert np.asarray(want).max() > 1e-8, axis
      np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-7, err_msg=axis)
  # All hidden units and channels of heads share one program.
  assert shared['gates']._cache_size() == 1


def test_fisher_is_the_curvature_of_the_divergence():
  """By finite differences of gates, for every kind of set; answers are few."""
  exp, params, batch = build('pvt')
  found = fisher.scorer(exp)(params, batch)
  teacher = exact.logits(exp, exp.model, params, batch)
  whole = gates.ones(params, exp.axes)

  @jax.jit
  def near(name_gates):
    return scores.divergence(teacher, exact.logits(exp, exp.model, gates.gated(
        params, exp.axes, whole | name_gates), batch))

  for axis in some_of(elastic.groups(exp.axes)):
    assert found[axis].shape == (4, whole[axis].size)
    for j in (1, 6):
      step = 0.02
      ahead, behind = (near({axis: whole[axis].at[j].add(sign * step)})
                       for sign in (1, -1))
      want = (ahead + behind) / 2 / step ** 2
      np.testing.assert_allclose(found[axis][:, j], want, rtol=0.1,
                                 atol=1e-3 * float(jnp.max(want)), err_msg=axis)


def test_taylor_is_the_squared_slope_of_the_loss():
  exp, params, batch = build('vit')
  found = fisher.taylor(exp)(params, batch)
  whole = gates.ones(params, exp.axes)

  def loss(axis, gate, row):
    outputs = exp.model.apply({'params': gates.gated(
        params, exp.axes, whole | {axis: gate})}, batch)
    return TASK.loss(outputs, batch, None)['classes'].loss[row]

  for axis in ('embed', 'mlp@encoder/layer_1/ffn'):
    slope = jax.grad(loss, 1)(axis, whole[axis], 2)
    np.testing.assert_allclose(found[axis][2], slope ** 2, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize('name', ['vit', 'pvt', 'mcan_vqa', 'cvt', 'ps_vit'])
def test_gates_of_one_change_nothing_and_of_zero_silence(name):
  model, batch, params, axes = models.build(name)
  ones = gates.ones(params, axes)
  same = gates.gated(params, axes, ones)
  for path, leaf in elastic.flatten(params).items():
    np.testing.assert_array_equal(elastic.flatten(same)[path], leaf)
  for axis in elastic.groups(axes):  # None is forgotten.
    assert gates.paths_of(axes, axis), axis
