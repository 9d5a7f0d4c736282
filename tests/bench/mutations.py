"""Two hundred inputs with something wrong in each: read right, or refused.

  python tests/bench/mutations.py [--seed 0] [--show]

Good small inputs of each kind (pictures, annotations, results, features, what
runs leave behind, configs, options, checkpoints, choices) are changed at
random: bytes lost, turned or overwritten, values of JSON of another kind, keys
gone, files missing; or in ways that do no harm, as a mark of byte order. Each is
then read by what the commands read it with, in this process and without
training. Counted are those that are read as before, that are read as another
value (a changed pixel is another picture), and that are refused in a
ValueError, which the commands print as one sentence. An exception of any other
kind, a harmless change that is not read as before, and a file that has changed
are failures; the exit code tells.
"""
import argparse
import collections
import hashlib
import pathlib
import shutil
import sys
import tempfile
import traceback
from typing import NamedTuple

from absl import logging
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from bench import mutated_inputs as inputs  # noqa: E402

COUNTS = {'picture': 40, 'annotations': 30, 'left': 20, 'results': 10, 'features': 40,
          'workdir': 20, 'options': 20, 'checkpoint': 10, 'choice': 10}
READ, OTHER, REFUSED = 'read as before', 'another value', 'refused'
FAILURES = TRACEBACK, HARMED, CHANGED = (
    'TRACEBACK', 'HARMLESS BUT NOT READ', 'FILE CHANGED')


class Outcome(NamedTuple):
  """What became of an input.

  Attributes:
    kind: of what is counted.
    change: what was done to it, in words.
    words: of the error, or ''.
  """

  kind: str
  change: str
  words: str = ''


def state(folder):
  """Hash of all files of a folder, with their names."""
  sha = hashlib.sha256()
  for path in sorted(folder.rglob('*')):
    sha.update(str(path.relative_to(folder)).encode())
    if path.is_file():
      sha.update(path.read_bytes())
  return sha.hexdigest()


def same(one, other):
  """Whether two things that were read are equal, arrays and all."""
  if isinstance(one, dict):
    return isinstance(other, dict) and one.keys() == other.keys() and all(
        same(one[key], other[key]) for key in one)
  if isinstance(one, np.ndarray):
    return np.array_equal(one, other)
  return one == other


def tried(subject, good, wanted, rng, place):
  """The outcome of one change of a good input."""
  shutil.copytree(good, place)
  change, harmless = subject.change(place, rng)
  before = state(place)
  try:
    value = subject.read(place)
  except ValueError as error:
    kind = REFUSED if str(error).strip() and not harmless else HARMED
    outcome = Outcome(kind, change, str(error))
  except Exception as error:
    outcome = Outcome(TRACEBACK, change, f'{error!r}\n' + ''.join(
        traceback.format_tb(error.__traceback__)[-2:]))
  else:
    kind = READ if same(value, wanted) else HARMED if harmless else OTHER
    outcome = Outcome(kind, change)
  if state(place) != before:
    outcome = Outcome(CHANGED, change, outcome.words)
  shutil.rmtree(place)
  return outcome


def main():
  """Tries them all; exit code 1 where one fails."""
  parser = argparse.ArgumentParser()
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--show', action='store_true', help='every outcome')
  args = parser.parse_args()
  logging.set_verbosity(logging.FATAL)
  home, totals = pathlib.Path(tempfile.mkdtemp()), collections.Counter()
  kinds = (READ, OTHER, REFUSED, *FAILURES)
  print(f'{"":12}', *(f'{kind:>15}' for kind in kinds))
  for name, count in COUNTS.items():
    subject, counts = inputs.SUBJECTS[name], collections.Counter()
    for number in range(count):
      rng = np.random.default_rng((args.seed, *name.encode(), number))
      good = home / f'{name}_{number % subject.variants}'
      if not good.exists():
        good.mkdir()
        subject.make(good, number % subject.variants)
      place = home / 'tried' / good.name
      outcome = tried(subject, good, subject.read(good), rng, place)
      counts[outcome.kind] += 1
      if args.show or outcome.kind in FAILURES:
        print(f'  {outcome.kind}: {good.name}, {outcome.change}: '
              f'{outcome.words[:1500]}', file=sys.stderr)
    totals += counts
    print(f'{name:12}', *(f'{counts[kind]:15}' for kind in kinds), flush=True)
  print(f'{"all":12}', *(f'{totals[kind]:15}' for kind in kinds))
  shutil.rmtree(home)
  sys.exit(any(totals[kind] for kind in FAILURES))


if __name__ == '__main__':
  main()
