"""How fast the sandwich step is: achieved arithmetic against a matrix product.

  python tests/bench/sandwich.py --batch 16 --steps 5

Full-size MCAN-BST, 58.08 M parameters, random VQA-v2-shaped input, float32.
Prints examples/s, GFLOP/s of the products that the step needs (teacher forward
once, forward and backward of the five drawn submodels, counted as by
bst_jax.compile), and their share of the rate of a plain matrix product measured
between the steps of the same process.
"""
import argparse
import time

from bst_jax import elastic, load_config
from bst_jax.ahead import step_costs
from bst_jax.learn import sharding
from bst_jax.learn.state import Pass
from bst_jax.report import latency
from bst_jax.run import experiment, program
import jax
import jax.numpy as jnp
import numpy as np


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--batch', type=int, default=16)
  parser.add_argument('--steps', type=int, default=5)
  parser.add_argument('--dropout', type=float, default=0.1)
  parser.add_argument('--trace', default='', help='folder of a profile')
  args = parser.parse_args()

  config = load_config('configs/bst_mcan_vqa.py')
  config.model.dropout, config.optimizer.lr = args.dropout, 1e-6
  config.micro_batches = 1
  exp = experiment.build(config, dict(config.data.sizes))
  mesh = sharding.make_mesh({'data': -1})
  jax.set_mesh(mesh)
  job = program.make(exp, mesh, 1, 1)

  rng = np.random.default_rng(0)
  batch = {
      'tokens': rng.integers(1, 20573, (args.batch, 14), np.int32),
      'regions': rng.standard_normal((args.batch, 100, 2048), np.float32),
      'target': rng.random((args.batch, 3129), np.float32),
      'mask': np.ones(args.batch, bool)}
  batch = jax.tree.map(jnp.asarray, batch)
  batches = {'train': batch}
  params = jax.jit(lambda k: elastic.unbox(exp.model.init(
      k, experiment.example(exp.sizes))['params']))(jax.random.key(0))
  now = jax.jit(job.method.init)(jax.random.key(1), params)
  frozen, now = jax.tree.map(jnp.copy, now.frozen), now.replace(frozen=None)
  began = time.perf_counter()
  now, metrics = job.step(now, frozen, batches)
  jax.block_until_ready(metrics)
  print(f'compiled in {time.perf_counter() - began:.1f} s', flush=True)

  smallest, *middle, full = exp.space
  if args.trace:
    jax.profiler.start_trace(args.trace)
  ratios = []
  for _ in range(args.steps):
    draw, _ = jax.random.split(jax.random.fold_in(now.rng, now.step))
    picks = jax.random.choice(draw, len(middle), (3,), replace=False)
    drawn = [smallest, full, *(middle[int(i)] for i in picks)]
    needed = step_costs.flops(
        exp, [*map(Pass, drawn), Pass(full, learns=False)], batch)
    before = latency.product_rate(runs=3)
    began = time.perf_counter()
    now, metrics = job.step(now, frozen, batches)
    jax.block_until_ready((now, metrics))
    seconds = time.perf_counter() - began
    peak = before + latency.product_rate(runs=3)  # 2 x the mean of MAC/s
    ratios.append(needed / seconds / peak)
    print(f'{seconds:6.2f} s  {args.batch / seconds:6.2f} examples/s  '
          f'{needed / seconds / 1e9:7.1f} GFLOP/s  matrix product '
          f'{peak / 1e9:7.1f} GFLOP/s  ratio {ratios[-1]:.1%}', flush=True)
  if args.trace:
    jax.profiler.stop_trace()
  print(f'median ratio {np.median(ratios):.1%}')


if __name__ == '__main__':
  main()
