"""Submodels of one sandwich training against the same models trained alone.

  python tests/bench/alone.py --workdir runs/quickstart --output runs/alone \
      --seeds 0,1,2

Every submodel of the workdir's space is trained on labels from random
parameters, at its own size, with the optimiser, schedule and number of steps
of the workdir's last phase. Prints one row a submodel: the sandwich's accuracy
on the evaluation split, and that of the models alone, by seed. Finished runs
are kept: the same command goes on where it stopped.
"""
import argparse
import json
import pathlib

from bst_jax import experiment, extract, train
import numpy as np


def alone(exp, sub, seed):
  """The config of the model that `sub` is, trained by itself."""
  config = extract.small_config(exp, exp.model.at(sub))
  config.optimizer = exp.config.teacher.optimizer
  config.seed = config.data.seed = seed
  config.eval_every = 0
  return config


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('--workdir', required=True)
  parser.add_argument('--output', required=True)
  parser.add_argument('--seeds', default='0')
  parser.add_argument('--submodels', default='all')
  args = parser.parse_args()

  exp = experiment.load(args.workdir)
  split = exp.config.data.eval
  result = json.loads((pathlib.Path(args.workdir)
                       / f'evaluation_{split}.json').read_text())
  sandwich = {r['submodel']: r['accuracy']['overall'] for r in result['rows']}
  print('submodel  sandwich  alone, by seed')
  for sub in exp.parse(args.submodels):
    scores = []
    for seed in args.seeds.split(','):
      home = pathlib.Path(args.output) / f'{sub.path}_seed{seed}'
      train.run(alone(exp, sub, int(seed)), home)
      rows = json.loads((home / f'evaluation_{split}.json').read_text())['rows']
      scores.append(rows[0]['accuracy']['overall'])
    spread = f'  mean {np.mean(scores):.1f}' if len(scores) > 1 else ''
    print(f'{sub!s:8}  {sandwich[str(sub)]:8.1f}  '
          f'{" ".join(f"{s:.1f}" for s in scores)}{spread}', flush=True)


if __name__ == '__main__':
  main()
