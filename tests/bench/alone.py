"""Submodels of sandwich trainings against the same models trained alone.

  for seed in 0 1 2; do python -m bst_jax.train --config configs/quickstart.py \
      --workdir runs/seed$seed --config.seed=$seed; done
  python tests/bench/alone.py --output runs/alone \
      --workdirs runs/seed0 runs/seed1 runs/seed2

For each workdir, every submodel of its space is trained on labels from random
parameters, at its own size, for as many steps as the workdir's sandwich, with
its teacher's optimiser and its seed. Prints and saves one row a submodel:
accuracy on the evaluation split, mean and smallest to largest over the seeds.
Without --output nothing is trained, and only the sandwich's spread is printed.
Finished runs are kept: the same command goes on where it stopped.
"""
import argparse
import json
import pathlib

from bst_jax import train
from bst_jax.elastic import Choice
from bst_jax.report import scoring
from bst_jax.run import experiment
from bst_jax.store import workdir as workdirs
import jax
import numpy as np


def alone(exp, sub):
  """The config of the model that `sub` is, trained by itself."""
  config = experiment.chosen(experiment.whole(exp), Choice(sub)).config
  config.optimizer = exp.config.teacher.optimizer
  config.schedule = exp.config.teacher.schedule
  config.eval_every = 0
  return config


def rows_of(workdir, split):
  """{submodel: accuracy} of a workdir that has been evaluated."""
  result = workdirs.read_json(workdir, f'evaluation_{split}.json')
  return {r['submodel']: r['accuracy']['overall'] for r in result['rows']}


def text(scores):
  """Mean and range of a list of accuracies."""
  return f'{np.mean(scores):.1f} ({min(scores):.1f}-{max(scores):.1f})'


def table(runs):
  """Prints the spread of {workdir: {submodel: accuracy}}."""
  lines = [('submodel', f'accuracy, {len(runs)} seeds')]
  for sub in next(iter(runs.values())):
    lines.append((sub, text([scores[sub] for scores in runs.values()])))
  print(scoring.aligned(lines))


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('--workdirs', nargs='+', required=True)
  parser.add_argument('--output', type=pathlib.Path)
  parser.add_argument('--submodels', default='all')
  args = parser.parse_args()
  output = args.output
  if output is None:
    table({home: rows_of(home, experiment.load(home).config.data.eval)
           for home in args.workdirs})
    return
  # The seeds of one submodel share a program.
  jax.config.update('jax_compilation_cache_dir', str(
      (output / 'compiled').absolute()))

  exps = {home: experiment.load(home) for home in args.workdirs}
  exp = next(iter(exps.values()))
  split = exp.config.data.eval
  scores = {}
  for home, exp in exps.items():
    for sub in exp.parse(args.submodels):
      place = output / pathlib.Path(home).name / sub.path
      if not (place / f'evaluation_{split}.json').exists():
        train.run(alone(exp, sub), place)
      pair = scores.setdefault(str(sub), ([], []))
      pair[0].append(rows_of(home, split)[str(sub)])
      pair[1].append(*rows_of(place, split).values())

  lines = [('submodel', 'sandwich', 'alone', 'difference')]
  for sub, (together, single) in scores.items():
    lines.append((sub, text(together), text(single),
                  f'{np.mean(together) - np.mean(single):+.1f}'))
  (output / 'alone.json').write_text(json.dumps(scores, indent=2))
  print(f'{len(exps)} seeds, split {split}: mean and range of the accuracy in '
        f'percent\n{scoring.aligned(lines)}')


if __name__ == '__main__':
  main()
