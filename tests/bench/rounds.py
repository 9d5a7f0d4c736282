"""Rounds without end, as tests/bench/in_turns.py reads them."""
import argparse
from collections.abc import Callable
import time

from bst_jax.host import processor


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
  """The arguments, once our side runs as in commands; or does not, if asked to."""
  parser.add_argument('--untuned', action='store_true',
                      help='without what commands set, see host.processor')
  args = parser.parse_args()
  if not args.untuned:
    processor.tune()
  return args


def run(make: Callable[[], Callable[[], object]], first: str, count: int,
        each: str) -> None:
  """Prints the seconds of the first run, and then of every `count` of them.

  Args:
    make: gives what is run.
    first: what the first run leads to.
    count: runs of a round.
    each: what a run is of.
  """
  began = time.perf_counter()
  call = make()
  call()
  print(f'{time.perf_counter() - began:.3f} s to {first}', flush=True)
  while True:
    began = time.perf_counter()
    for _ in range(count):
      call()
    seconds = time.perf_counter() - began
    print(f'{seconds:.3f} s, {1000 * seconds / count:.1f} ms {each}', flush=True)
