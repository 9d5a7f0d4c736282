"""The compiled training step of an experiment: one place, whoever runs it."""
import dataclasses
from typing import Any

from bst_jax import methods
from bst_jax.learn import optimizers, schedules, sharding
from bst_jax.learn.state import Method
from bst_jax.run.experiment import Experiment
import jax
import optax


@dataclasses.dataclass(frozen=True)
class Program:
  """Attributes:
    method: the pair of functions that it was made from.
    rate: learning rate by step, counted from 0.
    abstract: shapes of the TrainState, with axis names.
    where: shardings of the TrainState.
    step: (state without frozen, frozen, batch) -> (state, metrics), jitted; the
      state is donated, the frozen part is not: nothing ever replaces it.
  """

  method: Method
  rate: optax.Schedule
  abstract: Any
  where: Any
  step: Any


def make(exp: Experiment, mesh: jax.sharding.Mesh, epoch: float,
         total: int) -> Program:
  """The program of an experiment on a mesh, whose devices need not be here.

  Args:
    exp: model, task, space and config.
    mesh: call and lower the step under `jax.set_mesh(mesh)`.
    epoch: steps of an epoch, which schedules may count in.
    total: steps of the whole training.
  """
  config = exp.config
  rate = schedules.create(config.schedule, config.optimizer.lr, epoch, total)
  tx = optimizers.create(config.optimizer, config.schedule, exp.shapes, epoch,
                         total, exp.frozen_parts)
  method = methods.create(
      config.method, model=exp.model, task=exp.task, tx=tx, axes=exp.axes,
      space=exp.space, micro_batches=config.micro_batches)
  abstract = jax.eval_shape(
      method.init, jax.random.key(config.seed), exp.boxed)
  where = sharding.shardings(abstract, mesh, config.rules)
  step = jax.jit(_split(method.step), donate_argnums=0,
                 out_shardings=(where.replace(frozen=None), None))
  return Program(method, rate, abstract, where, step)


def _split(step):
  """The method's step with the frozen part as an argument of its own.

  A step that is traced again would be compiled again, in silence: that is an
  error.
  """
  traced = []

  def run(now, frozen, batch):
    assert not traced, 'the step was traced twice: a batch changed its shape.'
    traced.append(True)
    now, metrics = step(now.replace(frozen=frozen), batch)
    return now.replace(frozen=None), metrics
  return run
