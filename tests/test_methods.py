"""Plain and sandwich training: what is summed, drawn, frozen and compiled."""
import re

from bst_jax import elastic, methods, tasks
from bst_jax.elastic import Space, Submodel
from bst_jax.interop import core, mcan_bst
import chex
import jax
import jax.numpy as jnp
import models
import numpy as np
import optax
import pytest

# The ten published submodels, on a model that compiles at once.
SPACE = Space(('1/4', '1/2', '3/4', '1'), ('1/6', '1/3', '2/3', '1'))
# Four, where nothing hangs on the draw.
SMALL = Space(('1/2', '1'), ('1/3', '1'), filter='none')
TASK = tasks.create(dict(name='vqa'))
ONE = tasks.create(dict(name='gqa'))


def make(model, axes, tx=None, micro=1, space=SPACE, task=TASK, name='bst',
         **options):
  return methods.create(
      dict(name=name) | options, model=model, task=task,
      tx=tx or optax.sgd(1.0), axes=axes, space=space, micro_batches=micro)


def one_step(method, params, batch, seed=0):
  """The gradients (rate one) and metrics of the first step."""
  new, metrics = jax.jit(method.step)(
      method.init(jax.random.key(seed), params), {'train': batch})
  return jax.tree.map(jnp.subtract, params, new.params), metrics


def drawn(key, sampled=3):
  """The middle submodels that a key draws, as the method documents."""
  draw, _ = jax.random.split(key)
  picks = jax.random.choice(draw, len(SPACE) - 2, (sampled,), replace=False)
  return [SPACE.submodels[1 + int(i)] for i in picks]


def step_key(seed, step=0):
  return jax.random.fold_in(jax.random.key(seed), step)


def direct_sum(model, params, batch, subs, soft):
  """Gradients of the loss summed over full-size parameters, and its terms."""
  def loss(params):
    each = [tasks.taught(TASK, model.apply(
        {'params': params}, batch, sub=sub), soft, batch) for sub in subs]
    return sum(each), each
  return jax.jit(jax.grad(loss, has_aux=True))(params)


def other_teacher(method_state, params):
  """A frozen teacher that differs from the student, so that grads do too."""
  teacher = jax.tree.map(lambda x: 0.5 * x + 0.1, params)
  return method_state.replace(frozen={'teacher': teacher}), teacher


# --- the sandwich -------------------------------------------------------------

def test_gradients_are_those_of_the_five_submodel_sum():
  model, batch, params, axes = models.toy()
  method = make(model, axes)
  begin, teacher = other_teacher(
      method.init(jax.random.key(3), params), params)
  new, metrics = jax.jit(method.step)(begin, {'train': batch})

  soft = TASK.soften(model.apply({'params': teacher}, batch))
  subs = [SPACE.submodels[-1], SPACE.submodels[0], *drawn(step_key(3))]
  assert len(set(subs)) == 5
  want, each = direct_sum(model, params, batch, subs, soft)
  got = jax.tree.map(jnp.subtract, params, new.params)
  chex.assert_trees_all_close(got, want, rtol=1e-3, atol=1e-4)
  assert optax.tree.norm(want) > 1
  np.testing.assert_allclose(metrics['loss/full'], each[0], rtol=1e-5)
  np.testing.assert_allclose(metrics['loss/smallest'], each[1], rtol=1e-5)
  np.testing.assert_allclose(metrics['loss/sampled'],
                             np.mean(each[2:]), rtol=1e-5)
  np.testing.assert_allclose(metrics['grad_norm'], optax.tree.norm(want),
                             rtol=1e-4)


