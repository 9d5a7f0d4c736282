"""Training: from a config to the last checkpoint of its workdir."""
from collections.abc import Callable, Iterator, Mapping
import contextlib
import json
import pathlib
from typing import Any, NamedTuple

from absl import logging
from bst_jax import elastic
from bst_jax.host import alive, interrupt, lock, processes
from bst_jax.learn import sharding
from bst_jax.learn import state as states
from bst_jax.learn.state import TrainState
from bst_jax.run import (
    experiment,
    feed,
    jobs,
    measuring,
    pace,
    progress,
    searches,
    statistics,
    teachers,
    validation,
)
from bst_jax.run import start as starts
from bst_jax.run.jobs import Job
from bst_jax.store import checkpoint, steps
from bst_jax.store import workdir as workdirs
import jax
import jax.numpy as jnp
import ml_collections

# Says that the last step was made, and all that comes after it.
_FINISHED = 'finished.json'


class Stopped(Exception):
  """The run was asked to stop, and has saved."""


class Reports(NamedTuple):
  """What is measured of parameters while they train, and when they have.

  Attributes:
    watch: job -> ((params, over) -> {name: number}), the numbers that go into
      the metrics every `config.eval_every` steps; `over` passes batches on, and
      raises where the run is asked to stop.
    finish: (job, params) -> None, after the last step.
    finished: (config, workdir) -> the file that an earlier run's `finish`
      left; None for none.
    score: numbers of `watch` -> the one that tells the best checkpoint, of
      which more is better, and what it is of.
  """

  watch: Callable[[Job], Callable[[Any, Callable], dict[str, float]]]
  finish: Callable[[Job, Any], None]
  finished: Callable[[ml_collections.ConfigDict, pathlib.Path],
                     pathlib.Path | None]
  score: Callable[[Mapping[str, float]], tuple[float, str]]


def run(config: ml_collections.ConfigDict, workdir: str | pathlib.Path,
        reports: Reports, profile_steps: range | None = None,
        wait_for_workdir: float | None = None) -> TrainState:
  """Trains the config's search and teacher, where it has any, then the config.

  Args:
    config: the whole experiment.
    workdir: home of everything that the run leaves behind; training goes on
      from its newest checkpoint.
    reports: what is measured on the way and at the end.
    profile_steps: steps of the config, not of its teacher, to trace.
    wait_for_workdir: seconds to wait for another run that works there, see
      `lock.held`.

  Returns:
    The last state.

  Raises:
    ValueError: anything in config, workdir, data or checkpoints that cannot
      be, before anything compiles; also where processes differ in config or
      versions, or another run works in the workdir.
    FloatingPointError: a loss stopped being finite.
    Stopped: SIGTERM or Ctrl-C; everything is saved.
  """
  if config.get('search'):
    config = _searched(config, workdir, reports, wait_for_workdir)
  with processes.together():
    workdirs.check_writable(workdir)
    workdirs.check_same(workdir, experiment.chosen(config))
  processes.check_same(
      {'--workdir': str(workdir)}
      | {f'config.{key}': v for key, v in workdirs.flat(config).items()})
  processes.check_shared(workdir)
  with interrupt.Interrupt() as stop, contextlib.ExitStack() as holds:
    stop.last_words.append(lock.release_all)
    hold = lambda place: holds.enter_context(lock.held(
        place, wait_for_workdir, lambda: stop.requested))
    try:
      with stop.at_once():
        hold(workdir)
        with alive.told('checking the config', False):
          todo = jobs.prepare(config, workdir, profile_steps)
        for job in todo[:-1]:  # Teachers, in workdirs of their own.
          hold(job.workdir)
      for job in todo:
        state = train(job, reports, stop)
    except KeyboardInterrupt:
      if not stop.lossless:
        raise
      raise Stopped(f'Stopped; all that was done is saved in {workdir}. The '
                    'same command goes on from there.') from None
    if jax.process_index() == 0:
      workdirs.write_json(workdir, _FINISHED, {'step': todo[-1].total})
  return state


