"""Trains a config in a workdir: the straight road from command to checkpoint."""
import pathlib
import time

from absl import flags, logging
from bst_jax import elastic
from bst_jax.host import cli, config_flag, interrupt, processes
from bst_jax.learn import sharding
from bst_jax.report import scoring
from bst_jax.run import experiment, feed, profiling, program
from bst_jax.run import progress as metrics_lib
from bst_jax.store import checkpoint
from bst_jax.store import workdir as workdirs
import jax
import jax.numpy as jnp
import ml_collections

_CONFIG = config_flag.define()
_WORKDIR = cli.define_workdir()
_PROFILE_STEPS = flags.DEFINE_string('profile_steps', None, profiling.HELP,
                                     allow_override=True)

DESCRIPTION = """Trains a config; goes on where it stopped if the workdir has
checkpoints.

The workdir receives config.json, vocab/, metrics.jsonl, tensorboard/,
checkpoints/ and, at the end, the evaluation of every submodel. Ctrl-C and
SIGTERM save first; the same command goes on."""
EXAMPLES = """python -m bst_jax.train --config configs/quickstart.py --workdir runs/quickstart
python -m bst_jax.train --config configs/quickstart.py:tiny --workdir runs/tiny
python -m bst_jax.train --config configs/quickstart.py --workdir runs/b --config.method.sampled=5 --config.seed=1
python -m bst_jax.train --config configs/quickstart.py --workdir runs/c --profile_steps 10:15"""


class Stopped(Exception):
  """The run was asked to stop, and has saved."""


def run(config: ml_collections.ConfigDict, workdir: str | pathlib.Path,
        profile_steps: range | None = None):
  """Trains the config's teacher, if it has one of its own, then the config.

  Args:
    config: the whole experiment.
    workdir: home of everything that the run leaves behind.
    profile_steps: steps of the config, not of its teacher, to trace.

  Returns:
    The last state.

  Raises:
    ValueError, FloatingPointError, Stopped: as `train`; also where the workdir
      cannot be written to, and where processes differ in config or versions.
  """
  with processes.together():
    workdirs.check_writable(workdir)
    workdirs.check_same(workdir, experiment.chosen(config))
  processes.check_same(
      {'--workdir': str(workdir)}
      | {f'config.{key}': v for key, v in workdirs.flat(config).items()})
  processes.check_shared(workdir)
  workdir = pathlib.Path(workdir)
  init_from = config.init_from
  if config.get('teacher'):
    init_from = workdir / 'teacher'
    run(config.teacher, init_from)
  return train(config, workdir, init_from, profile_steps)


def train(config: ml_collections.ConfigDict, workdir: pathlib.Path,
          init_from: str | pathlib.Path | None = None,
          profile_steps: range | None = None):
  """Trains to the config's last step, going on from the workdir's checkpoint.

  Args:
    config: the whole experiment.
    workdir: home of everything that the run leaves behind.
    init_from: workdir whose parameters are the first ones; random if None.
    profile_steps: steps to trace, see `profiling.Trace`; none if None.

  Returns:
    The last state.

  Raises:
    ValueError: anything in config, data or checkpoints that cannot be; before
      anything compiles.
    FloatingPointError: a loss stopped being finite.
    Stopped: SIGTERM or Ctrl-C; everything is saved.
  """
  config = experiment.chosen(config)
  with processes.together():
    workdirs.check_same(workdir, config)
    mesh = sharding.make_mesh(config.mesh)
    data = experiment.load_data(config, workdir)
    exp = experiment.build(config, data.sizes)
    sharding.check_batch(data.example, mesh)

  total = experiment.total_steps(config, data)
  trace = profiling.Trace(profile_steps, workdir, total)
  job = program.make(exp, mesh, data.epoch, total)
  if job.method.pretrained and init_from is None:
    raise ValueError(
        f'method {config.method.name} learns from a frozen teacher, but there '
        'is none: set config.init_from to the workdir of a trained full model, '
        'or config.method.teacher to inplace.')
  if init_from is not None:
    experiment.check_start(data, init_from, job.method.pretrained)

  with jax.set_mesh(mesh), checkpoint.Store(
      workdir, save_every=config.save_every, keep=config.keep) as store:
    first = store.latest_step() or 0
    if first > total:
      raise ValueError(f'{workdir} is at step {first}, the config ends at '
                       f'{total}; raise its steps or use a new --workdir.')
    now = _start(job, exp, init_from, first)
    frozen, now = now.frozen, now.replace(frozen=None)
    batches = data.train()  # Global batches, of which each host has a share.
    if first:
      like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(
          x.shape, x.dtype, sharding=x.sharding), now)
      now, position = store.restore(like)
      first = int(now.step)
      batches.set_state(position)
    if jax.process_index() == 0:  # All have read them, or found none.
      experiment.save(workdir, config, exp.sizes)
      data.save_vocab(workdir / experiment.VOCAB)

    logging.info('%s', _about(exp, mesh, first, total, init_from))
    if first < total:
      now = _loop(config, workdir, store, job, now, frozen, batches, mesh,
                  first, total, _watch(config, exp, data, mesh), trace)
    if config.evaluate_at_end and not (
        first == total and _evaluated(config, workdir)):
      result = scoring.evaluate(exp, data, now.params, exp.space.submodels,
                                config.data.eval, mesh)
      if jax.process_index() == 0:
        scoring.report(workdir, result)
  return now.replace(frozen=frozen)


