"""Ordinary training of the full model, on labels or from another model."""
from bst_jax import tasks
from bst_jax.elastic import FULL
from bst_jax.learn import paths
from bst_jax.learn import state as states
from bst_jax.learn.state import Method, Pass
import jax


def make(model, task, tx, *, axes, space, micro_batches, teacher_model=None,
         teacher_weight=1.0, gt_weight=None) -> Method:
  """Trains the full model on the annotators' answers, or on a teacher's.

  Args:
    model: a module called as model(batch, train=...).
    task: gives the loss, and softens a teacher's outputs.
    tx: an optax transformation.
    axes: axis names, unused here.
    space: submodels, unused here.
    micro_batches: parts of a batch that are worked on one after the other.
    teacher_model: another model, frozen, whose answers are learnt.
    teacher_weight: weight of the loss from the teacher, where there is one.
    gt_weight: weight of the labels' loss; 1, or 0 where there is a teacher.

  Reference: Hinton et al., arXiv 1503.02531. Differs: no temperature but that
    of the task.
  """
  del axes, space
  if gt_weight is None:
    gt_weight = 1.0 if teacher_model is None else 0.0
  _check(task, teacher_model, teacher_weight, gt_weight)

  def init(rng, params, taught_by=None):
    frozen = None if taught_by is None else {'teacher': taught_by}
    return states.start(rng, params, tx, frozen=frozen)

  def grads_of(state, batch, key):
    trained, rest = states.trained(state.params, tx)
    soft = None if teacher_model is None else task.soften(teacher_model.apply(
        {'params': state.frozen['teacher']}, batch))

    def loss(trained):
      outputs, written = states.forward(
          model, paths.join(trained, rest), batch, key)
      return tasks.mixed(task, outputs, soft, batch, key, gt_weight,
                         teacher_weight), written

    (loss, written), grads = jax.value_and_grad(loss, has_aux=True)(trained)
    return grads, {'loss/full': loss}, written

  def step(state, batches):
    grads, metrics, written = states.accumulate(
        grads_of, state, batches['train'], micro_batches, mean=task.mean)
    return states.update(state, grads, tx, metrics, written)

  passes = [Pass(FULL)]
  if teacher_model is not None:
    passes.append(Pass(FULL, learns=False, model=teacher_model))
  return Method(init, step, tuple(passes))


def _check(task, teacher_model, teacher_weight, gt_weight):
  """Raises where weights or the task leave nothing to learn from."""
  if teacher_model is None:
    if (teacher_weight, gt_weight) != (1.0, 1.0):
      raise ValueError(
          'config.method.teacher_weight and gt_weight weigh a teacher against '
          'the labels, but there is no teacher: set config.teacher_from to the '
          'workdir of one, or leave both out.')
  elif task.student is None:
    raise ValueError(
        f'config.teacher_from names a teacher, but a task of {task.form} has '
        'nothing that one could hand on to its students; leave it out.')
