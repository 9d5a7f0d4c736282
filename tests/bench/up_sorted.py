"""A sandwich that starts from sorted channels, from those as they are, and shuffled.

  python tests/bench/up_sorted.py --output runs/up_sorted --seeds 0 1 2

The quickstart's teacher is trained once a seed. `prune --sort_for bst` puts its
channels in the order of Fisher's scores, and of random ones; it computes the same.
From each of the three the sandwich of ten submodels is trained, taught by it.
Prints the test accuracy of every submodel at the given steps of one training; at
step 0 those are the teacher's prefixes. Finished runs are kept: the same command
goes on where it stopped.
"""
import argparse
import os
import pathlib
import subprocess
import sys

from bst_jax.report import scoring
from bst_jax.run import experiment
from configs import quickstart
import kept

# How channels are put in order: kind of scores, or none.
ORDERS = {'as they are': None, 'sorted': 'fisher', 'random': 'random'}


def teacher(seed, args):
  """The workdir of the quickstart's teacher."""
  config = quickstart.get_config()
  config.seed = seed
  return kept.trained(args.output / f'teacher-{seed}', config.teacher)


def ordered(workdir, order, seed, args):
  """The teacher with its channels in an order, a workdir."""
  if ORDERS[order] is None:
    return workdir
  output = args.output / f'{order}-{seed}-start'
  if not (output / 'config.json').exists():
    subprocess.run(
        [sys.executable, '-m', 'bst_jax.prune', f'--workdir={workdir}',
         '--sort_for=bst', f'--kind={ORDERS[order]}', f'--seed={seed}',
         f'--output={output}'], check=True,
        env=os.environ | {'BST_JAX_CACHE': str(args.output / 'programs')})
  return output


def sandwich(start, order, seed, args):
  """The sandwich that starts from a workdir."""
  config = quickstart.get_config()
  config.seed, config.start = seed, str(start)
  config.teacher = None
  config.steps, config.eval_every = max(args.steps), 0
  config.save_every, config.keep = min(args.steps), max(args.steps)
  return kept.trained(args.output / f'{order}-{seed}'.replace(' ', '_'), config)


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('--output', type=pathlib.Path, required=True)
  parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
  parser.add_argument('--steps', type=int, nargs='+', default=[500, 1500, 3000],
                      help='multiples of the first; training ends at the last')
  args = parser.parse_args()
  kept.programs(args.output)
  found = {}
  for seed in args.seeds:
    first = teacher(seed, args)
    for order in ORDERS:
      start = ordered(first, order, seed, args)
      workdir = sandwich(start, order, seed, args)
      subs = experiment.load(workdir).space.submodels
      for step in (0, *args.steps):
        rows = (kept.scored(workdir, subs, step) if step else
                kept.scored(start, subs))
        for sub, row in zip(subs, rows):
          found.setdefault((step, sub), {}).setdefault(order, []).append(
              row['accuracy'])
  print(f'Test accuracy, seeds {args.seeds}: mean and range')
  lines = [('step', 'submodel', *ORDERS)]
  for (step, sub), of_order in found.items():
    lines.append((str(step), str(sub), *(
        kept.spread(of_order[order]) for order in ORDERS)))
  print(scoring.aligned(lines))


if __name__ == '__main__':
  main()
