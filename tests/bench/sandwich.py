"""How fast the sandwich step is: achieved arithmetic against a matrix product.

  python tests/bench/sandwich.py --batch 16 --steps 5

Full-size MCAN-BST, 58.08 M parameters, random VQA-v2-shaped input, float32.
Prints examples/s, GFLOP/s of the products that the step needs (teacher forward
once, forward and backward of the five drawn submodels, counted as by
bst_jax.compile), and their share of the rate of a plain matrix product measured
between the steps of the same process. Before them, the seconds of tracing and of
compiling, those of the processor too, and the largest memory of the process so
far (Linux); after them, the largest while they ran.
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

try:
  from bst_jax.host import heap
except ImportError:  # A build from before.
  heap = None


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--batch', type=int, default=16)
  parser.add_argument('--steps', type=int, default=5)
  parser.add_argument('--dropout', type=float, default=0.1)
  parser.add_argument('--products', default='float32',
                      help='config.compute.products, of builds that have it')
  parser.add_argument('--bare', action='store_true',
                      help='steps alone, for tests/bench/in_turns.py')
  parser.add_argument('--trace', default='', help='folder of a profile')
  args = parser.parse_args()

  config = load_config('configs/bst_mcan_vqa.py')
  config.model.dropout, config.optimizer.lr = args.dropout, 1e-6
  config.micro_batches = 1
  if args.products != 'float32':
    config.compute.products = args.products
  exp = experiment.build(config, dict(config.data.sizes))
  if heap:
    heap.give_back_after_compiling()
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
  del params
  step = compiled(job.step, now, frozen, batches)
  now, metrics = step(now, frozen, batches)
  jax.block_until_ready(metrics)

  smallest, *middle, full = exp.space
  if args.trace:
    jax.profiler.start_trace(args.trace)
  ratios = []
  for _ in range(args.steps):
    if args.bare:
      began = time.perf_counter()
      now, metrics = step(now, frozen, batches)
      jax.block_until_ready((now, metrics))
      print(f'{time.perf_counter() - began:6.2f} s', flush=True)
      continue
    draw, _ = jax.random.split(jax.random.fold_in(now.rng, now.step))
    picks = jax.random.choice(draw, len(middle), (3,), replace=False)
    drawn = [smallest, full, *(middle[int(i)] for i in picks)]
    needed = step_costs.flops(
        exp, [*map(Pass, drawn), Pass(full, learns=False)], batch)
    before = latency.product_rate(runs=3)
    began = time.perf_counter()
    now, metrics = step(now, frozen, batches)
    jax.block_until_ready((now, metrics))
    seconds = time.perf_counter() - began
    peak = before + latency.product_rate(runs=3)  # 2 x the mean of MAC/s
    ratios.append(needed / seconds / peak)
    print(f'{seconds:6.2f} s  {args.batch / seconds:6.2f} examples/s  '
          f'{needed / seconds / 1e9:7.1f} GFLOP/s  matrix product '
          f'{peak / 1e9:7.1f} GFLOP/s  ratio {ratios[-1]:.1%}', flush=True)
  if args.trace:
    jax.profiler.stop_trace()
  if ratios:
    print(f'median ratio {np.median(ratios):.1%}, peak memory '
          f'{peak_gib():.2f} GiB')


def compiled(step, *args):
  """The step, ready to run; prints what that took."""
  clock = lambda: np.array([time.perf_counter(), time.process_time()])
  began = clock()
  lowered = step.lower(*args)
  traced = clock()
  run = lowered.compile()
  (trace, trace_cpu), (build, build_cpu) = traced - began, clock() - traced
  print(f'traced in {trace:.1f} s, compiled in {build:.1f} s (of the processor '
        f'{trace_cpu:.1f} and {build_cpu:.1f} s), peak memory '
        f'{peak_gib():.2f} GiB', flush=True)
  forget_peak()
  return run


def peak_gib():
  """Largest resident memory of this process since `forget_peak`."""
  with open('/proc/self/status') as file:
    return int(file.read().partition('VmHWM:')[2].split()[0]) / 2 ** 20


def forget_peak():
  with open('/proc/self/clear_refs', 'w') as file:
    file.write('5')


if __name__ == '__main__':
  main()
