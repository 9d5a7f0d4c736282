"""Features that a head reads: handed out, paired by a choice, learnt from."""
import types

from bst_jax import elastic, methods, tasks
from bst_jax.elastic import Choice, Space, Submodel
from bst_jax.layers import features
from bst_jax.run import experiment, teachers
from bst_jax.run import start as starts
from bst_jax.store import checkpoint
from bst_jax.store import workdir as workdirs
import jax
import jax.numpy as jnp
import ml_collections
import models
import numpy as np
import optax
import pytest

TELL = 'vit', 'cvt', 'pvt', 'ps_vit', 'timesformer', 'xvit'
TASK = tasks.create(dict(name='classes'))
KEPT = (14, 3, 5, 0, 9)


@pytest.mark.parametrize('name', TELL)
def test_they_are_what_the_head_reads(name):
  model, batch, params, axes = models.build(name)
  _, sown = model.apply({'params': params}, batch, mutable=[features.SOWN])
  seen = features.of(sown)
  assert seen.shape == (len(next(iter(batch.values()))), 16)
  kernel = 'head/kernel' if name != 'xvit' else 'head/fc1/kernel'
  assert (kernel, 0) in elastic.groups(axes)[features.axis(axes)]
  # Without the features the answers are the head's bias alone.
  blank = jax.tree.map(jnp.copy, params)
  blank['head'] = jax.tree.map(lambda x: 0 * x, params['head'])
  if name in ('vit', 'pvt', 'cvt', 'timesformer', 'ps_vit'):
    head = params['head']
    logits = models.only(model.apply({'params': params}, batch))
    np.testing.assert_allclose(
        seen @ head['kernel'] + head['bias'], logits, atol=1e-4)


def pruned(name='pvt'):
  """A parent, and the smaller one of which some features are kept."""
  model, batch, params, axes = models.build(name)
  choice = Choice(keep={features.axis(axes): KEPT})
  small = model.chosen(choice)
  cut = elastic.cut(params, axes, choice, model.stacks)
  batch = batch | {'label': jnp.arange(4) % 7, 'mask': jnp.arange(4) != 2}
  return model, params, small, cut, batch


def step(small, cut, batch, teacher, **options):
  method = methods.create(
      dict(name='plain') | options, teacher, np.asarray(KEPT), model=small,
      task=TASK, tx=optax.sgd(0.0), axes=None, space=Space(('1',), ('1',)),
      micro_batches=1)
  return method


def test_a_student_learns_the_features_that_it_kept():
  """And the loss is the sum of what it is asked for, rows of padding apart."""
  parent, params, small, cut, batch = pruned()
  look = lambda model, p: features.of(model.apply(
      {'params': p}, batch, mutable=[features.SOWN])[1])
  square = jnp.square(look(small, cut) - look(parent, params)[:, KEPT])
  wanted = square[jnp.asarray([0, 1, 3])].mean()
  assert wanted > 1e-3
  losses = {}
  for weight in (0.0, 20.0):
    method = step(small, cut, batch, parent, feature_weight=weight,
                  gt_weight=1.0, teacher_weight=6.4)
    state = method.init(jax.random.key(0), cut, params)
    _, metrics = jax.jit(method.step)(state, {'train': batch})
    losses[weight] = metrics['loss/full']
  np.testing.assert_allclose(losses[20.0] - losses[0.0], 20 * wanted, rtol=1e-3)
  told = lambda model, p: model.apply({'params': p}, batch)
  np.testing.assert_allclose(losses[0.0], tasks.mixed(
      TASK, told(small, cut), TASK.soften(told(parent, params)), batch, None,
      1.0, 6.4), rtol=1e-5)


def of_workdirs(tmp_path, choice, name='pvt'):
  """Experiments of a parent and of its part, and where the part is to start."""
  config = ml_collections.ConfigDict(dict(
      model=models.TINY[name][0], task=dict(name='classes'),
      method=dict(name='plain', feature_weight=1.0), teacher_from='runs/parent',
      space=dict(widths=('1',), depths=('1',)), data=dict(name='none')))
  parent = experiment.build(config, dict(num_answers=7, image_size=16))
  small = experiment.chosen(parent, choice)
  workdirs.write_choice(tmp_path, {
      'keep': {k: list(v) for k, v in choice.keep.items()},
      'submodel': str(choice.submodel),
      'model': elastic.fingerprint(parent.shapes)})
  return config, parent, small, starts.Start(tmp_path)


@pytest.mark.parametrize('choice, wanted', [
    (Choice(keep={'embed@stage_1': KEPT}), KEPT),
    (Choice(Submodel('1/2')), tuple(range(8))),
    (Choice(Submodel('1/2'), keep={'embed@stage_1': (9, 2, 7, 1)}), (9, 2)),
    (Choice(keep={'embed@stage_0': KEPT}), tuple(range(16)))])
def test_a_choice_pairs_them(tmp_path, choice, wanted):
  config, parent, small, start = of_workdirs(tmp_path, choice)
  got = teachers.paired(config, parent, small, start)
  np.testing.assert_array_equal(got, wanted)
  # Of another parent the same numbers mean other channels.
  (tmp_path / workdirs.CHOICE).write_text('{"model": "0000000000000000"}')
  if len(wanted) == 16:
    assert teachers.paired(config, parent, small, start) is None
  else:
    with pytest.raises(ValueError, match='16 features and the model'):
      teachers.paired(config, parent, small, start)


def test_a_choice_that_is_cut_at_the_start_pairs_them_too(tmp_path):
  config, parent, small, start = of_workdirs(
      tmp_path, Choice(keep={'embed@stage_1': KEPT}))
  checkpoint.save_params(tmp_path, models.random_params(parent.shapes))
  choice = Choice(keep={'embed@stage_1': KEPT})  # Of whatever it cuts.
  start = starts.Start(start.workdir, choice=choice)
  np.testing.assert_array_equal(
      teachers.paired(config, parent, small, start), KEPT)


def test_models_without_features_and_losses_that_are_sums():
  exp = types.SimpleNamespace(
      config=ml_collections.ConfigDict(dict(model=dict(name='mcan'))))
  model, batch, params, axes = models.build('mcan_vqa')
  exp.model, exp.axes, exp.shapes = model, axes, params
  exp.example = lambda: batch
  config = dict(method=dict(feature_weight=1.0), teacher_from='runs/mcan')
  with pytest.raises(ValueError, match='a mcan, which hands out none'):
    teachers.paired(config, exp, exp, None)
  parent, _, small, cut, batch = pruned()
  with pytest.raises(ValueError, match='feature_weight weigh a teacher'):
    methods.create(dict(name='plain', feature_weight=1.0), model=small,
                   task=TASK, tx=None, axes=None, space=None, micro_batches=1)
  summed = tasks.create(dict(name='classes', reduction='sum'))
  with pytest.raises(ValueError, match='set config.task.reduction to mean_batch'):
    methods.create(dict(name='plain', feature_weight=1.0), parent, model=small,
                   task=summed, tx=None, axes=None, space=None, micro_batches=1)
