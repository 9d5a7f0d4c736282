"""Scoring channels: from where a channel counts, the plain loop, and torch.

  pip install -e '.[parity]'
  python tests/bench/channels.py --layer 6 --rounds 5 --torch

DeiT-T's shape, random parameters and pictures. The exact scores of one layer's
hidden units, so many a round: by bst_jax.pruning; by a plain loop over models
without the unit in JAX, one program, the teacher computed once; and with --torch
as the released code does it, a model rebuilt for every unit and the teacher run
again, in Hugging Face's ViT. They take turns; prints seconds of a unit and the
ratios to ours: median and range. Then the seconds of Fisher's scores of all
channels, and what the estimate of --estimate sets says against the time.
"""
import argparse
import copy
import statistics
import time

from bst_jax import elastic, load_config
from bst_jax.pruning import exact, fisher, gates, one_by_one
from bst_jax.pruning.scores import counts_of, divergence
from bst_jax.report import latency
from bst_jax.run import experiment
import jax
import numpy as np


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('--layer', type=int, default=6)
  parser.add_argument('--images', type=int, default=64)
  parser.add_argument('--units', type=int, default=8, help='of a round')
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--torch', action='store_true')
  parser.add_argument('--fisher', action='store_true')
  parser.add_argument('--estimate', type=int, default=0, metavar='UNITS',
                      help='compare estimate and time of two layers of so many '
                      'hidden units')
  args = parser.parse_args()

  exp = deit_t()
  params, batch = latency.random_params(exp), pictures(args.images)
  name = f'mlp@encoder/layer_{args.layer}/ffn'
  ways = {'ours': ours(exp, params, batch, name, args.units),
          'plain loop in JAX': plain(exp, params, batch, name, args.units)}
  if args.torch:
    ways['released way in torch'] = released(
        params, batch, args.layer, args.units)
  times = {way: [] for way in ways}
  for run in range(args.rounds + 1):  # The first compiles.
    for way, score in ways.items():
      began = time.perf_counter()
      score(run * args.units)
      if run:
        times[way].append((time.perf_counter() - began) / args.units)
  for way, seconds in times.items():
    ratios = [b / a for a, b in zip(times['ours'], seconds)]
    print(f'{way:24} {statistics.median(seconds):7.3f} s a unit  ratio '
          f'{statistics.median(ratios):.2f} ({min(ratios):.2f} to '
          f'{max(ratios):.2f})', flush=True)
  if args.fisher:
    for classes in (1, fisher.CLASSES):
      score = fisher.scorer(exp, classes)
      jax.block_until_ready(score(params, batch))
      began = time.perf_counter()
      jax.block_until_ready(score(params, batch))
      seconds = time.perf_counter() - began
      whole = statistics.median(times['plain loop in JAX'])
      print(f"Fisher's scores of {sum(counts_of(params, exp.axes).values()):,} "
            f'channels, {classes} answers: {seconds:.2f} s, that of '
            f'{seconds / whole:.1f} units in the plain loop', flush=True)
  if args.estimate:
    estimate(exp, params, batch, args.estimate)


def deit_t():
  config = load_config('configs/ats_deit_s.py:dense')
  config.model.update(width=192, heads=3, mlp=768)
  return experiment.build(config, dict(num_answers=1000, image_size=224))


def pictures(count):
  rng = np.random.default_rng(0)
  return {'image': rng.standard_normal((count, 224, 224, 3)).astype(np.float32),
          'mask': np.ones(count, bool)}


def ours(exp, params, batch, name, units):
  """A function of the first unit that scores so many."""
  scorer = exact.Scorer(exp, name)
  teacher = jax.jit(lambda p, b: exact.logits(exp, exp.model, p, b))(
      params, batch)
  kept = jax.block_until_ready(scorer.start(params, batch))
  return lambda first: np.asarray(scorer(
      params, batch, teacher, kept, np.arange(first, first + units)))


def plain(exp, params, batch, name, units):
  """The whole model by a mask, one unit after the other."""
  ones = gates.ones(exp.shapes, exp.axes)[name]
  teacher = jax.jit(lambda p, b: exact.logits(exp, exp.model, p, b))(
      params, batch)
  run = jax.jit(lambda params, j: divergence(teacher, exact.logits(
      exp, exp.model, gates.gated(
          params, exp.axes, {name: ones.at[j].set(0.0)}), batch)))
  return lambda first: [np.asarray(run(params, j))
                        for j in range(first, first + units)]


def released(params, batch, layer, units):
  """A model rebuilt without each unit, beside the whole one run again."""
  import torch
  import torch_networks

  torch.set_num_threads(2)
  whole = torch_networks.deit_t().eval()
  images = torch.from_numpy(batch['image'].transpose(0, 3, 1, 2).copy())

  def score(first):
    found = []
    with torch.inference_mode():
      for j in range(first, first + units):
        small = copy.deepcopy(whole)
        torch_networks.without_unit(small, layer, j)
        p, q = (torch.log_softmax(net(images).logits, -1)
                for net in (whole, small))
        found.append((p.exp() * (p - q)).sum(-1))
    return found

  return score


def estimate(exp, params, batch, units):
  """Prints what an estimate says, and what scoring then takes."""
  names = [f'mlp@encoder/layer_{i}/ffn' for i in (4, 7, 10)]
  run = one_by_one._Run(exp, params, [batch], {
      name: np.arange(units) for name in names}, 0)
  said = run.estimate(names)
  began = time.perf_counter()
  for name in names:
    for _ in run.of(name, 0):
      pass
  took = time.perf_counter() - began
  print(f'estimated {said:.1f} s, took {took:.1f} s: {said / took:.2f}; '
        f'{elastic.size(params):,} parameters')


if __name__ == '__main__':
  main()
