"""A whole command in two checkouts, in turns: what it takes from start to end.

  git worktree add ../before f7ec9a5
  python tests/bench/whole_commands.py --trees . ../before --rounds 5 -- \
      evaluate --workdir $PWD/runs/quickstart
  python tests/bench/whole_commands.py --trees . ../before --warm -- \
      predict --workdir $PWD/runs/quickstart --image docs/scene.png \
      --question 'How many squares are there?'
  python tests/bench/whole_commands.py --trees . ../before --rounds 1 -- \
      train --config configs/quickstart.py --workdir NEW --config.seed=0

Behind `--` stands a command of bst_jax; of a workdir that both are to make, write
NEW, and with --output FOLDER it stays there, as new_0_0 (of the first) and so on.
Each runs in its checkout, as `python -m` looks for the package where it stands, so
that other paths are written from the root. Compiled programs are kept in a folder of
this run alone: a new one every time, or with --warm the same one, of each checkout
its own, after a start that does not count. Prints the seconds and the processor
seconds of both, their ratio first / second in each round, medians, ranges, and the
largest memory.
"""
import argparse
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('--trees', nargs=2, required=True, metavar='FOLDER',
                      help='two checkouts; the ratio is first / second')
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--warm', action='store_true',
                      help='compiled programs are there from the start before')
  parser.add_argument('--show', action='store_true',
                      help='print what the commands print')
  parser.add_argument('--output', type=pathlib.Path,
                      help='folder in which new workdirs stay')
  parser.add_argument('command', nargs='+')
  args = parser.parse_args()

  with tempfile.TemporaryDirectory() as folder:
    if args.warm:
      for i, tree in enumerate(args.trees):
        _run(tree, args, pathlib.Path(folder), i, 'first')
    seconds, processor = [], []
    for n in range(args.rounds):
      found = [_run(tree, args, pathlib.Path(folder), i, n)
               for i, tree in enumerate(args.trees)]
      for ratios, (first, second) in zip((seconds, processor), zip(*found)):
        ratios.append(first / second)
      print('  '.join(f'{a:7.2f} s ({b:.2f} of the processor)'
                      for a, b in found)
            + f'  ratio {seconds[-1]:.2f} ({processor[-1]:.2f})', flush=True)
  for what, ratios in (('seconds', seconds), ('processor seconds', processor)):
    print(f'{what}: median ratio {statistics.median(ratios):.2f}, '
          f'{min(ratios):.2f} to {max(ratios):.2f}')
  peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2 ** 20
  print(f'largest memory of a process, of either: {peak:.2f} GiB; '
        f'{os.cpu_count()} cores')


def _run(tree, args, folder, i, n):
  """Seconds, and processor seconds, of the command in a checkout."""
  cache = folder / (f'cache_{i}' if args.warm else f'cache_{i}_{n}')
  new = (args.output or folder).absolute() / f'new_{i}_{n}'
  name, *rest = args.command
  env = os.environ | {'PYTHONPATH': os.path.abspath(tree),
                      'BST_JAX_CACHE': str(cache)}
  before = resource.getrusage(resource.RUSAGE_CHILDREN)
  began = time.perf_counter()
  done = subprocess.run(
      [sys.executable, '-m', f'bst_jax.{name}',
       *(arg.replace('NEW', str(new)) for arg in rest)], env=env, text=True,
      cwd=tree,
      stdout=None if args.show else subprocess.PIPE,
      stderr=None if args.show else subprocess.STDOUT)
  seconds = time.perf_counter() - began
  after = resource.getrusage(resource.RUSAGE_CHILDREN)
  if done.returncode:
    raise SystemExit(f'{tree}: {" ".join(args.command)} ended with '
                     f'{done.returncode}:\n{done.stdout}')
  if not args.warm:
    shutil.rmtree(cache, ignore_errors=True)
  return seconds, (after.ru_utime + after.ru_stime
                   - before.ru_utime - before.ru_stime)


if __name__ == '__main__':
  main()
