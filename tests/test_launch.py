"""The scripts of launch/, those for one machine and Slurm: what they would run.

gcloud, kubectl and Slurm's commands are stood in for by scripts that note how
they were called; the processes of local.sh and tpu_worker.sh are real.
"""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import launching
from launching import (
  COMMAND,
  dry,
  FLAGS,
  GKE,
  LAUNCH,
  run,
  SCRIPTS,
  start,
  STOPS,
  TPU,
)
import pytest

fake = pytest.fixture(launching.fake)


# All of them.


def test_shellcheck():
  if not shutil.which('shellcheck'):
    pytest.skip('there is no shellcheck; the extra `test` brings it')
  found = subprocess.run(
      ['shellcheck', '--external-sources', *SCRIPTS, '../.ci/run'], cwd=LAUNCH,
      capture_output=True, text=True)
  assert not found.returncode, found.stdout


@pytest.mark.parametrize('name', [n for n in SCRIPTS if n != 'common.sh'])
def test_help_and_unknown_options(name):
  assert os.access(LAUNCH / name, os.X_OK)
  code, out, _ = run(name, '--help')
  assert code == 0 and f'usage: launch/{name}' in out
  assert 'set -euo' not in out
  action = {'tpu.sh': ['run'], 'gke.sh': ['run']}.get(name, [])
  code, out, err = run(name, *action, '--no_such=1', '--', 'true')
  assert code == 2 and 'no_such' in err or name == 'tpu_worker.sh'


@pytest.mark.parametrize('script, args, message', [
    ('local.sh', ['--processes', '0', '--', 'a'], 'a whole number from 1'),
    ('local.sh', ['--processes', '2x', '--', 'a'], "not '2x'"),
    ('local.sh', ['--processes'], '--processes needs a value'),
    ('local.sh', ['python'], 'the command comes after --'),
    ('local.sh', [], 'give the command to run after --'),
    ('local.sh', ['--dry_run=1', '--', 'a'], '--dry_run takes no value'),
    ('slurm.sh', ['--process_per', 'core', '--', 'a'], 'node or gpu'),
    ('slurm.sh', ['--process_per', 'gpu', '--gpus_per_node=0', '--', 'a'],
     'needs GPUs'),
    ('slurm_job.sh', ['--'], 'give the command'),
    ('tpu.sh', ['begin'], 'one of all create copy'),
    ('tpu.sh', ['create', '--name=a'], '--zone is required'),
    ('tpu.sh', ['create', *TPU[:2], '--accelerator=v9-8'],
     'only for v2-, v3-, v4-, v5litepod-'),
    ('tpu.sh', ['all', *TPU], 'give the command'),
    ('tpu.sh', ['create', *TPU, '--delete_on_exit'], 'goes with all'),
    ('tpu.sh', ['create', *TPU, '--valid_until=6h'], 'goes with --queued'),
    ('tpu.sh', ['create', *TPU, '--bucket=gs://b'], 'without gs://'),
    ('tpu_worker.sh', ['begin'], 'none of install'),
    ('gke.sh', ['run', '--name=A', '--', 'a'], 'from a letter on'),
    ('gke.sh', ['run', '--name=a', '--', 'a'], '--image is required'),
    ('gke.sh', ['render', *GKE, '--topology=2x2x4', '--', 'a'],
     'has 2 sizes, such as 4x4'),
    ('gke.sh', ['render', *GKE, '--chips_per_host=3', '--', 'a'],
     'has 16 chips'),
    ('gke.sh', ['render', *GKE, '--accelerator=v5e', '--', 'a'],
     'there are tpu-v4-podslice'),
    ('gke.sh', ['render', *GKE, '--image=a b', '--', 'a'], 'cannot be'),
    ('gke.sh', ['render', *GKE, '--', 'a', 'b\a'], 'control character'),
])
def test_bad_input(script, args, message):
  code, out, err = run(script, *args)
  assert code == 2 and message in err and not out


# Several processes on this machine.


def test_local_dry_run():
  lines = dry('local.sh', '--dry_run', '--port=7', '--logs=a b', '--processes',
              '3', '--', *COMMAND)
  shared = ['--multihost', '--coordinator=localhost:7', '--num_processes=3',
            '--compilation_cache=runs/compilation_cache']
  assert lines == [
      ['mkdir', '-p', 'a b'],
      *([*COMMAND, *shared, f'--process_id={i}', '>', f'a b/process_{i}.log',
         '2>&1', '&'] for i in range(3)), ['wait']]
  for cache in (['--compilation_cache=none', '--'],
                ['--', 'python', '--compilation_cache', 'elsewhere']):
    line = run('local.sh', '--dry_run', *cache, *COMMAND)[1]
    assert 'runs/compilation_cache' not in line
    # Without the flag there would be one in the home folder.
    assert ('--compilation_cache=none' in line) == (len(cache) == 2 and
                                                    'none' in cache[0])


def test_local_processes_know_each_other(tmp_path):
  code, out, _ = run(
      'local.sh', '--logs', tmp_path / 'logs', '--', sys.executable, '-c',
      'import json, sys; print(json.dumps(sys.argv[1:]))', 'a b', cwd=tmp_path)
  assert code == 0
  first, second = (json.loads((tmp_path / f'logs/process_{i}.log').read_text())
                   for i in range(2))
  assert json.loads(out) == first  # Shown, too.
  assert first[0] == 'a b' and first[-1] == '--process_id=0'
  assert second[:-1] == first[:-1] and second[-1] == '--process_id=1'
  port = next(word for word in first if word.startswith('--coordinator='))
  assert 1024 <= int(port.rpartition(':')[2]) < 65536


