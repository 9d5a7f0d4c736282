"""Programs of an experiment, compiled for devices that need not be here."""
from collections.abc import Mapping
import dataclasses
import re
from typing import Any

from bst_jax.ahead import abstract, step_costs
from bst_jax.data import batches
from bst_jax.elastic import FULL
from bst_jax.learn import sharding
from bst_jax.learn import state as states
from bst_jax.report import scoring
from bst_jax.run import forward, program, teachers
from bst_jax.run import start as starts
from bst_jax.run.experiment import Experiment
import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

# Schedules count in them; how many there are changes no program.
_EPOCH, _STEPS = 1000.0, 10_000


@dataclasses.dataclass(frozen=True)
class Lowered:
  """A traced program, before the compiler sees it.

  Attributes:
    lowered: of jax.
    memory: bytes of a device by what they hold, of all that goes in.
    useful: operations of a device that the model needs.
    gradient: bytes of the gradients of all that is trained; 0: none are made.
  """

  lowered: Any
  memory: Mapping[str, int]
  useful: float
  gradient: int = 0


def train(exp: Experiment, mesh: Mesh, examples: int) -> Lowered:
  """The training step on a global batch of `examples`."""
  teacher, start = teachers.of(exp.config), starts.of(exp.config)
  job = program.make(
      exp, mesh, _EPOCH, _STEPS, teacher,
      teacher_index=teachers.paired(exp.config, teacher, exp, start))
  batch = abstract.batch(exp, examples)
  state, frozen, placed = abstract.arguments(job, batch, mesh)
  on_chip = abstract.bytes_on_chip
  memory = {'parameters': on_chip(state.params),
            'optimiser': on_chip((state.opt_state, state.ema)),
            'frozen': on_chip(frozen), 'batch': on_chip(placed)}
  with jax.set_mesh(mesh):
    lowered = job.step.lower(state, frozen, placed)
  useful = step_costs.flops(exp, job.method.passes, batch, single_frozen(
      exp, job.tx))
  return Lowered(lowered, memory, useful / mesh.devices.size,
                 _trained(exp, job.tx))


def single_frozen(exp, tx):
  """Paths of frozen parameters that the model itself does not freeze whole."""
  parts = set(exp.frozen_parts)
  return {path for path in getattr(tx, 'frozen', ())
          if not parts & set(path.split('/'))}


def _trained(exp, tx):
  """Bytes of all parameters that the optimiser moves, on all devices."""
  return sum(leaf.size * leaf.dtype.itemsize
             for leaf in jax.tree.leaves(states.trained(exp.shapes, tx)[0]))


def evaluate(exp: Experiment, mesh: Mesh, examples: int) -> Lowered:
  """Scoring of the full submodel, the dearest, on a batch of evaluation.

  What submodels share runs before, and what is read of outputs behind, each as a
  program of its own; here they are one with the submodel's.

  Args:
    exp: the experiment.
    mesh: devices.
    examples: of a global batch of training; evaluation's is a multiple, or
      config.data.eval_batch.
  """
  _, options = abstract.form(exp.config.data, exp.sizes)
  batch = abstract.batch(
      exp, batches.rows_of_evaluation(options, examples), training=False)
  where = sharding.shardings(exp.boxed, mesh, exp.config.rules)
  params = abstract.placed(exp.shapes, where)
  placed = abstract.split(batch, mesh)
  share = forward.make_share(exp)
  call, read = forward.make_program(exp, FULL), scoring.reader(exp)

  def whole(params, batch):
    batch = batch | share(params, batch)
    outputs, tokens = call(params, batch)
    return read(outputs, batch, tokens)

  with jax.set_mesh(mesh):
    lowered = jax.jit(whole, out_shardings=NamedSharding(
        mesh, PartitionSpec())).lower(params, placed)
  memory = {'parameters': abstract.bytes_on_chip(params),
            'batch': abstract.bytes_on_chip(placed)}
  return Lowered(lowered, memory,
                 step_costs.forward(exp, FULL, batch) / mesh.devices.size)


class DoesNotFit(Exception):
  """The compiler found no way into the chip's memory.

  Attributes:
    used, there: bytes, or None where it does not say.
  """

  def __init__(self, message: str):
    super().__init__(message.splitlines()[0])
    found = re.search(r'Used ([\d.]+[KMGT]?) of ([\d.]+[KMGT]?) hbm', message)
    self.used, self.there = map(_bytes, found.groups()) if found else (
        None, None)


def _bytes(text):
  scale = ' KMGT'.find(text[-1])
  return float(text.rstrip('KMGT')) * 1024 ** max(0, scale)


PROGRAMS = {'train': train, 'evaluate': evaluate}


def compiled(lowered: Any) -> Any:
  """The compiled program; raises DoesNotFit where memory does not suffice."""
  try:
    return lowered.compile()
  except jax.errors.JaxRuntimeError as error:
    if 'RESOURCE_EXHAUSTED' in str(error) or 'Ran out of memory' in str(error):
      raise DoesNotFit(str(error)) from error
    raise