def _searched(config, workdir, reports, wait_for_workdir):
  """The config without the layers that its search finds, which runs first."""
  place = searches.place(workdir)
  with processes.together():
    searches.check(config)
    workdirs.check_writable(workdir)
    workdirs.check_same(place, experiment.chosen(config.search))
  skip = searches.found(workdir)
  if skip is None:
    with processes.together():  # What follows must be possible.
      validation.check(searches.expected(
          config, validation.sizes_of(config.search)))
    run(config.search, place, reports, None, wait_for_workdir)
    processes.barrier('searched')
    skip = searches.found(workdir)
  logging.info('The search in %s found the layers to skip: %s.', place,
               ', '.join(skip))
  return searches.settled(config, skip)


def finished(config: ml_collections.ConfigDict, workdir: str | pathlib.Path,
             reports: Reports) -> str | None:
  """What is to be told of a training that needs nothing more; None for others.

  Reads a few small files and no data.

  Raises:
    ValueError: the workdir is that of another config.
  """
  workdir = pathlib.Path(workdir)
  if not (workdir / _FINISHED).exists():
    return None
  if config.get('search'):
    config = searches.settled(config, searches.found(workdir) or ())
  config = experiment.chosen(config)
  if workdirs.check_same(workdir, config):  # More steps, perhaps.
    return None
  step = workdirs.read_json(workdir, _FINISHED, {'step': int})['step']
  table = reports.finished(config, workdir)
  if (step != max(steps.steps(steps.folder(workdir)), default=None)
      or config.evaluate_at_end and table is None):
    return None
  return _is_finished(workdir, step, table)


def _is_finished(workdir, step, table):
  about = f'; its table is {table}' if table else ''
  return (f'The training in {workdir} is finished: step {step} of {step}'
          f'{about}. To go on, give more steps by --config.steps or '
          '--config.epochs; to start anew, another --workdir.')


def train(job: Job, reports: Reports, stop: interrupt.Interrupt) -> TrainState:
  """Trains to the last step, going on from the workdir's checkpoint.

  Raises:
    ValueError: a checkpoint does not fit.
    FloatingPointError, Stopped: as `run`.
    KeyboardInterrupt: `stop` came where nothing was to be saved.
  """
  config, workdir = job.config, job.workdir
  with jax.set_mesh(job.mesh), checkpoint.Store(
      workdir, save_every=config.save_every, keep=config.keep,
      keep_best=bool(config.get('keep_best'))) as store:
    stop.last_words.insert(0, store.wait)
    with stop.at_once(), alive.told('placing the parameters', False):
      if job.config.get('teacher'):  # Others are checked before all training.
        starts.check(job.start, job.exp, job.data, job.teaches)
      state, frozen, batches, first_step = _begin(job, store)
    if jax.process_index() == 0:  # All have read them, or found none.
      experiment.save(workdir, config, job.exp.sizes)
      job.data.save_vocab(workdir / experiment.VOCAB)
      if job.choice is not None:
        workdirs.write_choice(workdir, json.loads(job.choice.to_json()))

    logging.info('%s', _about(job, first_step))
    statistics.warn(
        job.exp, at_random=not (first_step or job.start),
        pictures=sharding.pictures(job.data.example) // config.micro_batches)
    table = reports.finished(config, workdir)
    if first_step < job.total:
      state = _loop(job, store, batches, state, frozen, first_step,
                    reports, stop)
    elif table or not config.evaluate_at_end:
      logging.info('%s', _is_finished(workdir, job.total, table))
    if config.evaluate_at_end and not (first_step == job.total and table):
      with stop.at_once():
        reports.finish(job, states.averaged(state))
    stop.last_words.remove(store.wait)
  state = state.replace(frozen=frozen)
  if job.program.method.choice and jax.process_index() == 0:
    choice = job.program.method.choice(state)
    workdirs.write_choice(workdir, json.loads(choice.to_json()))
  return state


def _begin(job: Job, store: checkpoint.Store):
  """The state to go on from, its frozen part, the batches behind it, its step.
  """
  first_step = store.latest_step() or 0
  if first_step > job.total:
    raise ValueError(f'{job.workdir} is at step {first_step}, the config ends '
                     f'at {job.total}; raise its steps or use a new --workdir.')
  state = _first_state(job, resumes=bool(first_step))
  frozen, state = state.frozen, state.replace(frozen=None)
  position = None
  if first_step:
    abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(
        x.shape, x.dtype, sharding=x.sharding), state)
    state, position = store.restore(abstract)
    first_step = int(state.step)
  streams = job.program.method.streams
  # Global batches, of which each host has a share.
  batches = {name: job.data.train('' if name == 'train' else
                                  job.config.data[name]) for name in streams}
  return state, frozen, feed.Streams(batches, job.mesh, streams, first_step,
                                     position), first_step


