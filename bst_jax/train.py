"""Trains a config in a workdir: the straight road from command to checkpoint."""
import pathlib

from absl import flags, logging
from bst_jax.host import cli, config_flag
from bst_jax.learn.state import TrainState
from bst_jax.report import watching
from bst_jax.run import arguments, profiling, start, training
from bst_jax.run.training import Stopped
import jax
import ml_collections

_CONFIG = config_flag.define(known=arguments.of)
_WORKDIR = cli.define_workdir()
_FROM = flags.DEFINE_string(
    'from', None, 'Workdir to train on from, in place of --config: its config, '
    'parameters, words and answers; --config.KEY=VALUE overrides.',
    allow_override=True)
_PROFILE_STEPS = flags.DEFINE_string('profile_steps', None, profiling.HELP,
                                     allow_override=True)
_WAIT = flags.DEFINE_float(
    'wait_for_workdir', None, 'Seconds to wait for another run that works in '
    'the workdir. Left out: as long as one that was told to stop still saves, '
    'or until it is known whether one on another host lives.',
    lower_bound=0.0, allow_override=True)

FIRST = ('config', 'workdir', 'from')
DESCRIPTION = """Trains a config; goes on where it stopped if the workdir has
checkpoints.

The workdir receives config.json, vocab/, metrics.jsonl, tensorboard/,
checkpoints/ and, at the end, the evaluation of every submodel. Ctrl-C and
SIGTERM save first; the same command goes on."""
EXAMPLES = """python -m bst_jax.train --config configs/quickstart.py --workdir runs/quickstart
python -m bst_jax.train --config configs/quickstart.py:tiny --workdir runs/tiny
python -m bst_jax.train --config configs/quickstart.py --workdir runs/b --config.method.sampled=5 --config.seed=1
python -m bst_jax.train --config configs/quickstart.py --workdir runs/c --profile_steps 10:15
python -m bst_jax.train --from runs/small --workdir runs/longer --config.optimizer.lr=1e-4"""


def run(config: ml_collections.ConfigDict, workdir: str | pathlib.Path,
        profile_steps: range | None = None,
        wait_for_workdir: float | None = None) -> TrainState:
  """Trains a config in a workdir and evaluates it: see `training.run`."""
  return training.run(config, workdir, watching.REPORTS, profile_steps,
                      wait_for_workdir)


def main() -> None:
  """The command."""
  cli.start()
  config, workdir = cli.required(_CONFIG), cli.required(_WORKDIR)
  done = training.finished(config, workdir, watching.REPORTS)
  if done:
    logging.info('%s', done)
    return
  if _FROM.value and jax.process_index() == 0:
    start.keep_vocabularies(config, pathlib.Path(workdir))
  try:
    run(config, workdir, profiling.parse(_PROFILE_STEPS.value), _WAIT.value)
  except Stopped as stopped:
    logging.warning('%s', stopped)
    raise SystemExit(130) from None


if __name__ == '__main__':
  cli.run(main, DESCRIPTION, EXAMPLES)
