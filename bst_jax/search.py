"""Finds a choice for a trained model: which tokens it can do without."""
import dataclasses
import json
import pathlib
import shutil
from typing import Any

from absl import flags
from bst_jax import elastic
from bst_jax.elastic import Choice
from bst_jax.host import alive, cli, files
from bst_jax.layers.sampler import Ats
from bst_jax.learn import sharding
from bst_jax.report.budget import Budget
from bst_jax.run import experiment
from bst_jax.sampling import calibration
from bst_jax.store import best, checkpoint
from bst_jax.store import workdir as workdirs
import jax

METHODS = ('ats',)

_WORKDIR = cli.define_workdir()
_METHOD = flags.DEFINE_enum(
    'method', 'ats', METHODS, 'What is searched: ats, sampled tokens.',
    allow_override=True)
_BUDGET = flags.DEFINE_string(
    'budget', None, "What to keep below: 'macs<=3.0G', the program's with all "
    "its token slots, or 'mean_macs<=3.0G', an image's for its own tokens.",
    allow_override=True)
_OUTPUT = flags.DEFINE_string(
    'output', None, 'New workdir of the same parameters with the choice.',
    allow_override=True)
_BLOCKS = flags.DEFINE_string(
    'blocks', None, 'Layers that sample, as 3-11 or 3,6,9; those of the '
    'config, else all but the first quarter.', allow_override=True)
_SELECTION = flags.DEFINE_enum(
    'selection', None, ['its', 'topk'], 'its, inverse transform sampling, or '
    'topk, the highest scores; as in the config if left out.',
    allow_override=True)
_IMAGES = flags.DEFINE_integer(
    'images', 2048, 'Training images whose tokens are counted.', lower_bound=1,
    allow_override=True)
_QUANTILE = flags.DEFINE_float(
    'quantile', 0.99, 'Share of the images whose tokens all fit into the slots '
    'of a layer.', lower_bound=0.0, upper_bound=1.0, allow_override=True)
_MULTIPLE = flags.DEFINE_integer(
    'multiple', 1, 'Widths, with the class token, are rounded up to this; 8 or '
    '128 on accelerators.', lower_bound=1, allow_override=True)
_STEP = flags.DEFINE_string('step', None, best.STEP_HELP, allow_override=True)

FIRST = ('workdir', 'method', 'budget', 'output')
DESCRIPTION = """Finds how a trained vision transformer samples its tokens within
a budget, without training: the number of grid points by bisection, the token
slots of every layer by a quantile of the counts over training images.

Writes a new workdir with the same parameters, the sampling in its config, and
choice.json. Evaluate it as it is (off the shelf), or train on from it:
--config.start=OUTPUT --config.choice=OUTPUT/choice.json (fine-tuned)."""
EXAMPLES = """python -m bst_jax.search --method ats --budget 'macs<=3.0G' --workdir runs/deit --output runs/deit_3g
python -m bst_jax.search --budget 'mean_macs<=2.5G' --blocks 3 --selection topk --workdir runs/deit --output runs/topk
python -m bst_jax.evaluate --workdir runs/deit_3g --show 16"""


def sampling(exp: experiment.Experiment, blocks: str | None,
             selection: str | None) -> Ats:
  """Where and how a model is to sample; no numbers yet.

  Raises:
    ValueError: the model cannot sample, or not in these layers.
  """
  model = exp.model
  if not hasattr(model, 'ats'):
    raise ValueError(
        f'model {exp.config.model.name} cannot sample tokens; those that can '
        'have a setting model.ats, as configs/ats_deit_s.py.')
  depth = model.num_layers  # Of stages the last one samples.
  depth = depth[-1] if isinstance(depth, tuple) else depth
  layers = (calibration.layers(blocks, depth) if blocks else
            model.ats.blocks or calibration.usual_layers(depth))
  changes = {'method': selection} if selection else {}
  if selection == 'topk':
    changes['grad'] = 'hard'
  ats = dataclasses.replace(model.ats, blocks=layers, num_points=None,
                            capacity=None, **changes)
  model.clone(ats=ats)  # A layer that is not there fails here.
  return ats


def search(workdir: pathlib.Path, output: pathlib.Path, budget: Budget,
           blocks: str | None = None, selection: str | None = None,
           images: int = 2048, quantile: float = 0.99, multiple: int = 1,
           step: int | None = None, data: Any = None) -> calibration.Found:
  """Writes `output`, a workdir whose model samples within the budget.

  The arguments are those of the command; `data` saves reading them again.

  Raises:
    ValueError: the budget cannot be met, the model cannot sample, or `output`
      is not empty.
  """
  if jax.process_count() > 1:
    raise ValueError('search counts the tokens of images in one process, and '
                     f'{jax.process_count()} are here; leave --multihost out.')
  files.check_new(output)
  exp = experiment.load(workdir)
  ats = sampling(exp, blocks, selection)
  params = checkpoint.load_params(workdir, exp.shapes, step)
  data = data or experiment.load_data(exp.config, workdir)
  mesh = sharding.make_mesh({'data': -1})
  with jax.set_mesh(mesh):
    with alive.told(f'counting the tokens of {images} pictures') as stretch:
      batches = stretch.over(data.calibration(limit=images))
      found = calibration.search(exp, params, ats, batches, mesh, budget,
                                 quantile, multiple)
  choice = Choice(tokens={
      name: value for name, value in dataclasses.asdict(found.ats).items()
      if name in ('blocks', 'num_points', 'capacity', 'method', 'grad')},
      model=elastic.fingerprint(exp.shapes))
  small = experiment.chosen(exp, choice)

  # config.json is written last: without it the folder is no workdir.
  shutil.copytree(pathlib.Path(workdir) / experiment.VOCAB,
                  output / experiment.VOCAB)
  checkpoint.save_params(output, params)
  workdirs.write_choice(output, json.loads(choice.to_json()))
  workdirs.write_json(output, 'search.json', {
      'budget': str(budget), 'macs': found.macs, 'mean_macs': found.mean_macs,
      'images': images, 'quantile': quantile, 'tried': found.tried})
  experiment.save(output, small.config, exp.sizes)
  return found


def main() -> None:
  """The command."""
  cli.start()
  workdir = pathlib.Path(cli.required(_WORKDIR))
  output = pathlib.Path(cli.required(_OUTPUT))
  budget = Budget.parse(cli.required(_BUDGET))
  found = search(workdir, output, budget, _BLOCKS.value, _SELECTION.value,
                 _IMAGES.value, _QUANTILE.value, _MULTIPLE.value,
                 best.step_of(workdir, _STEP.value))
  ats = found.ats
  print(f'\n{budget}: {ats.num_points} '
        f'{"tokens" if ats.method == "topk" else "grid points"}, slots '
        f'{", ".join(map(str, ats.capacity))} behind the layers '
        f'{", ".join(map(str, ats.blocks))}; {found.macs:,} '
        f'multiply-accumulates, {found.mean_macs:,.0f} for the tokens of an '
        f'image on average\nSaved {output}, with choice.json')


if __name__ == '__main__':
  cli.run(main, DESCRIPTION, EXAMPLES)
