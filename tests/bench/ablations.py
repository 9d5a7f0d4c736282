"""BST's choices, each against another, from the same teachers.

  for seed in 0 1 2; do python -m bst_jax.train --config configs/quickstart.py \
      --workdir runs/seed$seed --config.seed=$seed; done
  python tests/bench/ablations.py --output runs/ablations \
      --workdirs runs/seed0 runs/seed1 runs/seed2 --steps 500

For each workdir, the sandwich is trained again from the workdir's teacher with
one setting changed at a time. Prints and saves, for every variant, accuracy on
the evaluation split of the smallest submodel, on average over the submodels and
of the full one: mean over the seeds, and the difference from the published
choices with its range. Finished runs are kept: the same command goes on where
it stopped.
"""
import argparse
import json
import pathlib

from bst_jax import train
from bst_jax.report import scoring
from bst_jax.run import experiment
from bst_jax.store import workdir as workdirs
import jax
import ml_collections
import numpy as np

PUBLISHED = 'as published'
VARIANTS = {
    PUBLISHED: {},
    'no triangle filter': {'space.filter': 'none'},
    'K = 3': {'method.sampled': 1},
    'K = 7': {'method.sampled': 5},
    'teacher in place': {'method.teacher': 'inplace'},
    'labels, no teacher': {'method.teacher': 'labels'},
    'teacher and labels': {'method.gt_weight': 1.0},
    'keep first layers': {'space.strategy': 'keep_first'},
    'keep last layers': {'space.strategy': 'keep_last'},
    'uniform layers': {'space.strategy': 'uniform'},
    'random layers': {'space.strategy': 'random'},
}
COLUMNS = 'smallest', 'mean', 'full'


def variant(config, changes, steps):
  """The sandwich of `config` with some settings changed."""
  config = config.copy_and_resolve_references()
  config.teacher = ml_collections.ConfigDict()  # Trained already.
  config.eval_every, config.steps = 0, steps or config.steps
  config.save_every = config.steps
  config.update_from_flattened_dict(changes)
  return config


def accuracies(place, split, subs):
  """Accuracy of the smallest, on average and of the full one of `subs`."""
  rows = workdirs.read_json(place, f'evaluation_{split}.json')['rows']
  scores = {row['submodel']: row['accuracy']['overall'] for row in rows}
  scores = [scores[str(sub)] for sub in subs]
  return scores[0], float(np.mean(scores)), scores[-1]


def table(scores, seeds, split):
  """Text of {variant: [seed][column]} accuracies."""
  head = ('variant', *COLUMNS,
          *(f'{name}, difference (range)' for name in COLUMNS))
  lines = [head]
  base = np.array(scores[PUBLISHED])
  for name, values in scores.items():
    values = np.array(values)
    gap = values - base[:len(values)]
    lines.append((name, *(f'{x:.1f}' for x in values.mean(0)), *(
        '' if name == PUBLISHED else
        f'{g.mean():+.1f} ({g.min():+.1f} to {g.max():+.1f})' for g in gap.T)))
  return (f'{seeds} seeds, split {split}: accuracy in percent, and difference '
          f'from the first row, seed by seed\n{scoring.aligned(lines)}')


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('--workdirs', nargs='+', required=True)
  parser.add_argument('--output', type=pathlib.Path, required=True)
  parser.add_argument('--variants', nargs='+', default=list(VARIANTS),
                      choices=list(VARIANTS), metavar='NAME',
                      help='Some of: ' + ', '.join(map(repr, VARIANTS)))
  parser.add_argument('--steps', type=int, default=0,
                      help="Steps of a sandwich; 0: the workdir's own.")
  args = parser.parse_args()
  names = [pathlib.Path(home).name for home in args.workdirs]
  if len(set(names)) < len(names):
    parser.error(f'the workdirs {names} must differ in their last names, by '
                 'which results are kept.')
  # The seeds of one variant share a program.
  jax.config.update('jax_compilation_cache_dir', str(
      (args.output / 'compiled').absolute()))

  exps = {home: experiment.load(home) for home in args.workdirs}
  split = next(iter(exps.values())).config.data.eval
  scores = {}
  for name in dict.fromkeys((PUBLISHED, *args.variants)):
    for home, exp in exps.items():
      place = (args.output / pathlib.Path(home).name /
               name.replace(' ', '_').replace(',', ''))
      config = variant(exp.config, VARIANTS[name], args.steps)
      config.init_from = str(pathlib.Path(home) / 'teacher')
      workdirs.check_same(place, config)
      if not (place / f'evaluation_{split}.json').exists():
        train.run(config, place)
      scores.setdefault(name, []).append(
          accuracies(place, split, exp.space.submodels))
  (args.output / 'ablations.json').write_text(json.dumps(scores, indent=2))
  print(table(scores, len(exps), split))


if __name__ == '__main__':
  main()
