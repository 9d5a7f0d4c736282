"""Batch statistics that train against stored ones that nobody measured.

  apt-get install dataset-fashion-mnist    # Or --manual_dir.
  python tests/bench/batch_stats.py --output runs/batch_stats --seeds 0 1 2

Trains configs/cvt_fashion.py from scratch both ways, with every seed. Prints and
saves test accuracy and loss of each run, the means, and the differences seed by
seed. Finished runs are kept: the same command goes on where it stopped.
"""
import argparse
import json
import pathlib

from bst_jax import train
from bst_jax.report import scoring
from bst_jax.store import workdir as workdirs
from configs import cvt_fashion
import jax
import numpy as np

SOURCES = 'stored', 'batch'


def experiment(source, seed, steps, manual_dir):
  """One run's config."""
  config = cvt_fashion.get_config()
  config.seed, config.model.batch_stats = seed, source
  config.data.manual_dir = manual_dir
  config.steps = steps or config.steps
  config.eval_every, config.save_every = 0, config.steps
  return config


def table(runs):
  """Text of {source: [{'seed': …, 'accuracy': …, 'loss': …}]}."""
  lines = [('statistics', 'seed', 'accuracy', 'loss')]
  for source, rows in runs.items():
    lines += [(source, str(row['seed']), f'{row["accuracy"]:.2f}',
               f'{row["loss"]:.3f}') for row in rows]
  mean = lambda source, key: np.mean([row[key] for row in runs[source]])
  lines += [(source, 'mean', f'{mean(source, "accuracy"):.2f}',
             f'{mean(source, "loss"):.3f}') for source in runs]
  stored, batch = (np.array([row['accuracy'] for row in runs[source]])
                   for source in SOURCES)
  gap = batch - stored
  return (f'{scoring.aligned(lines)}\nbatch minus stored: {gap.mean():+.2f} '
          f'({gap.min():+.2f} to {gap.max():+.2f}) points')


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('--output', type=pathlib.Path, required=True)
  parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
  parser.add_argument('--steps', type=int, default=0,
                      help="Of a run; 0: the config's own.")
  parser.add_argument('--manual_dir', default='',
                      help="Folder of Fashion-MNIST's four files.")
  args = parser.parse_args()
  # The seeds of one variant share a program.
  jax.config.update('jax_compilation_cache_dir', str(
      (args.output / 'compiled').absolute()))

  runs = {source: [] for source in SOURCES}
  for seed in args.seeds:
    for source in SOURCES:
      place = args.output / f'{source}_{seed}'
      config = experiment(source, seed, args.steps, args.manual_dir)
      workdirs.check_same(place, config)
      result = f'evaluation_{config.data.eval}.json'
      if not (place / result).exists():
        train.run(config, place)
      row = workdirs.read_json(place, result)['rows'][0]
      runs[source].append({
          'seed': seed, 'accuracy': row['accuracy']['overall'],
          'loss': row['loss']})
  (args.output / 'batch_stats.json').write_text(json.dumps(runs, indent=2))
  print(table(runs))


if __name__ == '__main__':
  main()