def test_every_micro_batch_draws_anew():
  model, batch, params, axes = models.toy()
  keys = jax.random.split(step_key(1), 2)
  draws = [drawn(key) for key in keys]
  assert set(draws[0]) != set(draws[1])  # Or the seed shows nothing.
  got, metrics = one_step(make(model, axes, micro=2), params, batch, seed=1)

  wants, sampled = [], []
  for rows, middle in zip((slice(0, 8, 2), slice(1, 8, 2)), draws):
    part = {key: x[rows] for key, x in batch.items()}
    soft = TASK.soften(model.apply({'params': params}, part))
    ends = [SPACE.submodels[-1], SPACE.submodels[0]]
    want, each = direct_sum(model, params, part, ends + middle, soft)
    wants.append(want)
    sampled.append(np.mean(each[2:]))
  chex.assert_trees_all_close(
      got, jax.tree.map(jnp.add, *wants), rtol=1e-3, atol=1e-4)
  np.testing.assert_allclose(metrics['loss/sampled'], sum(sampled), rtol=1e-5)


def test_one_program_whatever_is_drawn():
  model, batch, params, axes = models.toy(dropout=0.1)
  method, traces = make(model, axes, optax.sgd(1e-4)), []

  @jax.jit
  def step(now, batch):
    traces.append(1)
    return method.step(now, {'train': batch})

  now, draws = method.init(jax.random.key(0), params), set()
  for n in range(5):
    draws.add(tuple(drawn(step_key(0, n))))
    now, _ = step(now, batch)
  assert len(draws) > 2
  assert len(traces) == step._cache_size() == 1
  assert int(now.step) == 5


def test_draws_and_dropout_come_from_the_key_and_the_step():
  model, batch, params, axes = models.toy(dropout=0.3)
  method = make(model, axes, space=SMALL, sampled=1)
  step = jax.jit(method.step)
  begin = method.init(jax.random.key(0), params)
  batch = {'train': batch}
  first, _ = step(begin, batch)
  again, _ = step(begin, batch)
  chex.assert_trees_all_equal(first.params, again.params)
  later, _ = step(begin.replace(step=jnp.int32(1)), batch)
  other, _ = step(begin.replace(rng=jax.random.key(1)), batch)
  for new in (later, other):
    assert abs(new.params['out']['bias'] - first.params['out']['bias']
               ).max() > 1e-4


def test_a_step_without_samples_trains_the_two_ends():
  model, batch, params, axes = models.toy()
  got, metrics = one_step(make(model, axes, sampled=0), params, batch)
  soft = TASK.soften(model.apply({'params': params}, batch))
  ends = [SPACE.submodels[-1], SPACE.submodels[0]]
  want, _ = direct_sum(model, params, batch, ends, soft)
  chex.assert_trees_all_close(got, want, rtol=1e-3, atol=1e-4)
  assert 'loss/sampled' not in metrics


# --- teachers -----------------------------------------------------------------

def test_the_frozen_teacher_never_changes_and_labels_do_not_count():
  model, batch, params, axes = models.toy()
  method = make(model, axes, optax.adam(1e-2), space=SMALL, sampled=1)
  assert method.pretrained
  begin, teacher = other_teacher(
      method.init(jax.random.key(0), params), params)
  step, now, blind = jax.jit(method.step), begin, begin
  unlabelled = batch | {'target': jnp.zeros_like(batch['target'])}
  for _ in range(4):
    now, metrics = step(now, {'train': batch})
    blind, _ = step(blind, {'train': unlabelled})
  chex.assert_trees_all_equal(now.frozen['teacher'], teacher)
  chex.assert_trees_all_equal(now.params, blind.params)
  assert abs(now.params['out']['bias'] - params['out']['bias']).max() > 1e-2


def test_the_teacher_is_where_training_starts_and_full_has_nothing_to_learn():
  model, batch, params, axes = models.toy()
  kl = ONE
  method = make(model, axes, task=kl, sampled=0)
  begin = method.init(jax.random.key(0), params)
  chex.assert_trees_all_equal(begin.frozen['teacher'], params)
  _, metrics = one_step(method, params, batch)
  assert abs(metrics['loss/full']) < 1e-4 < metrics['loss/smallest']


