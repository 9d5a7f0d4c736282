"""One benchmark in two checkouts, in turns, line by line, in one run.

  git worktree add ../before aa0a384
  python tests/bench/in_turns.py --trees . ../before --rounds 8 -- \
      tests/bench/sandwich.py --batch 16 --steps 8

The command is a script that prints a line a round with its seconds first, as
tests/bench/sandwich.py does. One of the two runs while the other is stopped, so
that a slow minute of a shared machine meets both. The first line (compiling)
is left out. Prints the seconds from where each goes on to its next line, the
processor seconds of them, their ratios, the medians and the ranges, and the
largest memory of both processes. A script's own seconds are not read: they hold
the time that it was stopped for. Rounds should take a second, as some
milliseconds of each are spent before the stop. With --second another command
runs in the second checkout, a peer's.
"""
import argparse
import os
import re
import shlex
import signal
import statistics
import subprocess
import sys
import time

SECONDS = re.compile(r'^\s*[\d.]+ s\b')


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('--trees', nargs=2, required=True, metavar='FOLDER',
                      help='two checkouts; the ratio is first / second')
  parser.add_argument('--rounds', type=int, default=8)
  parser.add_argument('--second', default='', metavar='COMMAND',
                      help='the script and its arguments of the second, where '
                      'they differ')
  parser.add_argument('command', nargs='+', help='script and its arguments')
  args = parser.parse_args()

  commands = args.command, shlex.split(args.second) or args.command
  started = [*map(_start, args.trees, commands)]
  try:
    for process in started:  # Each compiles alone.
      process.send_signal(signal.SIGCONT)
      print(process.stdout.readline().rstrip(), flush=True)
      process.send_signal(signal.SIGSTOP)
    ratios = {'by the clock': [], 'of the processor': []}
    for _ in range(args.rounds):
      rounds = [_round(process) for process in started]
      for (what, each), first, second in zip(ratios.items(), *rounds):
        each.append(first / second)
        print(f'{first:8.3f} s {second:8.3f} s {what}, ratio {each[-1]:.3f}',
              flush=True)
    peaks = [*map(_peak_gib, started)]
  finally:
    for process in started:
      process.kill()
  for what, each in ratios.items():
    print(f'seconds {what}: median {statistics.median(each):.3f}, '
          f'{min(each):.3f} to {max(each):.3f}')
  print(f'peak memory {peaks[0]:.2f} and {peaks[1]:.2f} GiB, ratio '
        f'{peaks[0] / peaks[1]:.3f}')


def _start(tree, command):
  """The command in a checkout, stopped before its first line."""
  process = subprocess.Popen(
      [sys.executable, '-u', *command], cwd=tree, stdout=subprocess.PIPE,
      text=True, env=os.environ | {'PYTHONPATH': os.path.abspath(tree)})
  process.send_signal(signal.SIGSTOP)
  return process


def _round(process) -> tuple[float, float]:
  """Seconds of the next round, and of the processor; then it stops."""
  before, began = _processor_seconds(process), time.perf_counter()
  process.send_signal(signal.SIGCONT)
  while True:
    line = process.stdout.readline()
    if not line:
      raise SystemExit(f'The command in {process.args} ended before its rounds.')
    if SECONDS.match(line):
      seconds = time.perf_counter() - began
      process.send_signal(signal.SIGSTOP)
      return seconds, _processor_seconds(process) - before


def _peak_gib(process) -> float:
  """Largest resident memory of a process, or since it forgot it, on Linux."""
  with open(f'/proc/{process.pid}/status') as file:
    return int(file.read().partition('VmHWM:')[2].split()[0]) / 2 ** 20


def _processor_seconds(process) -> float:
  """Seconds that all threads of a process had a processor, on Linux."""
  with open(f'/proc/{process.pid}/stat') as file:
    fields = file.read().rpartition(')')[2].split()
  return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


if __name__ == '__main__':
  main()
