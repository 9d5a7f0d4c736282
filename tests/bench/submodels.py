"""Ten submodels of MiniVLM, UNITER and MCAN: accuracy against cost, in one picture.

  python tests/bench/submodels.py --output runs/submodels --seeds 0 1 2 \\
      --picture docs/minivlm.png

configs/minivlm_scenes.py, bst_uniter_scenes.py and quickstart.py, teacher and
sandwich, are trained for every seed with as many steps of the same data, on regions of
digit scenes. Prints test accuracy of the submodels, mean and range of seeds, beside
multiply-accumulates of a question, and draws them. Finished runs are kept: the same
command goes on where it stopped.
"""
import argparse
import pathlib

from bst_jax.host import files
from bst_jax.report import scoring
from configs import bst_uniter_scenes, minivlm_scenes, quickstart
import kept
from matplotlib.figure import Figure

CONFIGS = {'MiniVLM': minivlm_scenes, 'UNITER': bst_uniter_scenes,
           'MCAN': quickstart}


def found(name, args):
  """{submodel: its rows, one a seed} of a model."""
  each = {}
  for seed in args.seeds:
    config = CONFIGS[name].get_config()
    config.seed = seed
    config.eval_every = 0
    for part in (config, config.teacher):
      part.save_every = 10 ** 6
    workdir = kept.trained(args.output / f'{name.lower()}-{seed}', config)
    subs = kept.space_of(workdir)
    for sub, row in zip(subs, kept.scored(workdir, subs)):
      each.setdefault(str(sub), []).append(row)
  return each


def draw(models, path):
  """Accuracies of submodels against their cost, means and ranges of seeds."""
  figure = Figure(figsize=(6.4, 4.2), layout='constrained')
  axes = figure.subplots()
  for name, each in models.items():
    rows = sorted(each.values(), key=lambda rows: rows[0]['macs'])
    means = [sum(r['accuracy'] for r in of) / len(of) for of in rows]
    low, high = ([abs(mean - pick(r['accuracy'] for r in of))
                  for mean, of in zip(means, rows)] for pick in (min, max))
    axes.errorbar([of[0]['macs'] for of in rows], means, (low, high), fmt='o-',
                  capsize=2, label=name, ms=4, lw=1)
  axes.set(xscale='log', xlabel='multiply-accumulates of a question',
           ylabel='accuracy %')
  axes.grid(alpha=0.3)
  axes.legend(loc='lower right')
  axes.set_title('Submodels of one training each: digit scenes, test split, '
                 'ranges of seeds', fontsize=9)
  with files.beside(path) as place:
    figure.savefig(place, dpi=150)


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('--output', type=pathlib.Path, required=True)
  parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
  parser.add_argument('--models', nargs='+', choices=CONFIGS, default=[*CONFIGS])
  parser.add_argument('--picture', type=pathlib.Path,
                      help='file to draw, .png')
  args = parser.parse_args()
  kept.programs(args.output)
  models = {name: found(name, args) for name in args.models}
  lines = [('', 'submodel', 'parameters', 'MACs', f'accuracy %, {len(args.seeds)} '
            'seeds')]
  for name, each in models.items():
    for sub, rows in each.items():
      lines.append((name, sub, f'{rows[0]["params"]:,}', f'{rows[0]["macs"]:,}',
                    kept.spread([row['accuracy'] for row in rows])))
  print(scoring.aligned(lines))
  if args.picture:
    draw(models, args.picture)


if __name__ == '__main__':
  main()
