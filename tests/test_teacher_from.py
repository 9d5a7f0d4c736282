"""A frozen teacher of any other model, for plain training and the sandwich."""
import types

from bst_jax import elastic, methods, tasks
from bst_jax.elastic import Space
from bst_jax.run import experiment, teachers
import chex
import jax
import jax.numpy as jnp
import ml_collections
import models
import numpy as np
import optax
import pytest

TASK = tasks.create(dict(name='gqa'))
SPACE = Space(('1/2', '1'), ('1/2', '1'))


def make(other, name='plain', **options):
  """A method on a small model, taught by another."""
  model, batch, params, axes = models.toy(num_layers=2)
  method = methods.create(
      dict(name=name) | options, other, model=model, task=TASK,
      tx=optax.sgd(1.0), axes=axes, space=SPACE, micro_batches=1)
  return method, batch, params, model


def teacher():
  """One of another width and depth, and its parameters."""
  model, _, params, _ = models.toy(width=4, mlp=12, num_layers=3)
  return model, params


def loss_of(model, params, batch, soft):
  return tasks.taught(TASK, model.apply({'params': params}, batch), soft, batch)


def test_plain_training_learns_what_the_teacher_says():
  other, taught_by = teacher()
  soft = TASK.soften(other.apply({'params': taught_by},
                                 models.toy(num_layers=2)[1]))
  method, batch, params, model = make(other)
  state = method.init(jax.random.key(0), params, taught_by)
  new, metrics = jax.jit(method.step)(state, {'train': batch})
  loss, grads = jax.value_and_grad(
      lambda p: loss_of(model, p, batch, soft))(params)
  np.testing.assert_allclose(metrics['loss/full'], loss, rtol=1e-5)
  chex.assert_trees_all_close(
      jax.tree.map(jnp.subtract, params, new.params), grads, atol=1e-4)
  chex.assert_trees_all_equal(new.frozen['teacher'], taught_by)

  weighed, *_ = make(other, gt_weight=0.5, teacher_weight=2.0)
  _, both = jax.jit(weighed.step)(state, {'train': batch})
  hard = tasks.hard(TASK, model.apply({'params': params}, batch), batch)
  np.testing.assert_allclose(both['loss/full'], 2 * loss + 0.5 * hard,
                             rtol=1e-5)


def test_a_sandwich_is_taught_by_another_model_from_random_parameters():
  other, taught_by = teacher()
  method, batch, params, model = make(other, 'bst', sampled=0)
  assert not method.pretrained
  state = method.init(jax.random.key(0), params, taught_by)
  _, metrics = jax.jit(method.step)(state, {'train': batch})
  soft = TASK.soften(other.apply({'params': taught_by}, batch))
  np.testing.assert_allclose(metrics['loss/full'],
                             loss_of(model, params, batch, soft), rtol=1e-5)


@pytest.mark.parametrize('options, said', [
    (dict(name='bst', teacher='inplace', sampled=0), "to 'frozen', or leave"),
    (dict(name='own_methods.two_streams'), 'nobody teaches in method'),
])
def test_methods_without_such_a_teacher_say_so(options, said):
  with pytest.raises(ValueError, match=said):
    make(teacher()[0], **options)


def test_weights_without_a_teacher_are_refused():
  with pytest.raises(ValueError, match='there is no teacher: set config.teach'):
    make(None, gt_weight=0.5)


# --- what a teacher must know -------------------------------------------------

def build(width, image_size=16, classes=3):
  config = ml_collections.ConfigDict(dict(
      seed=0, space=dict(widths=('1',), depths=('1',)),
      task=dict(name='classify'), model=dict(
          name='vit', patch=8, width=width, heads=2, mlp=8, num_layers=1)))
  return experiment.build(
      config, dict(num_answers=classes, image_size=image_size))


@pytest.fixture
def workdir(tmp_path):
  (tmp_path / 'vocab').mkdir()
  (tmp_path / 'vocab' / 'answers.json').write_text('["a", "b", "c"]')
  return tmp_path


def data_of(exp, answers=('a', 'b', 'c')):
  return types.SimpleNamespace(
      vocabularies={'answers': answers},
      example={name: np.asarray(x) for name, x in exp.example(2).items()})


def test_a_teacher_of_another_width_may_teach(workdir):
  student = build(8)
  teachers.check(dict(teacher_from=str(workdir)), build(16), student,
                 data_of(student))


def test_a_teacher_of_other_answers_or_inputs_may_not(workdir):
  config, student = dict(teacher_from=str(workdir)), build(8)
  with pytest.raises(ValueError, match='its answers .* teach the wrong ones'):
    teachers.check(config, build(16), student, data_of(student, ('c', 'b', 'a')))
  with pytest.raises(ValueError, match='cannot read a batch of these data'):
    teachers.check(config, build(16, image_size=32), student, data_of(student))
  (workdir / 'vocab' / 'answers.json').unlink()
  with pytest.raises(ValueError, match='nothing says what its answers are'):
    teachers.check(config, build(16), student, data_of(student))


def test_the_experiment_of_a_workdir_is_the_teacher():
  assert teachers.of({}) is teachers.of(dict(teacher_from=None)) is None
  assert elastic.size(build(16).shapes) > elastic.size(build(8).shapes)