def test_weight_of_labels_adds_their_loss():
  model, batch, params, axes = models.toy()
  _, without = one_step(make(model, axes, sampled=0), params, batch)
  _, metrics = one_step(
      make(model, axes, sampled=0, gt_weight=0.5), params, batch)
  for name, sub in (('full', elastic.FULL),
                    ('smallest', SPACE.submodels[0])):
    hard = tasks.hard(TASK, model.apply({'params': params}, batch, sub=sub),
                      batch)
    np.testing.assert_allclose(
        metrics[f'loss/{name}'] - without[f'loss/{name}'], 0.5 * hard,
        rtol=1e-4)


def test_without_a_teacher_all_learn_from_labels():
  model, batch, params, axes = models.toy()
  method = make(model, axes, teacher='labels', sampled=0)
  assert not method.pretrained
  assert method.init(jax.random.key(0), params).frozen is None
  got, _ = one_step(method, params, batch)
  ends = [SPACE.submodels[-1], SPACE.submodels[0]]
  want, _ = direct_sum(model, params, batch, ends, batch['target'])
  chex.assert_trees_all_close(got, want, rtol=1e-3, atol=1e-4)


def test_in_place_the_full_model_learns_from_labels_and_teaches():
  model, batch, params, axes = models.toy()
  method = make(model, axes, teacher='inplace', sampled=0)
  assert not method.pretrained
  assert method.init(jax.random.key(0), params).frozen is None
  got, metrics = one_step(method, params, batch)

  smallest = SPACE.submodels[0]
  logits = model.apply({'params': params}, batch)
  fit = lambda p, sub, target: tasks.taught(
      TASK, model.apply({'params': p}, batch, sub=sub), target, batch)
  full, g_full = jax.value_and_grad(fit)(params, elastic.FULL, batch['target'])
  # The teacher's answers are constants: no slope goes back through them.
  small, g_small = jax.value_and_grad(fit)(
      params, smallest, TASK.soften(logits))
  np.testing.assert_allclose(metrics['loss/full'], full, rtol=1e-5)
  np.testing.assert_allclose(metrics['loss/smallest'], small, rtol=1e-5)
  chex.assert_trees_all_close(
      got, jax.tree.map(jnp.add, g_full, g_small), rtol=1e-3, atol=1e-4)


# --- learning -----------------------------------------------------------------

@pytest.mark.parametrize('options', [
    dict(name='plain'),
    dict(teacher='inplace', gt_weight=1.0, space=SMALL, sampled=1),
], ids=['plain', 'bst'])
def test_the_loss_falls(options):
  model, batch, params, axes = models.toy(dropout=0.05)
  # One answer is right: the loss has no floor but zero.
  method = make(model, axes, optax.adam(3e-3), task=ONE,
                **options)
  step, now, history = jax.jit(method.step), method.init(
      jax.random.key(0), params), []
  for _ in range(60):
    now, metrics = step(now, {'train': batch})
    history.append(metrics)
  for name in {'loss/full', 'loss/smallest', 'loss/sampled'} & metrics.keys():
    first, last = (np.mean([m[name] for m in part])
                   for part in (history[:5], history[-5:]))
    assert last < 0.9 * first, name


def test_masked_examples_teach_nothing():
  model, batch, params, axes = models.toy()
  row = int(jnp.argmin(batch['mask']))
  assert not batch['mask'][row]
  other = batch | {'regions': batch['regions'].at[row].set(9.0)}
  for options in (dict(name='plain'), dict(space=SMALL, sampled=1)):
    method = make(model, axes, **options)
    chex.assert_trees_all_close(one_step(method, params, batch)[0],
                                one_step(method, params, other)[0], atol=1e-6)


# --- mistakes -----------------------------------------------------------------

