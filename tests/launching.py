"""Runs of the scripts of launch/, with commands that stand in for others."""
import os
import pathlib
import shlex
import subprocess
import sys
import textwrap
import time

ROOT = pathlib.Path(__file__).parents[1]
LAUNCH = ROOT / 'launch'
SCRIPTS = sorted(path.name for path in LAUNCH.glob('*.sh'))
COMMAND = ['python', '-m', 'bst_jax.train', '--workdir', "it's a b"]
FLAGS = ['--multihost', '--compilation_cache=runs/compilation_cache']
TPU = ['--name=a', '--zone=us-west4-a', '--accelerator=v5litepod-16']
GKE = ['--name=a', '--image=registry.io/p/bst_jax:1', '--bucket=b',
       '--accelerator=tpu-v5-lite-podslice', '--topology=4x4']
# A test run in the background ignores Ctrl-C, and so would its children. Not by
# a function between fork and exec: with threads about, that may never end.
HEEDING = [sys.executable, '-S', '-c', '''
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])
''']
# A process that tells which signals reach it.
STOPS = '''
import signal, sys, time
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append('TERM'))
signal.signal(signal.SIGINT, lambda *_: told.append('INT'))
print('up', flush=True)
while not told or (sys.argv[1] == 'twice' and len(told) < 2):
  time.sleep(0.05)
print(*told, flush=True)
sys.exit(130)
'''


def start(script, *args, path=None, cwd=None, **env):
  """The script in a session of its own, so that Ctrl-C can be sent to it."""
  path = f'{path}:{os.environ["PATH"]}' if path else os.environ['PATH']
  return subprocess.Popen(
      [*HEEDING, 'bash', LAUNCH / script, *map(str, args)], cwd=cwd, text=True,
      env=os.environ | env | {'PATH': path}, start_new_session=True,
      stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run(script, *args, **kwargs):
  """(exit code, what it printed, its messages)."""
  process = start(script, *args, **kwargs)
  out, err = process.communicate(timeout=60)
  return process.returncode, out, err


def dry(script, *args):
  """The commands of a dry run, as lists of words."""
  code, out, err = run(script, *args)
  assert code == 0, err
  return [shlex.split(line) for line in out.splitlines()]


def fake(tmp_path):
  """What makes commands that note their words, then run the given bash."""
  folder, log = tmp_path / 'bin', tmp_path / 'calls'
  folder.mkdir()

  class Fake:
    path = folder

    def make(self, name, body=''):
      (folder / name).write_text(
          f'#!/usr/bin/env bash\nprintf "%q " "${{0##*/}}" "$@" >>{log}\n'
          f'echo >>{log}\n' + textwrap.dedent(body))
      (folder / name).chmod(0o755)

    def calls(self):
      text = log.read_text() if log.exists() else ''
      return [shlex.split(line) for line in text.splitlines()]

    def wait_for(self, word):
      end = time.monotonic() + 30
      while not any(word in ' '.join(call) for call in self.calls()):
        assert time.monotonic() < end, f'{word} was not called: {self.calls()}'
        time.sleep(0.05)

  return Fake()
