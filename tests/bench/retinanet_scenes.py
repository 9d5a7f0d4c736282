"""What a pruned backbone is worth to a detector: RetinaNet on digit scenes.

  python tests/bench/retinanet_scenes.py --output runs/retinanet --seeds 0 1 2

A PVTv2 (configs/pvt_v2.py:small) learns to name the digits of plates that are cut
out of scenes. Half of every set of its channels is cut out by each kind of score and
learns from the parent, for --steps steps; so does the same structure from random
parameters, from labels alone. Each is then the backbone of
configs/retinanet_scenes.py, which trains for --detector_steps on whole scenes; so is
the same structure from random parameters, and the parent. Prints accuracies on
crops and average precision on the scenes' test split, means and ranges of seeds.
Finished runs are kept: the same command goes on where it stopped.
"""
import argparse
import pathlib

from bst_jax import elastic, extract
from bst_jax.data.builders.digit_scenes import drawing, scenes
from bst_jax.data.builders.digit_scenes.draws import Draws
from bst_jax.pruning import scoring as channels
from bst_jax.pruning import select
from bst_jax.report import scoring
from bst_jax.run import experiment
from bst_jax.store import checkpoint
from configs import pvt_v2, retinanet_scenes
import kept
from PIL import Image

_STREAM = 79  # Sets these scenes apart from those of the data set.
KINDS = 'hybrid', 'random'
_RULE = 'per_head'


def crops(folder: pathlib.Path, split: str, count: int) -> None:
  """Writes cells of scenes that have a plate, in folders of their digits."""
  for i in range(count):
    draws = Draws(0, _STREAM, scenes.SPLITS[split][0], i)
    plates = scenes.sample(scenes.FULL, split, draws)
    whole = drawing.draw(scenes.FULL, plates, draws, split == 'train')
    for j, plate in enumerate(plates):
      y, x = (scenes.CELL * at for at in (plate.row, plate.column))
      path = folder / split / str(plate.digit) / f'{i}_{j}.png'
      path.parent.mkdir(parents=True, exist_ok=True)
      Image.fromarray(whole[y:y + scenes.CELL, x:x + scenes.CELL]).save(path)


def classifier(name, args, seed, model=None, **changes):
  """The workdir of a classifier of crops, trained in it."""
  config = pvt_v2.get_config('small')
  config.seed, config.epochs = seed, 0
  config.data = dict(
      name='class_folders', manual_dir=str(args.output / 'crops'),
      train='train', eval='test', batch=64, image_size=(32, 32),
      image_fit='stretch', augment=dict(flip=0.0), seed=seed, limit=0,
      data_dir=str(args.output / 'data'))
  config.optimizer = dict(name='adamw', lr=2e-3, weight_decay=0.05, clip=1.0)
  config.schedule = dict(name='cosine', warmup=0.1)
  config.model.depth_dropout = 0.0
  config.log_every, config.save_every, config.eval_every = 100, 10 ** 6, 0
  if model is not None:
    config.model = model
  config.update(changes)
  return kept.trained(args.output / f'{name}-{seed}', config)


def cut(parent, kind, args, seed):
  """Half of every set of a parent's channels, by scores of a kind."""
  output = args.output / f'{kind}-{seed}-cut'
  if not (output / 'config.json').exists():
    exp = experiment.load(parent)
    params = checkpoint.load_params(parent, exp.shapes)
    data = experiment.load_data(exp.config, parent)
    batches = [dict(batch) for batch in data.calibration(
        groups=data.of_each_class(args.per_class, seed=seed))]
    scores = channels.score(exp, params, batches, kind, seed,
                            args.output / f'{kind}-{seed}-scores')
    extract.extract(parent, select.choice(
        scores, exp.shapes, exp.axes, select.uniform(
            exp.shapes, exp.axes, 1 / 2, rule=_RULE), _RULE), output)
  return output


def detector(name, args, seed, backbone, started=True):
  """The workdir of a detector on the backbone of a classifier's workdir."""
  config = retinanet_scenes.get_config()
  config.seed, config.steps = seed, args.detector_steps
  sizes = experiment.load(backbone).config.model.to_dict()
  config.model = config.model.to_dict() | sizes | dict(name='retinanet')
  if started:
    config.start = dict(workdir=str(backbone), fresh=('fpn', 'head'))
  config.log_every, config.save_every, config.eval_every = 100, 10 ** 6, 0
  return kept.trained(args.output / f'boxes-{name}-{seed}', config)


def of_seed(seed, args):
  """{row: (accuracy on crops or None, average precision)} of a seed."""
  main = lambda workdir: kept.scored(workdir)[0]['accuracy']
  parent = classifier('parent', args, seed, steps=args.parent_steps)
  taught = dict(method=dict(name='plain', teacher_weight=6.4, gt_weight=1.0),
                teacher_from=str(parent), steps=args.steps)
  backbones = {'the parent': parent}
  for kind in args.kinds:
    start = cut(parent, kind, args, seed)
    small = experiment.load(start).config.model.to_dict()
    backbones[f'cut by {kind}, taught'] = classifier(
        kind, args, seed, small, start=str(start), **taught)
  backbones['its structure, from labels'] = classifier(
      'scratch', args, seed, small, steps=args.steps + args.parent_steps)
  found = {row: (main(workdir), main(detector(
      workdir.name.rpartition('-')[0], args, seed, workdir)))
           for row, workdir in backbones.items()}
  found['its structure, from random parameters'] = None, main(detector(
      'none', args, seed, backbones['its structure, from labels'], False))
  return found


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('--output', type=pathlib.Path, required=True)
  parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
  parser.add_argument('--kinds', nargs='+', default=list(KINDS))
  parser.add_argument('--pictures', type=int, default=4000,
                      help='scenes that plates are cut out of')
  parser.add_argument('--per_class', type=int, default=20,
                      help='crops of a digit that scores are of')
  parser.add_argument('--parent_steps', type=int, default=2000)
  parser.add_argument('--steps', type=int, default=1000)
  parser.add_argument('--detector_steps', type=int, default=1500)
  args = parser.parse_args()
  kept.programs(args.output)
  if not (args.output / 'crops').exists():
    for split, count in (('train', args.pictures), ('test', 300)):
      crops(args.output / 'crops', split, count)
  seeds = {seed: of_seed(seed, args) for seed in args.seeds}
  exp = experiment.load(args.output / f'{args.kinds[0]}-{args.seeds[0]}-cut')
  print(f'\nDigit scenes, a backbone of {elastic.size(exp.shapes):,} parameters '
        f'with its head, detectors after {args.detector_steps} steps')
  lines = [('', 'crops named %', 'average precision %')]
  for row in next(iter(seeds.values())):
    named, precision = zip(*(found[row] for found in seeds.values()))
    lines.append((row, '' if named[0] is None else kept.spread(named),
                  kept.spread(precision)))
  print(scoring.aligned(lines))


if __name__ == '__main__':
  main()