@pytest.mark.parametrize('options, message', [
    (dict(name='bts'), "no method 'bts'. Did you mean 'bst'"),
    (dict(samples=3), "no option of method bst 'samples'. Did you.*'sampled'"),
    (dict(name='plain', sampled=3), "no option of method plain 'sampled'"),
    (dict(teacher='ema'), "no teacher 'ema'.*frozen, inplace, labels"),
    (dict(sampled=9), 'sampled=9 .* the 8 between .* choose 0 to 8'),
    (dict(sampled=-1), 'sampled=-1 '),
    (dict(space=Space()), 'at least two submodels.*or use method plain'),
    (dict(space=Space(('1/3', '1'), ('1',)), sampled=0),
     'width 1/3 keeps 2.66667 of the 8'),
])
def test_impossible_methods_say_so(options, message):
  model, _, _, axes = models.toy()
  with pytest.raises(ValueError, match=message):
    make(model, axes, **options)


# --- the published network ----------------------------------------------------

def test_tensors_that_the_smallest_submodel_reaches():
  """Of 281, 210 get no gradient; the others none in their unused slices.

  The released code skips 5 encoder layers of 16 and 5 decoder layers of 26
  tensors: the encoder keeps its first, the decoder its last.
  """
  model, batch, params, axes = models.build('mcan_vqa', num_layers=6)
  smallest = Submodel('1/4', '1/6')
  grads = jax.jit(jax.grad(lambda p: jnp.square(
      model.apply({'params': p}, batch, sub=smallest)['answers']).sum()))(
          params)
  foreign = core.write(mcan_bst.TABLE, grads)
  assert len(foreign) == 281

  skipped = {name for name in foreign if re.match(
      r'backbone\.(enc_list\.[1-5]|dec_list\.[0-4])\.', name)}
  assert len(skipped) == 210
  # Zero in exact arithmetic: a shift of all scores changes no softmax.
  shifts = re.compile(r'.*linear_k\.bias|attflat_\w+\.linear\.bias')
  for name, grad in foreign.items():
    if name in skipped:
      assert not grad.any(), name
    elif not shifts.fullmatch(name):
      assert grad.any(), name

  # What is left is zero too, outside of the prefix.
  slices = elastic.Slices(axes, model.stacks)
  ones = jax.tree.map(jnp.ones_like, slices.cut(params, smallest))
  inside = slices.add_into(
      jax.tree.map(jnp.zeros_like, params), ones, smallest)
  outside = jax.tree.map(lambda g, i: jnp.where(i == 0, g, 0), grads, inside)
  assert all(not leaf.any() for leaf in jax.tree.leaves(outside))
  assert elastic.size(ones) < 0.5 * elastic.size(params)


def test_a_visual_trunk_runs_once_for_all_submodels():
  changes = dict(num_layers=2, dropout=0.0)
  model, batch, params, axes = models.build('clip_vil', **changes)
  batch = batch | models.batch_of('target', 'mask')
  space = Space(('1/2', '1'), ('1/2', '1'))
  method = make(model, axes, space=space, sampled=1)
  begin, teacher = other_teacher(
      method.init(jax.random.key(0), params), params)
  step = jax.jit(method.step).trace(begin, {'train': batch})
  new, _ = step.lower().compile()(begin, {'train': batch})

  soft = TASK.soften(model.apply({'params': teacher}, batch))
  want, _ = direct_sum(model, params, batch, space.submodels, soft)
  got = jax.tree.map(jnp.subtract, params, new.params)
  chex.assert_trees_all_close(got, want, rtol=1e-3, atol=1e-3)
  trunk = elastic.flatten(got)['visual/conv1/kernel']
  assert jnp.abs(trunk).max() > 1e-3

  count = lambda program: len(re.findall(
      r'conv_general_dilated\[', str(program)))
  forward = count(jax.make_jaxpr(lambda p: model.apply(
      {'params': p}, batch))(params))
  # The teacher, the trunk, and its two products backward less the first's.
  assert forward and count(step.jaxpr) <= 4 * forward
