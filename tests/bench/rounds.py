"""Rounds without end, as tests/bench/in_turns.py reads them."""
from collections.abc import Callable
import time


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
