"""Two trainings started together in one workdir, again and again.

  python tests/bench/two_trainings.py --output runs/together

One of them trains, the other one leaves with the sentence that says who works
there, and what is left is bit for bit what a run alone leaves. Every third time
the workdir is one in which a training was killed: its file is still there.
"""
import argparse
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import time

from bst_jax import elastic
from bst_jax.host import lock
from bst_jax.run import progress
from bst_jax.store import checkpoint, steps
import numpy as np

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / 'tests'))
import virtual  # noqa: E402

STEPS = 12
FLAGS = ('--config=configs/quickstart.py:tiny', f'--config.steps={STEPS}',
         '--config.teacher.steps=6', '--config.save_every=4',
         '--config.teacher.save_every=4', '--config.log_every=1',
         '--config.eval_every=0', '--config.teacher.eval_every=0',
         '--config.model.num_layers=2', '--config.evaluate_at_end=False')
SENTENCE = 'is in use: process'


def start(workdir, output):
  return subprocess.Popen(
      [sys.executable, '-m', 'bst_jax.train', *FLAGS, f'--workdir={workdir}',
       f'--compilation_cache={output / "compiled"}'],
      cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
      env=virtual.environment(1, JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS='0'))


def kill_in(workdir, output):
  """A training that is killed as soon as it has written a checkpoint."""
  run = start(workdir, output)
  while run.poll() is None and not steps.steps(steps.folder(workdir)):
    time.sleep(0.02)
  run.send_signal(signal.SIGKILL)
  run.communicate()


def left(workdir):
  """All that a training leaves and that could be lost."""
  return {
      'checkpoints': steps.steps(steps.folder(workdir)),
      'steps': [row['step'] for row in progress.read(workdir)],
      'params': elastic.flatten(checkpoint.load_params(workdir))}


def same(one, other):
  return (one['checkpoints'] == other['checkpoints']
          and one['steps'] == other['steps'] and all(
              np.array_equal(one['params'][path], other['params'][path])
              for path in one['params']))


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--output', type=pathlib.Path, required=True)
  parser.add_argument('--rounds', type=int, default=20)
  args = parser.parse_args()
  output = args.output.absolute()
  shutil.rmtree(output, ignore_errors=True)
  output.mkdir(parents=True)

  alone = start(output / 'alone', output)
  said, _ = alone.communicate()
  assert alone.returncode == 0, said
  wanted = left(output / 'alone')
  counts = dict(rounds=0, one_trained=0, one_left_with_the_sentence=0,
                nothing_lost=0, after_a_kill=0, no_file_left=0)
  seconds = []
  for i in range(args.rounds):
    workdir = output / str(i)
    if i % 3 == 2:
      kill_in(workdir, output)
      counts['after_a_kill'] += (workdir / lock.FILE).exists()
    began = time.monotonic()
    runs = [start(workdir, output) for _ in range(2)]
    while all(run.poll() is None for run in runs):
      time.sleep(0.02)
    seconds.append(time.monotonic() - began)
    texts = [run.communicate()[0] for run in runs]
    codes = [run.returncode for run in runs]
    counts['rounds'] += 1
    counts['one_trained'] += codes.count(0) == 1
    counts['one_left_with_the_sentence'] += sum(
        code == 2 and SENTENCE in text and 'Traceback' not in text
        for code, text in zip(codes, texts)) == 1
    counts['nothing_lost'] += same(left(workdir), wanted)
    counts['no_file_left'] += not list(workdir.rglob(f'*{lock.FILE}*'))
    print(f'round {i + 1}: codes {codes}, one left after {seconds[-1]:.1f} s',
          flush=True)
  counts['seconds_until_one_left'] = [min(seconds), max(seconds)]
  (output / 'two_trainings.json').write_text(json.dumps(counts, indent=2))
  print(json.dumps(counts))


if __name__ == '__main__':
  main()
