"""Sampled tokens against the highest scores, off the shelf and fine-tuned.

  for seed in 0 1 2; do python -m bst_jax.train --config configs/vit_fashion.py \
      --workdir runs/vit$seed --config.seed=$seed; done
  python tests/bench/ats_accuracy.py --output runs/ats \
      --workdirs runs/vit0 runs/vit1 runs/vit2

For each trained workdir and each budget, a share of the multiply-accumulates of
the whole network, the number of points is searched with which images stay
within it on average: for top-K in one layer, inverse transform sampling in the
same layer, and in all from it on. With --steps, one budget's last way is then
trained on, and so is the network that samples nothing, as long. Prints mean and
range of the accuracy over the seeds; finished parts are kept.

Reference: Fayyaz et al., "Adaptive Token Sampling for Efficient Vision
  Transformers", ECCV 2022, figure 5.
"""
import argparse
import json
import pathlib

from bst_jax import elastic, search, train
from bst_jax.learn import sharding
from bst_jax.report import scoring
from bst_jax.report.budget import Budget
from bst_jax.run import experiment
from bst_jax.store import checkpoint
from bst_jax.store import workdir as workdirs
import jax
import numpy as np


def evaluated(workdir, data):
  """The row of a workdir's evaluation, made if it is not there."""
  exp = experiment.load(workdir)
  name = f'evaluation_{exp.config.data.eval}.json'
  if not (workdir / name).exists():
    params = checkpoint.load_params(workdir, exp.shapes)
    mesh = sharding.make_mesh({'data': -1})
    with jax.set_mesh(mesh):
      result = scoring.evaluate(exp, data, params, [elastic.FULL],
                                exp.config.data.eval, mesh)
    workdirs.write_json(workdir, name, result)
  return workdirs.read_json(workdir, name)['rows'][0]


def tuned(workdir, steps, lr):
  """A workdir beside, trained on from this one."""
  config = experiment.load(workdir).config.copy_and_resolve_references()
  config.unlock()
  config.steps, config.save_every, config.eval_every = steps, steps, 0
  config.optimizer.lr, config.init_from = lr, str(workdir)
  place = workdir.with_name(f'{workdir.name}_tuned')
  if not (place / f'evaluation_{config.data.eval}.json').exists():
    train.run(config, place)
  return place


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('--workdirs', nargs='+', type=pathlib.Path, required=True)
  parser.add_argument('--output', type=pathlib.Path, required=True)
  parser.add_argument('--budgets', nargs='+', type=float,
                      default=[0.43, 0.54, 0.65],
                      help='shares; of DeiT-S they are 2.0, 2.5 and 3.0 G.')
  parser.add_argument('--first', type=int, default=1,
                      help='layer of the first sampling.')
  parser.add_argument('--images', type=int, default=1000)
  parser.add_argument('--steps', type=int, default=0,
                      help='of fine-tuning; 0: none.')
  parser.add_argument('--tuned_budget', type=float, default=0.63)
  parser.add_argument('--lr', type=float, default=5e-4)
  args = parser.parse_args()

  # The seeds differ in what they trained on first, not in what there is.
  first = experiment.load(args.workdirs[0])
  data = experiment.load_data(first.config, args.workdirs[0])
  found = {}
  for home in args.workdirs:
    model, whole = experiment.load(home).model, evaluated(home, data)
    add = lambda name, row: found.setdefault(name, []).append(  # noqa: E731
        (row['accuracy']['overall'], row.get('mean_macs', row['macs'])))
    add('nothing sampled', whole)
    stages = f'{args.first}-{model.num_layers - 1}'
    ways = [('top-K, one layer', str(args.first), 'topk'),
            ('sampled, one layer', str(args.first), 'its'),
            ('sampled, many layers', stages, 'its')]

    def place(name, share, blocks, kind, home=home, whole=whole):
      path = (args.output / home.name /
              f'{name.replace(", ", "_").replace(" ", "_")}_{share}')
      if not (path / 'config.json').exists():
        search.search(home, path, Budget('mean_macs', share * whole['macs']),
                      blocks, kind, args.images, quantile=1.0,
                      data=data)
      return path

    for share in args.budgets:
      for name, blocks, kind in ways:
        add(f'{name}, {share:.0%}', evaluated(
            place(name, share, blocks, kind), data))
    if args.steps:
      name, blocks, kind = ways[-1]
      path, share = place(name, args.tuned_budget, blocks, kind), (
          args.tuned_budget)
      add(f'{name}, {share:.0%}', evaluated(path, data))
      add(f'{name}, {share:.0%}, trained on', evaluated(
          tuned(path, args.steps, args.lr), data))
      add('nothing sampled, trained on', evaluated(
          tuned(home, args.steps, args.lr), data))

  lines = [('tokens', 'MACs of tokens', 'accuracy', 'range', 'to nothing')]
  base = np.array(found['nothing sampled'])[:, 0]
  for name, values in found.items():
    accuracy, macs = np.array(values).T
    lines.append((
        name, f'{macs.mean() / 1e6:.2f} M', f'{accuracy.mean():.1f}',
        f'{accuracy.min():.1f}-{accuracy.max():.1f}',
        f'{(accuracy - base).mean():+.2f}'))
  args.output.mkdir(parents=True, exist_ok=True)
  (args.output / 'accuracy.json').write_text(json.dumps(found, indent=2))
  print(f'{len(base)} seeds\n{scoring.aligned(lines)}')


if __name__ == '__main__':
  main()
