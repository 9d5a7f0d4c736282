"""The input pipeline alone: examples a second of a host, without a model.

  python tests/bench/pipeline.py
  python tests/bench/pipeline.py --batch 256 --hosts 1 8 64

Each row is one host's share of a global batch that grows with the number of
hosts, so that a host makes as many examples whatever their number: its rate
must not fall. Only one host's share is made at a time, as hosts have machines
of their own; where a machine has other work, processor time tells more. 'in
memory' gathers rows; 'decoded' reads ArrayRecord and decodes a picture for each
example.
"""
import argparse
import time

from bst_jax.data import source
from bst_jax.report import scoring


def rate(data, batch, seconds):
  """Examples a second, and a second of all threads' processor time."""
  batches = data.train()
  for _ in range(3):  # Threads start, files open.
    next(batches)
  count, began, used = 0, time.perf_counter(), time.process_time()
  while time.perf_counter() - began < seconds:
    next(batches)
    count += 1
  rates = (batch * count / (time.perf_counter() - began),
           batch * count / (time.process_time() - used))
  batches.close()  # Nothing is made ahead while the next is timed.
  return rates


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--name', default='digit_scenes/easy')
  parser.add_argument('--batch', type=int, default=64, help='of a host')
  parser.add_argument('--hosts', type=int, nargs='+', default=[1, 2, 4])
  parser.add_argument('--seconds', type=float, default=3.0)
  parser.add_argument('--repeats', type=int, default=3)
  parser.add_argument('--threads', type=int, default=0)
  args = parser.parse_args()
  common = dict(name=args.name, threads=args.threads)
  ways = {
      'regions, in memory': dict(inputs=('regions',), cache=True),
      'pictures, in memory': dict(inputs=('image',), cache=True),
      'pictures, decoded': dict(inputs=('image',), cache=False)}
  lines = [('input', 'hosts', 'examples/s of a host', 'of one host',
            'a processor second', 'of one host')]
  for way, options in ways.items():
    shares = {hosts: source.load(
        common | options | {'batch': args.batch * hosts},
        shard_index=hosts - 1, shard_count=hosts) for hosts in args.hosts}
    # In turns, so that a busy moment of the machine hits all alike.
    found = {hosts: [] for hosts in args.hosts}
    for _ in range(args.repeats):
      for hosts, data in shares.items():
        found[hosts].append(rate(data, args.batch, args.seconds))
    best = {hosts: [max(column) for column in zip(*rates)]
            for hosts, rates in found.items()}
    first = best[args.hosts[0]]
    for hosts, rates in best.items():
      lines.append((way, str(hosts), *(cell for mine, one in zip(rates, first)
                    for cell in (f'{mine:,.0f}', f'{100 * mine / one:.0f} %'))))
  print(f'{args.name}, {args.batch} examples a host and batch, best of '
        f'{args.repeats} times {args.seconds} s\n{scoring.aligned(lines)}')


if __name__ == '__main__':
  main()
