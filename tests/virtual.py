"""Processes of their own with several virtual devices."""
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]


def environment(devices, **more):
  """Variables of a process that sees so many devices."""
  flags = os.environ.get('XLA_FLAGS', '')
  return os.environ | {
      'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': f'{ROOT}:{ROOT / "tests"}',
      'XLA_FLAGS': f'{flags} --xla_force_host_platform_device_count={devices}',
  } | more


def run(program, devices, *args):
  """What the last line that a program's text prints holds, as JSON."""
  done = subprocess.run(
      [sys.executable, '-c', program, *args], capture_output=True, text=True,
      cwd=ROOT, env=environment(devices), check=False)
  assert done.returncode == 0, done.stderr[-3000:]
  return json.loads(done.stdout.splitlines()[-1])
