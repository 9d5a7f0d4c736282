"""Bilaterally slimmable training: the sandwich rule with distillation.

Reference: BST, arXiv 2203.12814, and its released code.
"""
import dataclasses
import functools
from typing import Any

from bst_jax import elastic, tasks
from bst_jax.elastic import Slices, Submodel
from bst_jax.layers import platforms
from bst_jax.learn import paths
from bst_jax.learn import state as states
from bst_jax.learn.shared import run_shared
from bst_jax.learn.state import Method, Pass
from flax import linen as nn
import jax
import jax.numpy as jnp

TEACHERS = ('frozen', 'inplace', 'labels')


@dataclasses.dataclass(frozen=True)
class Sandwich:
  """Who learns in a step, and from whom.

  Attributes:
    model: the full model.
    task: gives losses and softens a teacher's outputs.
    tx: the optimiser, which says what is trained.
    slices: where the parameters of submodels lie.
    smallest, middle, full: the submodels.
    sampled: how many of the middle ones a step draws.
    teacher: a name in `TEACHERS`.
    teacher_model: the frozen teacher, the full model or any other.
    gt_weight: of the labels' loss beside the teacher's.
  """

  model: nn.Module
  task: tasks.Task
  tx: Any
  slices: Slices
  smallest: Submodel
  middle: tuple[Submodel, ...]
  full: Submodel
  sampled: int
  teacher: str
  teacher_model: nn.Module
  gt_weight: float


def make(model, task, tx, *, axes, space, micro_batches, teacher_model=None,
         sampled=3, teacher='frozen', gt_weight=0.0) -> Method:
  """Trains all submodels of `space` in one set of parameters.

  Every step trains the smallest and the full submodel and `sampled` of the
  others, drawn without repetition; their losses are summed.

  Args:
    model: a module called as model(batch, train=...), with at(sub) and stacks.
      If it has a method `shared(batch, train=...)`, what that returns is
      computed once a step and joins the batch of every submodel (a visual
      trunk; an empty dict where there is none). Every submodel normalises by
      the statistics of its own batch; those of the full one are stored.
    task: gives the loss and softens a teacher's outputs.
    tx: an optax transformation.
    axes: axis names of the parameters, from `elastic.names`.
    space: submodels from the smallest to the full one.
    micro_batches: parts of a batch; each draws its own submodels.
    teacher_model: another model that is the frozen teacher.
    sampled: how many of the submodels between the ends a step draws.
    teacher: `frozen`: all learn from the parameters that training started
      from, the published way, or from those of `teacher_model`; `inplace`: the
      full model learns from labels and its answers teach the others; `labels`:
      nobody teaches, and every submodel learns from labels.
    gt_weight: weight of the labels' loss, added to the teacher's (0 as
      published).

  Reference: BST, the training algorithm. Differs: gradients of a submodel are
    taken with respect to its own slices and added to theirs, so that no step
    pads, and only the programs of the space's submodels are compiled, once.
  """
  _check(model, task, space, sampled, teacher, teacher_model)
  smallest, *middle, full = space
  sandwich = Sandwich(
      model, task, tx, Slices(axes, model.stacks), smallest, tuple(middle),
      full, sampled, teacher, teacher_model or model, gt_weight)
  frozen = teacher == 'frozen'

  def init(rng, params, taught_by=None):
    taught_by = params if taught_by is None else taught_by
    return states.start(rng, params, tx,
                        frozen={'teacher': taught_by} if frozen else None)

  def step(state, batches):
    grads, metrics, written = states.accumulate(
        functools.partial(sandwich_grads, sandwich), state, batches['train'],
        micro_batches, mean=task.mean)
    return states.update(state, grads, tx, metrics, written)

  passes = [Pass(smallest), Pass(full),
            *(Pass(sub, sampled / len(middle)) for sub in middle)]
  if frozen:
    passes.append(Pass(full, learns=False, model=teacher_model))
  return Method(init, step, tuple(passes),
                pretrained=frozen and teacher_model is None)


