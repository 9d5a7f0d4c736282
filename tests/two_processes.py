"""Trains a tiny model in processes of one run, for what tests compare.

As a program it is one of the processes: `two_processes.py JOBS FLAGS`, where
JOBS is a file of [[workdir, {key of the config: value}], ...], trained in turn.
A job that is refused or stopped is no reason to leave out the next.
"""
import json
import pathlib
import socket
import subprocess
import sys
import time

from bst_jax import train
from bst_jax.host import cli, processes
from configs import bst_uniter_scenes
import virtual

ROOT = pathlib.Path(__file__).parents[1]


def config(**changes):
  """A model that compiles quickly, on tiny data, for twenty steps.

  The optimiser is one that leaves parameters alone whose gradient is nothing
  but rounding; Adam brings them to size. Steps do not change the program.
  """
  made = bst_uniter_scenes.get_config('tiny').teacher
  made.model.update(num_layers=1, dropout=0.1)
  made.space.widths = made.space.depths = ('1',)
  made.optimizer = dict(name='sgd', lr=0.1, momentum=0.9, clip=1.0)
  made.schedule = dict(name='constant')
  made.update(steps=20, save_every=10, log_every=5, eval_every=0, keep=9,
              evaluate_at_end=True)
  made.update_from_flattened_dict(changes)
  return made


def start(folder, *jobs, cache, count=2, devices=1):
  """Starts the processes; what they say goes to `folder`/0.log, 1.log, ….

  Args:
    folder: theirs, made if it is missing.
    jobs: (workdir, changes of the config, or a list of them, one a process),
      trained in turn.
    cache: folder of compiled programs.
    count: of processes.
    devices: of each.
  """
  folder.mkdir(parents=True, exist_ok=True)
  with socket.socket() as s:
    s.bind(('localhost', 0))
    port = s.getsockname()[1]
  environment = virtual.environment(
      devices, JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS='0')
  runs = []
  for i in range(count):
    path = folder / f'{i}.json'
    path.write_text(json.dumps([
        [str(workdir), changes[i] if isinstance(changes, list) else changes]
        for workdir, changes in jobs]))
    many = [] if count == 1 else [
        '--multihost', f'--coordinator=localhost:{port}',
        f'--num_processes={count}', f'--process_id={i}']
    with open(folder / f'{i}.log', 'w') as log:
      runs.append(subprocess.Popen(
          [sys.executable, __file__, str(path), *many,
           f'--compilation_cache={cache}'],
          cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT))
  return runs


def finish(folder, runs, limit=300):
  """(exit code, everything said) of each process, once all have ended."""
  end = time.monotonic() + limit
  try:
    codes = [run.wait(max(0, end - time.monotonic())) for run in runs]
  finally:
    for run in runs:
      run.kill()
  return [(code, (folder / f'{i}.log').read_text())
          for i, code in enumerate(codes)]


def last_step(workdir):
  """The newest step in the workdir's metrics; 0 where there is none."""
  path = workdir / 'metrics.jsonl'
  lines = path.read_bytes().split(b'\n')[:-1] if path.exists() else []
  return json.loads(lines[-1])['step'] if lines else 0


def wait_for(condition, runs, limit=240):
  """Whether `condition()` came true while all of the processes ran."""
  end = time.monotonic() + limit
  while time.monotonic() < end and all(run.poll() is None for run in runs):
    if condition():
      return True
    time.sleep(0.002)
  return False


def main():
  """One of the processes."""
  jobs = json.loads(pathlib.Path(sys.argv.pop(1)).read_text())

  def work():
    cli.start()
    for workdir, changes in jobs:
      try:
        train.run(config(**changes), workdir)
      except (train.Stopped, ValueError) as error:
        if processes.is_lost(error):
          raise
        print(error, flush=True)

  cli.run(work, __doc__)


if __name__ == '__main__':
  main()
