"""Scores every submodel of a workdir: one table, one JSON, one picture."""
import pathlib

from absl import flags, logging
from bst_jax import checkpoint, cli, experiment, scoring, sharding
import jax

_WORKDIR = cli.define_workdir()
_SPLIT = flags.DEFINE_string(
    'split', None, 'Split of the data; config.data.eval if left out.', allow_override=True)
_SUBMODEL = flags.DEFINE_string(
    'submodel', 'all', 'Submodels as 1/2x1/3, comma-separated, or all of the '
    "space. Pairs outside of the space are allowed: they weren't trained.", allow_override=True)
_STEP = flags.DEFINE_integer(
    'step', None, 'Checkpoint; the newest if left out.', allow_override=True)

DESCRIPTION = """Evaluates every submodel of a workdir.

Prints one table (parameters, multiply-accumulates, accuracy overall and per
question type, beside the question-only prior) and saves it in the workdir as
evaluation_SPLIT.json and evaluation_SPLIT.png."""
EXAMPLES = """python -m bst_jax.evaluate --workdir runs/quickstart
python -m bst_jax.evaluate --workdir runs/quickstart --split val
python -m bst_jax.evaluate --workdir runs/quickstart --submodel 1/2x1/2,1x1"""


def main() -> None:
  """The command."""
  cli.start()
  workdir = pathlib.Path(cli.required(_WORKDIR))
  exp = experiment.load(workdir)
  subs = exp.parse(_SUBMODEL.value)
  outside = [str(s) for s in subs if s not in exp.space.submodels]
  if outside:
    logging.warning('%s: not among the submodels that were trained (%s).',
                    ', '.join(outside), ', '.join(map(str, exp.space)))
  params = checkpoint.load_params(workdir, exp.shapes, _STEP.value)
  data = experiment.load_data(exp.config, workdir)
  mesh = sharding.make_mesh({'data': -1})
  with jax.set_mesh(mesh):
    result = scoring.evaluate(exp, data, params, subs,
                              _SPLIT.value or exp.config.data.eval, mesh)
  if jax.process_index() == 0:
    scoring.report(workdir, result)


if __name__ == '__main__':
  cli.run(main, DESCRIPTION, EXAMPLES)