def sandwich_grads(sandwich: Sandwich, state: states.TrainState, batch: Any,
                   rng: jax.Array) -> tuple[Any, dict[str, jax.Array], Any]:
  """Gradients of what is trained, metrics and the batch statistics that were
  written, from one part of a batch.
  """
  draw, dropout = jax.random.split(rng)
  key = lambda i: jax.random.fold_in(dropout, i)
  params = states.trained(state.params, sandwich.tx)

  # The full model, on its teacher or on labels; then it, the frozen one or the
  # labels teach the others.
  soft = None
  if sandwich.teacher == 'frozen':
    soft = sandwich.task.soften(sandwich.teacher_model.apply(
        {'params': state.frozen['teacher']}, batch))
  batch, once, pull, written_once = run_shared(sandwich.model, params, batch,
                                               key(0))
  run = lambda sub, soft, key: submodel_grads(
      sandwich.model.at(sub), sandwich.task,
      [sandwich.slices.cut(part, sub) for part in params], batch, once, soft,
      key, sandwich.gt_weight)
  loss_full, (outputs, written), total = run(sandwich.full, soft, key(0))
  if sandwich.teacher == 'inplace':
    soft = jax.lax.stop_gradient(sandwich.task.soften(outputs))

  # CPUs make a loop of every scatter, slow to compile. Elsewhere the
  # program stays as it was measured.
  sliced = platforms.traced_for() == 'cpu'

  def add(total, sub, key):
    loss, _, (grads, cotangent) = run(sub, soft, key)
    return (sandwich.slices.add_into(total[0], grads, sub, sliced),
            jax.tree.map(jnp.add, total[1], cotangent)), loss

  total, loss_small = add(total, sandwich.smallest, key(1))

  # The drawn middle. `switch` holds all of them in one compiled program, and
  # `scan` frees each backward pass before the next.
  def add_one_of(total, pick):
    i, key = pick
    branches = [lambda total, key, sub=sub: add(total, sub, key)
                for sub in sandwich.middle]
    return jax.lax.switch(i, branches, total, key)

  metrics = {'loss/full': loss_full, 'loss/smallest': loss_small}
  if sandwich.sampled:
    picks = jax.random.choice(draw, len(sandwich.middle), (sandwich.sampled,),
                              replace=False)
    keys = jax.random.split(key(2), sandwich.sampled)
    total, drawn = jax.lax.scan(add_one_of, total, (picks, keys))
    metrics['loss/sampled'] = drawn.mean()
  return pull(*total), metrics, written | written_once


def submodel_grads(model: nn.Module, task: tasks.Task, params: Any, batch: Any,
                   once: Any, soft: Any, key: jax.Array,
                   gt_weight: float = 0.0) -> tuple[jax.Array, Any, Any]:
  """Loss, (outputs, written) and gradients of a submodel, of its own size.

  Args:
    model: the ordinary smaller model.
    task: gives the loss.
    params: what is trained and what is not, of this size.
    batch: arrays; labels too.
    once: what all submodels read alike and whose gradients are wanted.
    soft: what the teacher handed on; None: labels teach.
    key: of dropout, and of what the task draws.
    gt_weight: of the labels' loss beside the teacher's.

  Returns:
    float[]; the outputs, and the batch statistics that were written; and the
    gradients (of what is trained, of `once`).
  """
  trained, rest = params

  def loss(trained, once):
    outputs, written = states.forward(
        model, paths.join(trained, rest), batch | once, key)
    return tasks.mixed(task, outputs, soft, batch, key, gt_weight), (
        outputs, written)

  (loss, aux), grads = jax.value_and_grad(
      loss, argnums=(0, 1), has_aux=True)(trained, once)
  return loss, aux, grads


def _check(model, task, space, sampled, teacher, teacher_model):
  """Raises a ValueError for what cannot be, before anything compiles."""
  elastic.check_name(teacher, TEACHERS, 'teacher')
  if teacher_model is not None and teacher != 'frozen':
    raise ValueError(
        f'config.teacher_from names a frozen teacher, but config.method.teacher '
        f"is {teacher}; set the latter to 'frozen', or leave out the former.")
  if teacher != 'labels' and task.student is None:
    raise ValueError(
        f'method bst has a teacher ({teacher}), but a task of '
        f'{task.form} has nothing that one could hand on to its students. Set '
        "config.method.teacher to 'labels'.")
  if len(space) < 2:
    raise ValueError(
        'method bst needs at least two submodels, the space has one. Give '
        'config.space more widths or depths, or use method plain.')
  for sub in space:  # An impossible ratio fails here.
    model.at(sub)
  between = len(space) - 2
  if not 0 <= sampled <= between:
    raise ValueError(
        f'sampled={sampled} submodels cannot be drawn without repetition from '
        f'the {between} between the smallest and the full one; choose 0 to '
        f'{between}.')