def _loop(config, workdir, store, job, now, frozen, batches, mesh, first,
          total, watch, trace):
  source = feed.Feed(batches, mesh)
  window, began, checked = [], time.monotonic(), first

  with trace, metrics_lib.Writer(
      workdir, total, first_step=first,
      enabled=jax.process_index() == 0) as writer, interrupt.Interrupt() as stop:
    for n in range(first + 1, total + 1):
      trace.before(n, now)
      now, metrics = job.step(now, frozen, source.take())
      trace.after(n, now)
      window.append(metrics)
      last = n == total
      if not last:
        source.load()  # While the step runs.
      stopping = stop.agreed()
      if n == first + 1:
        jax.block_until_ready(metrics)
        logging.info('compiled the step in %.1f s', time.monotonic() - began)
        began = time.monotonic()
        source.waited()

      if n % config.log_every == 0 or store.due(n) or last or stopping:
        window = jax.device_get(window)
        for i, values in enumerate(window):  # A bad state is never saved.
          metrics_lib.check_finite(values, checked + i + 1)
        seconds = time.monotonic() - began
        writer.write(n, _mean(window) | {
            'lr': float(job.rate(n - 1)),
            'examples_per_s': config.data.batch * len(window) / seconds,
            'wait_share': source.waited() / seconds})
        window, began, checked = [], time.monotonic(), n
      if config.eval_every and n % config.eval_every == 0 and not last:
        writer.write(n, watch(now.params))
        began = time.monotonic()
      if store.due(n) or last or stopping:
        store.save(n, now, source.position)
      writer.update(n)
      if stopping and not last:
        store.wait()
        raise Stopped(f'Stopped and saved at step {n} of {total} in {workdir}. '
                      'The same command goes on from there.')
  return now


def _start(job, exp, init_from, first):
  """The state before the first step: from a workdir, or random."""
  rng = jax.random.key(exp.config.seed)
  if init_from is not None:
    params = checkpoint.load_params(init_from, exp.shapes)
  elif first:  # What is restored replaces it: any values will do.
    params = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), exp.shapes)
  else:
    init = lambda rng: elastic.unbox(exp.model.init(
        rng, experiment.example(exp.sizes))['params'])
    params = jax.jit(init, out_shardings=job.where.params)(rng)
  # Copies: what is trained is donated, a teacher with the same values is not.
  begin = lambda rng, params: jax.tree.map(
      jnp.copy, job.method.init(rng, params))
  return jax.jit(begin, out_shardings=job.where)(rng, params)


def _watch(config, exp, data, mesh):
  """Accuracy of the two ends of the space, for the log during training."""
  score = scoring.make_scorer(exp, data, mesh)
  split = config.data.get('watch', config.data.eval)
  ends = [*dict.fromkeys((exp.space.submodels[0], exp.space.submodels[-1]))]

  def watch(params):
    scores = score(params, ends, data.evaluation(split))
    return {f'eval/{split}/{sub.path}/{name}': value
            for sub, found in zip(ends, scores)
            for name, value in found['accuracy'].items()}

  return watch


def _mean(window):
  return {name: sum(float(m[name]) for m in window) / len(window)
          for name in window[0]}


def _evaluated(config, workdir):
  return (workdir / f'evaluation_{config.data.eval}.png').exists()


def _about(exp, mesh, first, total, init_from):
  source = (f'going on from step {first}' if first else
            f'starting from {init_from}' if init_from else 'starting at random')
  return (f'{exp.config.model.name} with {elastic.size(exp.shapes):,} '
          f'parameters, {len(exp.space)} submodels, mesh {dict(mesh.shape)}, '
          f'method {exp.config.method.name}, {total} steps, {source}')


def main() -> None:
  """The command."""
  cli.start()
  config, workdir = cli.required(_CONFIG), cli.required(_WORKDIR)
  try:
    run(config, workdir, profiling.parse(_PROFILE_STEPS.value))
  except Stopped as stopped:
    logging.warning('%s', stopped)
    raise SystemExit(130) from None


if __name__ == '__main__':
  cli.run(main, DESCRIPTION, EXAMPLES)
