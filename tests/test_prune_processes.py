"""Scoring that two processes share, and that is killed, goes on to the same bits.

Of one process, killed between two sets and within one, is
test_scoring_of_channels.py.
"""
import json
import os
import signal
import socket
import subprocess
import sys
import time

from bst_jax.pruning import one_by_one
import numpy as np
from test_prune import workdir  # noqa: F401  A fixture.

SETS = 5  # Of two layers, and the stream.


def start(folder, output, count):
  """The processes of a prune by exact scores, on the pictures."""
  with socket.socket() as s:
    s.bind(('localhost', 0))
    port = s.getsockname()[1]
  several = lambda i: [
      '--multihost', f'--coordinator=localhost:{port}',
      f'--num_processes={count}', f'--process_id={i}']
  return [subprocess.Popen(
      [sys.executable, '-m', 'bst_jax.prune', '--workdir=whole',
       '--data=class_folders', '--data.manual_dir=pictures', '--data.eval=val',
       '--target=params<=3K', '--kind=kl', '--pictures=12',
       f'--output={output}', *several(i)],
      cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
      env=os.environ | {'BST_JAX_DATA': str(folder / 'data'),
                        'JAX_PLATFORMS': 'cpu'}) for i in range(count)]


def finished(folder, output, count):
  """Scores of a whole run, and what its first process said."""
  runs = start(folder, output, count)
  said = [run.communicate(timeout=300)[0] for run in runs]
  assert not any(run.returncode for run in runs), said
  scores = json.loads((folder / output / 'scores.json').read_text())
  return scores['channels'], said[0]


def test_a_killed_scoring_goes_on_to_the_same_bits(workdir):  # noqa: F811
  folder, output, count = workdir.parent, 'of_two', 2
  want, said = finished(folder, f'{output}_undisturbed', count)
  assert 'Scoring goes on' not in said and 'will take about' in said
  runs = start(folder, output, count)
  part, began = folder / output / one_by_one.PART, time.monotonic()
  while not part.exists() and time.monotonic() - began < 200:
    assert runs[0].poll() is None, runs[0].communicate()[0]
    time.sleep(0.02)
  for run in runs:
    run.send_signal(signal.SIGKILL)
  for run in runs:
    run.communicate()
  done = len(json.loads(part.read_text())['done']['sets'])
  assert 1 <= done < SETS
  got, said = finished(folder, output, count)
  assert f'Scoring goes on: {done} sets of channels are done' in said
  assert got.keys() == want.keys() and len(want) == SETS
  for name in want:
    np.testing.assert_array_equal(got[name], want[name])
  assert not part.exists()
