"""Cuts one submodel out of a workdir: an ordinary smaller model in a new one."""
import dataclasses
import json
import pathlib
import shutil

from absl import flags, logging
from bst_jax import elastic
from bst_jax.elastic import Choice, Submodel
from bst_jax.host import cli
from bst_jax.run import experiment, statistics
from bst_jax.store import checkpoint
from bst_jax.store import workdir as workdirs
import ml_collections

_WORKDIR = cli.define_workdir()
_SUBMODEL = flags.DEFINE_string('submodel', None, 'Submodel, as 1/2x1/3.', allow_override=True)
_OUTPUT = flags.DEFINE_string(
    'output', None, 'New workdir; WORKDIR/w1-2_d1-3 and so on if left out.', allow_override=True)
_STEP = flags.DEFINE_integer(
    'step', None, 'Checkpoint; the newest if left out.', allow_override=True)
_STATS_BATCHES = flags.DEFINE_integer(
    'stats_batches', statistics.BATCHES, 'Training batches from which a model '
    'of batch statistics takes its own; 0 keeps those of the full model and '
    'needs no data.', lower_bound=0, allow_override=True)

DESCRIPTION = """Cuts one submodel out of a trained workdir.

The new workdir has the same form and holds an ordinary smaller model, without
unused weights: evaluate, profile and further training know no difference."""
EXAMPLES = """python -m bst_jax.extract --workdir runs/quickstart --submodel 1/2x1/2 --output runs/small
python -m bst_jax.evaluate --workdir runs/small"""


def extract(workdir: str | pathlib.Path, sub: Submodel,
            output: str | pathlib.Path, step: int | None = None,
            stats_batches: int = statistics.BATCHES) -> int:
  """Writes the submodel of a workdir as a workdir of its own.

  Where training measured batch statistics, the submodel gets its own, see
  `statistics.recalibrated`.

  Returns:
    Its number of parameters.

  Raises:
    ValueError: the submodel is impossible, the workdir holds no checkpoint, or
      the output is there already.
  """
  exp, output = experiment.load(workdir), pathlib.Path(output)
  small = exp.model.at(sub)
  if output.exists() and any(output.iterdir()):
    raise ValueError(f'{output} is not empty, and nothing is overwritten; '
                     'choose another --output.')
  if sub not in exp.space.submodels:
    logging.warning('%s is not among the submodels that were trained (%s).',
                    sub, ', '.join(map(str, exp.space)))
  params = checkpoint.load_params(workdir, exp.shapes, step)
  params = exp.extract(params, sub)
  if sub != elastic.FULL:
    params = statistics.recalibrated(exp, small, params, workdir, stats_batches)

  # config.json is written last: without it the folder is no workdir.
  shutil.copytree(pathlib.Path(workdir) / experiment.VOCAB,
                  output / experiment.VOCAB)
  checkpoint.save_params(output, params)
  workdirs.write_choice(output, json.loads(Choice(submodel=sub).to_json()))
  experiment.save(output, small_config(exp, small), exp.sizes)
  return elastic.size(params)


def small_config(exp: experiment.Experiment, small) -> ml_collections.ConfigDict:
  """The config of the smaller model, which has nothing left to choose."""
  config = exp.config.copy_and_resolve_references()
  config.unlock()
  plain = lambda value: (dataclasses.asdict(value) if
                         dataclasses.is_dataclass(value) else value)
  config.model.update({
      field.name: plain(getattr(small, field.name))
      for field in dataclasses.fields(small)
      if field.name not in ('parent', 'name')
      and getattr(small, field.name) != getattr(exp.model, field.name)})
  config.space = dict(widths=('1',), depths=('1',))
  config.method = dict(name='plain')
  for key in ('start', 'init_from', 'teacher', 'teacher_from'):
    config[key] = None
  return config


def main() -> None:
  """The command."""
  cli.start()
  workdir = pathlib.Path(cli.required(_WORKDIR))
  sub = Submodel.parse(cli.required(_SUBMODEL))
  output = _OUTPUT.value or workdir / sub.path
  size = extract(workdir, sub, output, _STEP.value, _STATS_BATCHES.value)
  print(f'{output}: submodel {sub}, {size:,} parameters')


if __name__ == '__main__':
  cli.run(main, DESCRIPTION, EXAMPLES)
