"""Jobs: trainings whose settings, data and start fit together."""
import dataclasses
import pathlib
from typing import Any

from absl import logging
from bst_jax.elastic import Choice
from bst_jax.host import processes
from bst_jax.learn import schedules, sharding
from bst_jax.run import (
    experiment,
    profiling,
    program,
    room,
    teachers,
    validation,
)
from bst_jax.run import start as starts
from bst_jax.run.experiment import Experiment
from bst_jax.run.program import Program
from bst_jax.store import steps
from bst_jax.store import workdir as workdirs
import jax
import ml_collections


@dataclasses.dataclass(frozen=True)
class Job:
  """One training whose settings fit together; nothing is compiled yet.

  Attributes:
    config: the whole experiment.
    workdir: home of everything that the run leaves behind.
    exp: model, task and space.
    data: what is trained on.
    mesh: the devices.
    program: the training step.
    total: the last step, counted from 1.
    start: whose parameters are the first ones; random if None.
    choice: what `config.choice` left of the model; None for all of it.
    teacher: another model that teaches, frozen; None for none.
    trace: of the steps that are profiled.
  """

  config: ml_collections.ConfigDict
  workdir: pathlib.Path
  exp: Experiment
  data: Any
  mesh: jax.sharding.Mesh
  program: Program
  total: int
  start: starts.Start | None
  choice: Choice | None
  teacher: Experiment | None
  trace: profiling.Trace

  @property
  def teaches(self) -> bool:
    """Whether the parameters that it starts from also teach."""
    return self.program.method.pretrained


def prepare(config: ml_collections.ConfigDict, workdir: str | pathlib.Path,
            profile_steps: range | None = None) -> list[Job]:
  """The job of a config, behind those of its teachers, all of them checked.

  Everything is checked before the first teacher trains; a data set that a
  config shares with its teacher is read once.

  Args:
    config: the whole experiment.
    workdir: home of everything that the run leaves behind.
    profile_steps: steps of the config, not of its teachers, to trace.

  Raises:
    ValueError: anything that does not fit.
  """
  with processes.together():
    validation.check(config)
  job = _job(config, pathlib.Path(workdir), None, profile_steps)
  jobs = [job]
  while jobs[0].config.get('teacher'):
    student = jobs[0]
    with processes.together():
      workdirs.check_writable(student.start.workdir)
    teacher = _job(student.config.teacher, student.start.workdir, student)
    starts.check_trained(student.start, student.exp, student.data,
                         teacher.exp, teacher.data)
    jobs.insert(0, teacher)
  for job in jobs:
    if job.start is not None and not job.config.get('teacher'):
      starts.check(job.start, job.exp, job.data, job.teaches)
  return jobs


def _job(config, workdir, student=None, profile_steps=None) -> Job:
  """The job of one config.

  Args:
    config: the whole experiment.
    workdir: home of everything that the run leaves behind.
    student: job of the config that has this one as its teacher.
    profile_steps: steps to trace, see `profiling.Trace`; none if None.
  """
  choice, config = experiment.choice_of(config), experiment.chosen(config)
  with processes.together():
    differs = workdirs.check_same(workdir, config)
    if differs:
      logging.warning(
          'Training goes on in %s with other settings, and as if its data were '
          'the same: %s.', workdir, '; '.join(differs))
    mesh = sharding.make_mesh(config.mesh)
    same = student and _plain(student.config.data) == _plain(config.data)
    data = student.data if same else experiment.load_data(config, workdir)
    exp = experiment.build(config, data.sizes)
    _check_words(exp)
    sharding.check_batch(data.example, mesh)

  start, teacher = starts.of(config, choice), teachers.of(config)
  if config.get('teacher'):
    start = starts.Start(workdir / 'teacher')
  total = experiment.total_steps(config, data)
  made = program.make(exp, mesh, data.epoch, total, teacher, data.num_shapes,
                      teachers.paired(config, teacher, exp, start), data)
  room.check(made)
  validation.check_pretrained(made.method, config, start)
  if teacher is not None:
    teachers.check(config, teacher, exp, data)
  _tell_of_more_steps(workdir, config, data, total, made)
  return Job(config, workdir, exp, data, mesh, made, total, start, choice,
             teacher, profiling.Trace(profile_steps, workdir, total))


def _check_words(exp):
  """Raises where a vocabulary has more words than the model has rows for."""
  rows, words = (getattr(exp.model, 'vocab_size', 0),
                 exp.sizes.get('vocab_size', 0))
  if rows and words > rows:
    raise ValueError(
        f'config.model.vocab_size is {rows}, but the vocabulary of the data has '
        f'{words} words, the last of which would have no row. Leave it out, or '
        'give at least as many; a table may have rows that no word uses.')


def _tell_of_more_steps(workdir, config, data, total, made):
  """Warns where the steps of a workdir change: its schedule does, too."""
  if not (workdir / workdirs.CONFIG).exists():
    return
  before = workdirs.read_config(workdir)
  done = max(steps.steps(steps.folder(workdir)), default=0)
  if not done or all(before.get(key) == config.get(key)
                     for key in ('steps', 'epochs')):
    return
  first = schedules.create(config.schedule, config.optimizer.lr, data.epoch,
                           experiment.total_steps(before, data))
  logging.warning(
      'The training of %s goes on to step %d, and its schedule is that of so '
      'many steps: behind step %d the learning rate is %.3g, where it was '
      '%.3g.', workdir, total, done, made.rate(done), first(done))


def _plain(config):
  return {key: value for key, value in workdirs.flat(config).items()
          if value is not None}