def _first_state(job: Job, resumes: bool) -> TrainState:
  """The state before the first step: from a workdir, or random."""
  where, rng = job.program.where, jax.random.key(job.config.seed)
  if resumes and not job.teaches:
    # What is restored replaces them: any values will do.
    params = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype),
                          job.exp.shapes)
  else:
    params = starts.params(job.start, job.exp, job.config.seed, where.params)
  taught_by = () if job.teacher is None else (
      teachers.params(job.config, job.teacher),)
  # Copies: what is trained is donated, a teacher with the same values is not.
  init_state = lambda rng, params, *taught_by: jax.tree.map(
      jnp.copy, job.program.method.init(rng, params, *taught_by))
  return jax.jit(init_state, out_shardings=where)(rng, params, *taught_by)


def _loop(job: Job, store: checkpoint.Store, batches: feed.Streams,
          state: TrainState, frozen: Any, first_step: int,
          reports: Reports,
          stop: interrupt.Interrupt) -> TrainState:
  """Steps, and what is logged, measured and saved between them."""
  config, total = job.config, job.total
  window = pace.Window(first_step)
  measure = measuring.make(job, store, reports, stop)
  with job.trace, progress.Writer(
      job.workdir, total, first_step=first_step,
      enabled=jax.process_index() == 0) as writer:
    if first_step and measuring.is_due(job, first_step) and not (
        measuring.is_measured(job.workdir, first_step)):
      # The run before ended in it.
      if not measure(first_step, state, writer, True):
        raise _stopped(job, first_step)
    for step in range(first_step + 1, total + 1):
      is_first, is_last = step == first_step + 1, step == total
      with _compiles(stop) if is_first else contextlib.nullcontext():
        job.trace.before(step, state)
        state, metrics = job.program.step(state, frozen, batches.take())
        job.trace.after(step, state)
        if is_first:
          jax.block_until_ready(metrics)
      if not is_last:
        batches.load()  # While the step runs.
      done = window.add(step, metrics)
      stops = stop.agreed(window.ahead)
      if is_first:
        logging.info('compiled the step in %.1f s', window.restart())
        batches.waited()
        writer.restart(step)

      measures = measuring.is_due(job, step) and not stops
      # What is saved is not lost while it is evaluated.
      saves = store.due(step) or is_last or stops or (
          measures and (config.save_every or config.get('keep_best')))
      if saves or step % config.log_every == 0:
        # Before it is saved: a state that is not finite never is.
        means, seconds = window.close(step)
        done = step
        writer.write(step, means | {
            'lr': float(job.program.rate(step - 1)),
            'examples_per_s': config.data.batch * window.closed / seconds,
            'wait_share': batches.waited() / seconds})
      if saves:
        lock.check(job.workdir)
        store.save(step, state, batches.position)
      if measures:
        stops = not measure(step, state, writer, saves)
        if stops and not saves:
          store.save(step, state, batches.position)
        writer.leave_out(window.restart())
      writer.update(done)
      if stops:
        with alive.told('writing the checkpoint', False):
          store.wait()
        raise _stopped(job, step)
  return state


def _stopped(job: Job, step: int) -> Stopped:
  return Stopped(f'Stopped and saved at step {step} of {job.total} in '
                 f'{job.workdir}. The same command goes on from there.')


@contextlib.contextmanager
def _compiles(stop: interrupt.Interrupt) -> Iterator[None]:
  """Around the first step: there is nothing yet to be saved."""
  with stop.at_once(), alive.told('compiling the step'):
    yield


def _about(job: Job, first_step: int) -> str:
  source = (f'going on from step {first_step}' if first_step else
            f'starting from {job.start.workdir}' if job.start else
            'starting at random')
  exp = job.exp
  return (f'{exp.config.model.name} with {elastic.size(exp.shapes):,} '
          f'parameters, {len(exp.space)} submodels, '
          f'mesh {dict(job.mesh.shape)}, method {exp.config.method.name}, '
          f'{job.total} steps, {source}'
          + (f', taught by {exp.config.teacher_from}' if job.teacher else '')
          + (f', evaluated with running means of decay {exp.config.ema}'
             if exp.config.get('ema') else ''))
