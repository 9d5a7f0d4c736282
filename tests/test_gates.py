"""Scores of channels by gates: exact ones are removal, Fisher's are near."""
import types

from bst_jax import elastic, tasks
from bst_jax.elastic import Choice
from bst_jax.pruning import exact, fisher, gates, scores, suffix
import jax
import jax.numpy as jnp
import models
import numpy as np
import pytest

TASK = tasks.create(dict(name='classes'))


def build(name, **changes):
  """An experiment as scorers take it, parameters and a batch with labels."""
  model, batch, params, axes = models.build(name, **changes)
  exp = types.SimpleNamespace(model=model, axes=axes, task=TASK, shapes=params,
                              example=lambda: batch)
  batch = batch | {'label': jnp.arange(4) % 7, 'mask': jnp.ones(4, bool)}
  return exp, params, batch


def some_of(sets):
  """The first set of each kind, and the last."""
  kinds = {}
  for name in sets:
    kinds.setdefault(elastic.base(name), []).append(name)
  return [name for names in kinds.values() for name in {
      names[0]: 0, names[-1]: 0}]


@pytest.mark.parametrize('name, layers', [('vit', 2), ('pvt', (1, 2))])
def test_exact_scores_are_those_of_models_without_the_channel(name, layers):
  """By brute force: zeros where nothing counts them, else cut out by hand."""
  exp, params, batch = build(name, num_layers=layers)
  run = jax.jit(lambda model, params: exact.logits(exp, model, params, batch),
                static_argnums=0)
  teacher = run(exp.model, params)
  sets = elastic.groups(exp.axes)
  for axis in some_of(sets):
    score = exact.Scorer(exp, axis)
    kept = score.start(params, batch)
    found = score(params, batch, teacher, kept, [0, 5])
    for j, got in zip((0, 5), found, strict=True):
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
      assert np.asarray(want).max() > 1e-8, axis
      np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-7, err_msg=axis)


@pytest.mark.parametrize('name, starts', [
    ('vit', {'embed': None, 'mlp@encoder/layer_1/ffn': ('encoder', 'layer_1'),
             'heads@encoder/layer_0/attention': ('encoder', 'layer_0')}),
    ('pvt', {'embed@stage_1': ('embed_1',), 'embed@stage_0': ('embed_0',),
             'reduced@stage_0/layer_3/reduction': ('stage_0', 'layer_3'),
             'mlp@stage_1/layer_1/ffn': ('stage_1', 'layer_1')})])
def test_a_model_is_run_from_where_a_set_begins(name, starts):
  exp, params, batch = build(name)
  for axis, start in starts.items():
    found = suffix.Suffix(exp, axis)
    assert found.start == start, axis
    assert (found.summed is not None) == axis.startswith('mlp'), axis
    kept = found.kept(lambda: exact.logits(exp, exp.model, params, batch))
    assert ('input' in kept) == (start is not None), axis
    assert ('hidden' in kept) == axis.startswith('mlp'), axis


def test_what_was_before_is_not_computed_again():
  """Fewer operations from layer to layer; of the last a class token's."""
  exp, params, batch = build('vit')
  teacher = exact.logits(exp, exp.model, params, batch)

  def work(axis):
    score = exact.Scorer(exp, axis)
    kept = score.start(params, batch)
    costs = score._run.lower(params, batch, teacher, kept, jnp.zeros(
        1, jnp.int32)).compile().cost_analysis()
    return costs['flops']

  whole, *layers = [work(axis) for axis in (
      'embed', *(f'mlp@encoder/layer_{i}/ffn' for i in range(4)))]
  assert layers[0] < 0.7 * whole and layers[3] < 0.05 * whole
  assert layers == sorted(layers, reverse=True)


def test_fisher_is_the_curvature_of_the_divergence():
  """By finite differences of gates, for every kind of set; answers are few."""
  exp, params, batch = build('pvt', num_layers=(1, 1))
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
  exp, params, batch = build('vit', num_layers=2)
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


def test_what_a_layer_scales_goes_through_one_gate():
  """DINOv2's gains behind a branch: half a channel is half, not a quarter."""
  model, batch, params, axes = models.build('vit', layer_scale=0.5)
  assert not any('layer_scale' in path for path in gates.paths_of(axes, 'embed'))
  gate = jnp.ones(16).at[3].set(0.5)
  half = gates.gated(params, axes, {'embed': gate})
  written = lambda tree: (tree['encoder']['layer_0']['ffn']['fc2']['kernel']
                          * tree['encoder']['layer_0']['layer_scale2'])
  np.testing.assert_allclose(written(half), written(params) * gate, rtol=1e-6)


@pytest.mark.parametrize('name', ['vit', 'pvt', 'mcan_vqa', 'cvt', 'uniter'])
def test_gates_of_calls_are_those_of_parameters(name):
  model, batch, params, axes = models.build(name)
  exp = types.SimpleNamespace(model=model, axes=axes, shapes=params,
                              example=lambda: batch)
  run = lambda params: models.only(model.apply({'params': params}, batch))
  ones, calls = gates.ones(params, axes), gates.Calls(exp)
  want, pull_want = jax.vjp(lambda some: run(
      gates.gated(params, axes, some)), ones)
  got, pull_got = jax.vjp(lambda some: calls.run(run, params, some), ones)
  np.testing.assert_allclose(got, want, rtol=1e-5)
  slope = jnp.asarray(np.random.default_rng(0).standard_normal(want.shape),
                      want.dtype)
  (want,), (got,) = pull_want(slope), pull_got(slope)
  for axis, value in want.items():
    np.testing.assert_allclose(
        got[axis], value, rtol=1e-3, atol=1e-4 * float(jnp.abs(value).max()),
        err_msg=axis)
