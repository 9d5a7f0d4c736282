"""Ten MCAN submodels on true boxes, on regions that a TEE found, and on pixels.

  python -m bst_jax.train --config configs/tee_scenes.py --workdir runs/tee
  python tests/bench/regions_scenes.py --detector runs/tee --output runs/regions \
      --seeds 0 1 2

The detector finds the regions of all pictures of the digit scenes `full`, once. For
every seed configs/quickstart.py, teacher and sandwich, is trained on the plates' true
boxes with the features of the data set's own network, and on what the detector
found; configs/bst_mcan_pictures.py on raw pictures (--ways). Prints test accuracies
of the submodels, means and ranges of seeds. Finished runs are kept: the same command
goes on where it stopped.
"""
import argparse
import pathlib

from bst_jax.data import picture_source
from bst_jax.report import scoring
from bst_jax.run import extractor, features
from configs import bst_mcan_pictures, quickstart
import kept

DATA = 'digit_scenes/full'
WAYS = ('boxes', 'regions', 'pixels')


def config_of(way, seed, args):
  """The config of a way with a seed."""
  config = (bst_mcan_pictures if way == 'pixels' else quickstart).get_config()
  config.seed = seed
  config.steps, config.teacher.steps = args.steps, args.teacher_steps
  for part in (config, config.teacher):
    part.data.name, part.data.watch, part.data.max_tokens = DATA, '', 14
    part.save_every = 10 ** 6
    if way == 'regions':
      part.data.features = str(args.output / 'features')
  return config


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('--detector', required=True, help='its workdir')
  parser.add_argument('--output', type=pathlib.Path, required=True)
  parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
  parser.add_argument('--ways', nargs='+', default=WAYS, choices=WAYS)
  parser.add_argument('--teacher_steps', type=int, default=2500)
  parser.add_argument('--steps', type=int, default=1500)
  args = parser.parse_args()
  kept.programs(args.output)
  if 'regions' in args.ways:
    finder = extractor.Extractor(args.detector, batch=16)
    features.write(finder, picture_source.of(DATA), args.output / 'features')
  lines = [('submodel', *args.ways)]
  subs, found = None, {}
  for way in args.ways:
    for seed in args.seeds:
      config = config_of(way, seed, args)
      workdir = kept.trained(args.output / f'{way}-{seed}', config)
      subs = subs or kept.space_of(workdir)
      for row, sub in zip(kept.scored(workdir, subs), subs):
        found.setdefault((str(sub), way), []).append(row['accuracy'])
  for sub in subs:
    lines.append((str(sub), *(kept.spread(found[str(sub), way])
                              for way in args.ways)))
  print(f'{DATA}, seeds {args.seeds}, {args.teacher_steps} + {args.steps} steps')
  print(scoring.aligned(lines))


if __name__ == '__main__':
  main()
