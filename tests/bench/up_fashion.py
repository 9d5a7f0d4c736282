"""What pruning is worth: a quarter of a ViT, by every kind of score, and not.

  apt-get install dataset-fashion-mnist    # Or --manual_dir.
  python tests/bench/up_fashion.py --output runs/up --seeds 0 1 2

configs/up_fashion.py. A parent is trained once a seed. A quarter of it is cut out
by each kind of score and learns from the parent, for --steps steps; so do, from
random parameters, the same structure, and once more from labels alone; and the
parent's sandwich of four widths is trained for as many steps, of which the
narrowest is of the same size. Prints the test accuracy of all, before and after
learning, means and ranges of seeds, and how each kind ranks channels beside exact
scores. Finished runs are kept: the same command
goes on where it stopped.
"""

from bst_jax import elastic, extract
from bst_jax.elastic import FULL, Submodel
from bst_jax.pruning import scoring as channels
from bst_jax.pruning import select
from bst_jax.pruning.scores import Scores
from bst_jax.report import scoring
from bst_jax.run import experiment
from bst_jax.store import checkpoint
import kept

QUARTER = Submodel('1/4', 1)
KINDS = 'hybrid', 'kl', 'fisher', 'taylor', 'magnitude', 'random'


def scores_of(parent, kind, args, seed):
  """Scores of a kind of a parent's channels, kept in a file."""
  path = args.output / f'{kind}-{seed}-scores.json'
  if not path.exists():
    exp = experiment.load(parent)
    params = checkpoint.load_params(parent, exp.shapes)
    data = experiment.load_data(exp.config, parent)
    batches = [dict(batch) for batch in data.calibration(
        groups=data.of_each_class(args.per_class, seed=seed))]
    channels.score(exp, params, batches, kind, seed,
                   args.output / f'{kind}-{seed}-scores').save(path)
  return Scores.load(path)


def cut(parent, kind, args, seed):
  """The quarter of a parent that scores of a kind leave, as a workdir."""
  output = args.output / f'{kind}-{seed}-cut'
  if not (output / 'config.json').exists():
    exp = experiment.load(parent)
    sizes = select.uniform(exp.shapes, exp.axes, 1 / 4, rule='segment')
    extract.extract(parent, select.choice(
        scores_of(parent, kind, args, seed), exp.shapes, exp.axes, sizes,
        'segment'), output)
  return output


def agreements(args):
  """Text: how other kinds rank channels beside exact scores, by kind of set."""
  lines = [('rank correlation with exact scores', 'mean', 'lowest')]
  for kind in args.kinds:
    found = {}
    for seed in args.seeds if kind != 'kl' else ():
      exact, other = (scores_of(args.output / f'parent-{seed}', one, args, seed)
                      for one in ('kl', kind))
      for name, values in exact.channels.items():
        found.setdefault(elastic.base(name), []).append(
            channels.agreement(values, other.channels[name]))
    lines += [(f'{kind}, {sets}', f'{sum(values) / len(values):.3f}',
               f'{min(values):.3f}') for sets, values in found.items()]
  return scoring.aligned(lines)


def accuracy(workdir, sub=FULL):
  """Of a workdir on the test split."""
  return kept.scored(workdir, [sub])[0]['accuracy']


def of_seed(seed, args):
  """{row: (accuracy before learning or None, after)} of a seed."""
  parent = kept.of_fashion(f'parent-{seed}', '', args, seed, steps=args.parent_steps)
  taught = dict(teacher_from=str(parent), steps=args.steps)
  found = {'the parent': (None, accuracy(parent))}
  for kind in args.kinds:
    start = cut(parent, kind, args, seed)
    workdir = kept.of_fashion(f'{kind}-{seed}', 'small,taught', args, seed,
                      start=str(start), **taught)
    found[f'cut by {kind}'] = accuracy(start), accuracy(workdir)
  found['from random parameters, taught'] = None, accuracy(kept.of_fashion(
      f'scratch_taught-{seed}', 'small,taught', args, seed, **taught))
  found['from random parameters, labels alone'] = None, accuracy(kept.of_fashion(
      f'scratch-{seed}', 'small', args, seed, steps=args.steps))
  if args.sandwich:
    workdir = kept.of_fashion(f'sandwich-{seed}', 'sandwich', args, seed,
                      start=str(parent), steps=args.steps)
    found['narrowest of a sandwich'] = (
        accuracy(parent, QUARTER), accuracy(workdir, QUARTER))
  return found


def main():
  parser = kept.parser(__doc__)
  parser.add_argument('--per_class', type=int, default=20,
                      help='pictures of a class that scores are of')
  parser.add_argument('--kinds', nargs='+', default=list(KINDS), choices=KINDS)
  parser.add_argument('--sandwich', action='store_true')
  args = parser.parse_args()
  kept.programs(args.output)
  seeds = {seed: of_seed(seed, args) for seed in args.seeds}
  exp = experiment.load(args.output / f'{args.kinds[0]}-{args.seeds[0]}-cut')
  print(f'\nFashion-MNIST, test accuracy of {elastic.size(exp.shapes):,} '
        f'parameters after {args.steps} steps, seeds {args.seeds}')
  lines = [('', 'before', 'after', 'range')]
  for row in next(iter(seeds.values())):
    before, after = zip(*(found[row] for found in seeds.values()))
    lines.append((
        row, '' if before[0] is None else f'{sum(before) / len(before):.1f}',
        f'{sum(after) / len(after):.2f}', f'{min(after):.1f} to {max(after):.1f}'))
  print(scoring.aligned(lines))
  if 'kl' in args.kinds:
    print(f'\n{agreements(args)}')


if __name__ == '__main__':
  main()
