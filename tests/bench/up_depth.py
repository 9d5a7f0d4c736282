"""Channels against layers of a small PVTv2, at equal multiply-accumulates.

  apt-get install dataset-fashion-mnist    # Or --manual_dir.
  python tests/bench/up_depth.py --output runs/up_depth --seeds 0 1 2

configs/up_fashion.py:pvt. A parent is trained once a seed. `prune` takes layers out
of it, of two, four and two in the stages one, two and one; as many
multiply-accumulates by channels alone, in equal shares and by a ranking among alike
sets; and as many by one layer of each of the last two stages and channels. All
learn from the parent for --steps steps; so does, from random parameters, the
structure that equal shares leave. Prints the test accuracy before and after
learning, means and ranges of seeds. Finished runs are kept: the same command goes
on where it stopped.
"""
import os
import subprocess
import sys

from bst_jax.report import scoring
from bst_jax.run import experiment
import kept

# What prune is asked for beside the budget.
WAYS = {'layers alone': ('--layers=1,2,1',),
        'channels alone, equal shares': ('--mode=uniform',),
        'channels alone, by rank': ('--mode=isomorphic',),
        'layers and channels': ('--layers=2,3,1', '--mode=uniform')}


def cut(parent, folder, macs, flags, args):
  """What `prune` leaves of a parent, a workdir."""
  output = args.output / folder
  if not (output / 'config.json').exists():
    subprocess.run(
        [sys.executable, '-m', 'bst_jax.prune', f'--workdir={parent}',
         f'--target=macs<={macs}', '--pictures_per_class=20',
         f'--output={output}', *flags], check=True,
        env=os.environ | {'BST_JAX_CACHE': str(args.output / 'programs')})
  return output


def of_seed(seed, args):
  """{row: (before, after, macs, params)} of a seed; None for no number."""
  parent = kept.of_fashion(
      f'parent-{seed}', 'pvt', args, seed, steps=args.parent_steps)
  whole, = kept.scored(parent)
  found = {'the parent': (None, whole['accuracy'], whole['macs'],
                          whole['params'])}
  macs, learn = whole['macs'], dict(
      teacher_from=str(parent), steps=args.steps)
  for row, flags in WAYS.items():
    name = row.replace(' ', '_').replace(',', '')
    start = cut(parent, f'{name}-{seed}-cut', macs, flags, args)
    model = experiment.load(start).config.model
    before, = kept.scored(start)
    after, = kept.scored(kept.of_fashion(
        f'{name}-{seed}', 'pvt,taught', args, seed, model=model,
        start=str(start), **learn))
    found[row] = (before['accuracy'], after['accuracy'], after['macs'],
                  after['params'])
    if row == 'layers alone':  # As many are asked for from then on.
      macs = after['macs']
    if flags == ('--mode=uniform',):
      random, = kept.scored(kept.of_fashion(
          f'random-{seed}', 'pvt,taught', args, seed, model=model, **learn))
      found['the same shares from random parameters'] = (
          None, random['accuracy'], random['macs'], random['params'])
  return found


def main():
  args = kept.parser(__doc__).parse_args()
  kept.programs(args.output)
  seeds = [of_seed(seed, args) for seed in args.seeds]
  print(f'\nFashion-MNIST, test accuracy after {args.steps} steps, seeds '
        f'{args.seeds}; costs of the first')
  lines = [('', 'MACs', 'params', 'before', 'after')]
  for row, (before, _, macs, params) in seeds[0].items():
    column = lambda i, row=row: [found[row][i] for found in seeds]
    lines.append((row, f'{macs:,}', f'{params:,}',
                  '' if before is None else kept.spread(column(0)),
                  kept.spread(column(1))))
  print(scoring.aligned(lines))


if __name__ == '__main__':
  main()