# Process 1 ends as told; process 0 waits, and says what reaches it.
PAIR = '''
import os, signal, sys, time
how = sys.argv[1]
if sys.argv[-1] == '--process_id=1':
  if how == 'killed':
    os.kill(os.getpid(), signal.SIGKILL)
  sys.exit(int(how))
if 'deaf' in sys.argv:
  signal.signal(signal.SIGTERM, signal.SIG_IGN)
if how == '130':
  time.sleep(1)
  print('saved', flush=True)
  sys.exit(130)
time.sleep(60)
'''


@pytest.mark.parametrize('how, code', [
    (['3'], 3), (['killed'], 137), (['4', 'deaf'], 4), (['130'], 130)])
def test_local_one_dies(tmp_path, how, code):
  began = time.monotonic()
  result, out, err = run(
      'local.sh', '--grace=1', '--compilation_cache=none', '--logs', tmp_path,
      '--', sys.executable, '-c', PAIR, *how)
  assert result == code and f'process 1 ended with {code}' in err
  assert time.monotonic() - began < 20
  assert ('killing what still runs' in err) == ('deaf' in how)
  # What is saving when the other one has saved is left alone.
  assert out == ('saved\n' if how == ['130'] else '')


@pytest.mark.parametrize('sent, told', [
    ([signal.SIGTERM], 'TERM'), ([signal.SIGINT], 'TERM'),
    ([signal.SIGINT, signal.SIGINT], 'TERM INT')])
def test_local_hands_signals_on(tmp_path, sent, told):
  process = start('local.sh', '--logs', tmp_path, '--', sys.executable, '-c',
                  STOPS, 'twice' if len(sent) == 2 else 'once', cwd=tmp_path)
  logs = [tmp_path / f'process_{i}.log' for i in range(2)]
  while not all(log.exists() and log.read_text() for log in logs):
    assert process.poll() is None
    time.sleep(0.05)
  for number in sent:
    os.killpg(process.pid, number)  # As a terminal does.
    time.sleep(0.5)
  process.communicate(timeout=30)
  assert process.returncode == 130
  assert [log.read_text() for log in logs] == [f'up\n{told}\n'] * 2


# Slurm.


def test_slurm_dry_run():
  made, sbatch = dry(
      'slurm.sh', '--dry_run', '--nodes=2', '--time=1:00:00', '--sbatch',
      '--qos=high --mem=0', '--partition=p', '--', *COMMAND)
  assert made == ['mkdir', '-p', 'runs/slurm']
  at = sbatch.index('--')
  assert sbatch[0] == 'sbatch' and set(sbatch[1:at - 3]) == {
      '--job-name=bst_jax', '--nodes=2', '--ntasks-per-node=1',
      '--cpus-per-task=64', '--gpus-per-node=8', '--signal=B:TERM@120',
      '--requeue', '--open-mode=append', '--output=runs/slurm/%x_%j.log',
      '--time=1:00:00', '--partition=p', '--qos=high', '--mem=0'}
  assert pathlib.Path(sbatch[at - 3]).name == 'slurm_job.sh'
  assert sbatch[at - 2:] == ['--gpus_per_process', '8', '--', *COMMAND, *FLAGS]

  _, sbatch = dry('slurm.sh', '--dry_run', '--process_per=gpu', '--', 'true')
  assert {'--ntasks-per-node=8', '--cpus-per-task=8'} <= set(sbatch)
  assert sbatch[sbatch.index('--gpus_per_process') + 1] == '1'

  (job,) = dry('slurm_job.sh', '--gpus_per_process', '2', '--dry_run', '--',
               *COMMAND)
  # Without it jax takes one GPU a process.
  assert job == ['env', 'JAX_LOCAL_DEVICE_IDS=0,1', 'srun', '--label',
                 '--wait=60', '--kill-on-bad-exit=0', *COMMAND]
  (job,) = dry('slurm_job.sh', '--gpus_per_process', '1', '--dry_run', '--',
               'a')
  assert job[0] == 'srun'


@pytest.mark.parametrize('state', ['RUNNING', 'COMPLETING'])
def test_slurm_job_goes_back_to_the_queue(fake, tmp_path, state):
  told = tmp_path / 'told'
  fake.make('srun', f'until [[ -e {told} ]]; do sleep 0.1; done; exit 130')
  fake.make('scancel', f'touch {told}')
  fake.make('squeue', f'echo {state}')
  fake.make('scontrol')
  process = start('slurm_job.sh', '--', 'true', path=fake.path,
                  SLURM_JOB_ID='7')
  fake.wait_for('srun')
  process.terminate()
  process.communicate(timeout=30)
  assert process.returncode == 130
  assert ['scancel', '--signal=TERM', '7'] in fake.calls()
  # One that was cancelled stays away.
  assert (['scontrol', 'requeue', '7'] in fake.calls()) == (state == 'RUNNING')


def test_slurm_job_that_fails_ends(fake):
  fake.make('srun', 'exit 2')
  fake.make('scontrol')
  assert run('slurm_job.sh', '--', 'true', path=fake.path,
             SLURM_JOB_ID='7')[0] == 2
  assert len(fake.calls()) == 1
