"""In how many seeds a search finds layers that do nothing.

  pip install -e '.[test]'
  python tests/bench/das_planted.py --seeds 10

Two of six layers do nothing, labels are what the model with all layers says, and
adapters alone are trained, for 120 steps, with 40 comparisons of three sets of two
layers. Prints for fresh batches of rewards, and for one batch as released, how many
seeds end with those two, and the seconds.
"""
import argparse
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
import test_das  # noqa: E402


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('--seeds', type=int, default=10)
  args = parser.parse_args()
  for fixed, what in ((False, 'fresh batches'), (True, 'one batch')):
    began = time.perf_counter()
    found = sum(
        test_das.planted(seed, fixed=fixed)[0].skip
        == ('encoder/layer_1', 'encoder/layer_4') for seed in range(args.seeds))
    print(f'{what}: found in {found} of {args.seeds} seeds, '
          f'{time.perf_counter() - began:.0f} s', flush=True)


if __name__ == '__main__':
  main()
