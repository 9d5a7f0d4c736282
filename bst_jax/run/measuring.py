"""Evaluations between the steps of a training, which may be left."""
from collections.abc import Callable, Iterator
import contextlib
import pathlib
from typing import Any

from bst_jax.host import alive, interrupt, processes
from bst_jax.learn import state as states
from bst_jax.run import progress
from bst_jax.run.jobs import Job
from bst_jax.store import checkpoint
import jax


class _Left(Exception):
  """All processes have agreed to leave an evaluation."""


def is_due(job: Job, step: int) -> bool:
  """Whether a step is evaluated; the last one is where the best is kept."""
  if step == job.total:
    return bool(job.config.get('keep_best'))
  return bool(job.config.eval_every) and step % job.config.eval_every == 0


def is_measured(workdir: pathlib.Path, step: int) -> bool:
  """Whether the first process finds an evaluation of a step."""
  return processes.gather({
      'measured': progress.is_measured(workdir, step)})[0]['measured']


def make(job: Job, store: checkpoint.Store, reports: Any,
         stop: interrupt.Interrupt) -> Callable[..., bool]:
  """What evaluates a step.

  Args:
    job: whose parameters are evaluated.
    store: of its checkpoints; keeps the best where that is wanted.
    reports: see `training.Reports`.
    stop: ends an evaluation. One process leaves at once, and several of them
      behind the same batch, as none may leave the others alone.

  Returns:
    (step, state, writer, whether the state is saved) -> whether the evaluation
    came to its end; False where all processes left it.
  """
  watch, several = reports.watch(job), jax.process_count() > 1

  def over(batches: Any) -> Iterator[Any]:
    for batch in batches:
      if several and stop.agreed():
        raise _Left
      yield batch

  def measure(step, state, writer, saved):
    at_once = (stop.at_once() if saved and not several
               else contextlib.nullcontext())
    with at_once, alive.told('evaluating', False):
      try:
        numbers = watch(states.averaged(state), over)
      except _Left:
        return False
      # Before the line that says that it was measured.
      if job.config.get('keep_best'):
        store.note_score(step, *reports.score(numbers))
      writer.write(step, numbers)
      return True
  return measure
