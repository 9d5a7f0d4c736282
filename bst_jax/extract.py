"""Cuts a part out of a workdir: an ordinary smaller model in a new one."""
from collections.abc import Collection
import dataclasses
import json
import pathlib
import shutil

from absl import flags, logging
from bst_jax import elastic
from bst_jax.elastic import Choice, Submodel
from bst_jax.host import cli, files, processes
from bst_jax.run import experiment, light, statistics
from bst_jax.store import best, checkpoint, origin
from bst_jax.store import workdir as workdirs
import jax
import numpy as np

_WORKDIR = cli.define_workdir()
_SUBMODEL = flags.DEFINE_string('submodel', None, 'Submodel, as 1/2x1/3.', allow_override=True)
_CHOICE = flags.DEFINE_string(
    'choice', None, 'A choice.json: channels, layers, skips, tokens, and the '
    'submodel unless --submodel names another.', allow_override=True)
_OUTPUT = flags.DEFINE_string(
    'output', None, 'New workdir; of a submodel WORKDIR/w1-2_d1-3 and so on if '
    'left out.', allow_override=True)
_STEP = flags.DEFINE_string('step', None, best.STEP_HELP, allow_override=True)
_STATS_BATCHES = flags.DEFINE_integer(
    'stats_batches', statistics.BATCHES, 'Training batches from which a model '
    'of batch statistics takes its own; 0 keeps those of the full model and '
    'needs no data.', lower_bound=0, allow_override=True)
_TRAINED_ONLY = flags.DEFINE_bool(
    'trained_only', False, 'Write a light folder: what training changed, '
    'without the parameters of the workdir that it started from.',
    allow_override=True)
_BASE = flags.DEFINE_string(
    'base', None, 'Of a light folder, --workdir, the workdir that its training '
    'started from: --output becomes the whole one.', allow_override=True)

FIRST = ('workdir', 'submodel', 'output')
DESCRIPTION = """Cuts one submodel, or what a choice leaves, out of a trained
workdir.

The new workdir has the same form and holds an ordinary smaller model, without
unused weights: evaluate, profile and further training know no difference.

Of a model with adapters, --trained_only writes them and all else that training
changed as a small folder, and --base puts such a folder onto its base again."""
EXAMPLES = """python -m bst_jax.extract --workdir runs/quickstart --submodel 1/2x1/2 --output runs/small
python -m bst_jax.extract --workdir runs/deit --choice runs/pruned/choice.json --output runs/small
python -m bst_jax.extract --workdir runs/das --trained_only --output runs/light
python -m bst_jax.extract --workdir runs/light --base runs/meter --output runs/whole
python -m bst_jax.evaluate --workdir runs/small"""


def extract(workdir: str | pathlib.Path, choice: Choice | Submodel,
            output: str | pathlib.Path, step: int | None = None,
            stats_batches: int = statistics.BATCHES,
            leave: Collection[str] = ()) -> int:
  """Writes a part of a workdir's model as a workdir of its own.

  Where training measured batch statistics, that part gets its own, see
  `statistics.recalibrated`. The output may hold files of the names in `leave`.

  Returns:
    Its number of parameters.

  Raises:
    ValueError: the choice is impossible, or of another model; the workdir holds
      no checkpoint, or the output is there already.
  """
  if isinstance(choice, Submodel):
    choice = Choice(choice)
  exp, output = experiment.load(workdir), pathlib.Path(output)
  small = experiment.chosen(experiment.whole(exp), choice)
  files.check_new(output, leave)
  processes.barrier('nothing is there')  # Before another process writes.
  if choice.submodel not in exp.space.submodels:
    logging.warning('%s is not among the submodels that were trained (%s).',
                    choice.submodel, ', '.join(map(str, exp.space)))
  params = checkpoint.load_params(workdir, exp.shapes, step)
  params = exp.cut(params, choice)
  if choice.cuts:
    params = statistics.recalibrated(
        exp, small.model, params,
        lambda: experiment.load_data(exp.config, workdir), stats_batches)

  first = jax.process_index() == 0
  if first:
    shutil.copytree(pathlib.Path(workdir) / experiment.VOCAB,
                    output / experiment.VOCAB)
  # All processes do that together, and each has all of them.
  checkpoint.save_params(output, jax.tree.map(np.asarray, params))
  if first:  # config.json is written last: without it the folder is no workdir.
    choice = dataclasses.replace(choice, model=elastic.fingerprint(exp.shapes))
    workdirs.write_choice(output, json.loads(choice.to_json()))
    origin.copy(workdir, output)
    experiment.save(output, small.config, exp.sizes)
  return elastic.size(params)


def main() -> None:
  """The command."""
  cli.start()
  workdir = pathlib.Path(cli.required(_WORKDIR))
  if _TRAINED_ONLY.value or _BASE.value:
    _light(workdir, pathlib.Path(cli.required(_OUTPUT)))
    return
  if _CHOICE.value:
    choice, what = experiment.read_choice(_CHOICE.value), _CHOICE.value
    output = cli.required(_OUTPUT)
    if _SUBMODEL.value:
      choice = dataclasses.replace(
          choice, submodel=Submodel.parse(_SUBMODEL.value))
  else:
    choice = Choice(Submodel.parse(cli.required(_SUBMODEL)))
    what = f'submodel {choice.submodel}'
    output = _OUTPUT.value or workdir / choice.submodel.path
  size = extract(workdir, choice, output, best.step_of(workdir, _STEP.value),
                 _STATS_BATCHES.value)
  print(f'{output}: {what}, {size:,} parameters')


def _light(workdir, output):
  """Writes a light folder, or puts one onto its base."""
  if _SUBMODEL.value or _CHOICE.value or (_TRAINED_ONLY.value and _BASE.value):
    raise ValueError(
        '--trained_only and --base take what there is, one of them at a time; '
        'leave --submodel and --choice out, and extract these first.')
  if _BASE.value:
    size = light.join(workdir, _BASE.value, output)
    print(f'{output}: {workdir} on {_BASE.value}, {size:,} parameters')
    return
  size = light.write(workdir, output, best.step_of(workdir, _STEP.value))
  print(f'{output}: what training changed of {workdir}, {size:,} parameters')


if __name__ == '__main__':
  cli.run(main, DESCRIPTION, EXAMPLES)
