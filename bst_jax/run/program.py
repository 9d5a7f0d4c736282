"""The compiled training step of an experiment: one place, whoever runs it."""
from collections.abc import Callable
import dataclasses
from typing import Any

from bst_jax import methods, tasks
from bst_jax.learn import optimizers, schedules, sharding
from bst_jax.learn.optimizers import Optimizer
from bst_jax.learn.state import Method
from bst_jax.run import narrow
from bst_jax.run.experiment import Experiment
import jax
import optax


@dataclasses.dataclass(frozen=True)
class Program:
  """A training step, ready to be compiled, and what goes into it.

  Attributes:
    method: the pair of functions that it was made from.
    tx: the optimiser, which says what is trained.
    rate: learning rate by step, counted from 0.
    abstract: shapes of the TrainState, with axis names.
    where: shardings of the TrainState.
    step: (state without frozen, frozen, {stream: batch}) -> (state, metrics),
      jitted; the state is donated, the frozen part is not: nothing ever
      replaces it.
  """

  method: Method
  tx: Optimizer
  rate: optax.Schedule
  abstract: Any
  where: Any
  step: Callable


def make(exp: Experiment, mesh: jax.sharding.Mesh, epoch: float, total: int,
         teacher: Experiment | None = None, num_shapes: int = 1,
         teacher_index: Any = None, data: Any = None) -> Program:
  """The program of an experiment on a mesh, whose devices need not be here.

  Args:
    exp: model, task, space and config.
    mesh: call and lower the step under `jax.set_mesh(mesh)`.
    epoch: steps of an epoch, which schedules may count in.
    total: steps of the whole training.
    teacher: another model, frozen, that `config.teacher_from` names.
    num_shapes: how many shapes batches have; each is a program of its own.
    teacher_index: see `teachers.paired`.
    data: what is trained on, for methods that ask; None where nothing is run.
  """
  config = exp.config
  narrow.tell(config.get('compute'), mesh.devices.flat)
  rate = schedules.create(config.schedule, config.optimizer.lr, epoch, total)
  tx = optimizers.create(config.optimizer, config.schedule, exp.shapes, epoch,
                         total, exp.frozen_parts, config.get('ema'))
  method = methods.create(
      config.method, teacher and teacher.model, teacher_index,
      model=exp.model, task=exp.task, tx=tx, axes=exp.axes, space=exp.space,
      micro_batches=config.micro_batches, data=data, sizes=exp.sizes)
  taught_by = () if teacher is None else (teacher.boxed,)
  abstract = jax.eval_shape(
      method.init, jax.random.key(config.seed), exp.boxed, *taught_by)
  where = sharding.shardings(abstract, mesh, config.rules)
  step = method.step
  if exp.task.mean and mesh.devices.size * config.micro_batches > 1:
    step = _shared_out(step, exp.task)
  step = jax.jit(_split(step, num_shapes), donate_argnums=0,
                 out_shardings=(where.replace(frozen=None), None))
  return Program(method, tx, rate, abstract, where, step)


def _shared_out(step, task):
  """The method's step, on batches whose parts know what the whole divides by.
  """
  return lambda state, batches: step(state, batches | {
      'train': tasks.shared_out(task, batches['train'])})


def _split(step, num_shapes):
  """The method's step with the frozen part as an argument of its own.

  A step that is traced again would be compiled again, in silence: that is an
  error.
  """
  traced = []

  def run(state, frozen, batches):
    assert len(traced) < num_shapes, (
        'the step was traced again: a batch changed its shape.')
    traced.append(True)
    state, metrics = step(state.replace(frozen=frozen), batches)
    return state.replace(frozen=None), metrics
  return run
