"""Matrix products of a transformer's layer, and of its gradients, beside torch.

  pip install -e '.[parity]'
  python tests/bench/products.py --rounds 9

A feed-forward layer of DeiT-S at batch 8: x W, what goes back to x, and what goes
to W, float32, two threads. Both libraries take turns; prints seconds and the
ratio torch / XLA (above 1 XLA is faster): median and range.
"""
import argparse
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
import torch

ROWS, WIDTH, HIDDEN = 8 * 197, 384, 1536
PRODUCTS = {
    'forward, x W': ((ROWS, WIDTH), (WIDTH, HIDDEN), 'nd,df->nf'),
    'to x, g W^T': ((ROWS, HIDDEN), (WIDTH, HIDDEN), 'nf,df->nd'),
    'to W, x^T g': ((ROWS, WIDTH), (ROWS, HIDDEN), 'nd,nf->df'),
}


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('--rounds', type=int, default=9)
  parser.add_argument('--runs', type=int, default=20, help='of a round')
  args = parser.parse_args()
  torch.set_num_threads(2)
  rng = np.random.default_rng(0)
  for name, (a, b, how) in PRODUCTS.items():
    a, b = (rng.standard_normal(shape).astype(np.float32) for shape in (a, b))
    run = jax.jit(lambda a, b, how=how: jnp.einsum(how, a, b))
    ours, theirs = (jnp.asarray(a), jnp.asarray(b)), (
        torch.from_numpy(a), torch.from_numpy(b))
    sides = (lambda run=run, ours=ours: run(*ours).block_until_ready(),
             lambda how=how, theirs=theirs: torch.einsum(how, *theirs))
    times = [[], []]
    for _ in range(args.rounds + 1):  # The first warms up.
      for side, seconds in zip(sides, times):
        began = time.perf_counter()
        for _ in range(args.runs):
          side()
        seconds.append((time.perf_counter() - began) / args.runs)
    times = [seconds[1:] for seconds in times]
    ratios = [b / a for a, b in zip(*times)]
    print(f'{name:14} XLA {1e3 * statistics.median(times[0]):6.2f} ms  torch '
          f'{1e3 * statistics.median(times[1]):6.2f} ms  torch / XLA '
          f'{statistics.median(ratios):.2f} ({min(ratios):.2f} to '
          f'{max(ratios):.2f})', flush=True)


if __name__ == '__main__':
  main()
