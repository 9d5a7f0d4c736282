"""Ordinary training of the full model, on labels or from another model."""
from bst_jax import tasks
from bst_jax.elastic import FULL
from bst_jax.layers import features
from bst_jax.learn import paths
from bst_jax.learn import state as states
from bst_jax.learn.state import Method, Pass
import jax
import jax.numpy as jnp


def make(model, task, tx, *, axes, space, micro_batches, teacher_model=None,
         teacher_index=None, teacher_weight=1.0, gt_weight=None,
         feature_weight=0.0) -> Method:
  """Trains the full model on the annotators' answers, or on a teacher's.

  Args:
    model: a module called as model(batch, train=...).
    task: gives the loss, and softens a teacher's outputs.
    tx: an optax transformation.
    axes: axis names, unused here.
    space: submodels, unused here.
    micro_batches: parts of a batch that are worked on one after the other.
    teacher_model: another model, frozen, whose answers are learnt.
    teacher_index: int[d], which of the teacher's features are the model's;
      None for all of them, in their order.
    teacher_weight: weight of the loss from the teacher, where there is one. Of
      losses that are means over a batch: 0.2 of a sum over 32 rows is 6.4.
    gt_weight: weight of the labels' loss; 1, or 0 where there is a teacher.
    feature_weight: weight of the mean squared difference from the teacher's
      features, what its head reads.

  Reference: Hinton et al., arXiv 1503.02531; of features as in Yu & Wu, "A
    Unified Pruning Framework for Vision Transformers", arXiv 2111.15127.
    Differs: no temperature but that of the task.
  """
  del axes, space
  if gt_weight is None:
    gt_weight = 1.0 if teacher_model is None else 0.0
  _check(task, teacher_model, teacher_weight, gt_weight, feature_weight)
  sown = (features.SOWN,) if feature_weight else ()

  def init(rng, params, taught_by=None):
    frozen = None if taught_by is None else {'teacher': taught_by}
    return states.start(rng, params, tx, frozen=frozen)

  def grads_of(state, batch, key):
    trained, rest = states.trained(state.params, tx)
    soft = wanted = None
    if teacher_model is not None:
      told, seen = teacher_model.apply(
          {'params': state.frozen['teacher']}, batch, mutable=sown)
      soft, wanted = task.soften(told), features.of(seen)

    def loss(trained):
      outputs, written, seen = states.forward_sown(
          model, paths.join(trained, rest), batch, key, sown)
      total = tasks.mixed(task, outputs, soft, batch, key, gt_weight,
                          teacher_weight)
      if feature_weight:
        total += feature_weight * _apart(
            features.of(seen), wanted, teacher_index, batch['mask'])
      return total, written

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


def _apart(ours, theirs, index, mask):
  """Mean squared difference of features float[B, d]; padding counts nothing."""
  theirs = theirs if index is None else theirs[:, index]
  square = jnp.square(ours.astype(jnp.float32) - theirs.astype(jnp.float32))
  weight = mask.astype(jnp.float32)
  return (square.mean(-1) * weight).sum() / jnp.maximum(weight.sum(), 1)


def _check(task, teacher_model, teacher_weight, gt_weight, feature_weight):
  """Raises where weights or the task leave nothing to learn from."""
  if teacher_model is None:
    if (teacher_weight, gt_weight, feature_weight) != (1.0, 1.0, 0.0):
      raise ValueError(
          'config.method.teacher_weight, gt_weight and feature_weight weigh a '
          'teacher against the labels, but there is no teacher: set '
          'config.teacher_from to the workdir of one, or leave them out.')
  elif feature_weight and not task.mean:
    raise ValueError(
        f'config.method.feature_weight={feature_weight} adds a mean over rows, '
        'but the loss of config.task is a sum: set config.task.reduction to '
        'mean_batch, or feature_weight to 0.')
  elif task.student is None:
    raise ValueError(
        f'config.teacher_from names a teacher, but a task of {task.form} has '
        'nothing that one could hand on to its students; leave it out.')
