"""launch/tpu.sh and its worker: what they would run, and do when run."""
import os
import shlex
import signal
import sys
import time

import launching
from launching import COMMAND, dry, run, start, STOPS, TPU
import pytest

fake = pytest.fixture(launching.fake)


def worker(line):
  """The words that an ssh command line gives to the worker's bash."""
  option = line[-1]
  assert option.startswith('--command=')
  words = shlex.split(option.removeprefix('--command='))
  assert words[:2] == ['bash', 'bst_jax/launch/tpu_worker.sh']
  return words[2:]


@pytest.mark.parametrize('queued', [False, True])
def test_tpu_dry_run(queued):
  lines = dry(
      'tpu.sh', 'all', '--dry_run', *TPU, '--project=p', '--spot', '--bucket=b',
      *(['--queued', '--valid_until=6h'] if queued else []), '--delete_on_exit',
      '--', *COMMAND)
  here = ['--zone=us-west4-a', '--project=p']
  made = ['gcloud', 'compute', 'tpus',
          'queued-resources' if queued else 'tpu-vm']
  vm = ['gcloud', 'compute', 'tpus', 'tpu-vm']
  image = 'v2-alpha-tpuv5-lite'
  options = (['--spot', f'--runtime-version={image}', '--node-id=a',
              '--valid-until-duration=6h'] if queued else
             ['--spot', f'--version={image}'])
  assert lines.pop(0) == [*made, 'describe', 'a', *here, '--format=value(name)']
  assert lines.pop(0) == [*made, 'create', 'a', *here,
                          '--accelerator-type=v5litepod-16', *options]
  if queued:
    assert lines.pop(0) == [*made, 'describe', 'a', *here,
                            '--format=value(state.state)']
  assert lines.pop(0)[0] == 'git'
  assert lines.pop(0)[:5] == [*vm, 'scp']
  assert lines.pop(0)[:6] == [*vm, 'ssh', 'a']
  assert lines.pop(0)[0] == 'rm'
  install, start, logs = (lines.pop(0) for _ in range(3))
  for line, who in ((install, 'all'), (start, 'all'), (logs, '0')):
    assert line[:-1] == [*vm, 'ssh', 'a', *here, f'--worker={who}']
  assert worker(install) == ['install', '3.12', 'b']
  assert worker(start) == [
      'run', '--', *COMMAND, '--multihost',
      '--compilation_cache=/mnt/bst_jax/compilation_cache']
  assert worker(logs) == ['logs', '+1']
  assert lines == [[*made, 'delete', 'a', *here,
                    *(['--force'] if queued else []), '--quiet']]


def test_tpu_copies_the_checkout_as_it_is(fake, tmp_path):
  packed = tmp_path / 'packed'
  fake.make('gcloud', f'[[ $4 != scp ]] || tar -tzf "$5" >{packed}')
  assert run('tpu.sh', 'copy', *TPU, path=fake.path)[0] == 0
  names = packed.read_text().splitlines()
  assert 'launch/tpu_worker.sh' in names and 'setup.py' in names
  assert not any(name.startswith(('.git/', 'runs/')) for name in names)


# No slice at first; then one that is made, and deleted.
GCLOUD = '''
case "$*" in
  *"describe"*"value(name)") [[ -e {there} ]] && echo a ;;
  *"describe"*) echo "${{STATE:-ACTIVE}}" ;;
  *" create "*) touch {there} ;;
  *" delete "*) rm {there} ;;
  *"$FAIL"*) exit 9 ;;
  *"worker.sh logs"*) [[ -z ${{HANG:-}} ]] || sleep 30; exit "${{CODE:-0}}" ;;
  *"worker.sh stop"*) ;;
esac
'''


def actions(fake):
  """What was asked of gcloud, a word each."""
  known = ('create', 'scp', 'tar', 'install', 'run', 'logs', 'stop', 'delete')
  return [next((word for word in known if f' {word} ' in f' {text} '), text)
          for call in fake.calls() for text in [' '.join(call)]
          if 'describe' not in text]


@pytest.mark.parametrize('env, code, done', [
    ({}, 0, 'create scp tar install run logs delete'),
    ({'CODE': '3'}, 3, 'create scp tar install run logs delete'),
    ({'FAIL': 'worker.sh install'}, 9, 'create scp tar install delete'),
    ({'FAIL': ' scp '}, 9, 'create scp scp scp scp scp delete'),
    ({'STATE': 'FAILED'}, 1, 'create delete'),
    # The connection is lost, for good: the run is stopped, saved, first.
    ({'CODE': '255'}, 255,
     'create scp tar install run logs logs logs logs logs stop delete'),
])
def test_tpu_deletes_what_it_made(fake, tmp_path, env, code, done):
  there = tmp_path / 'there'
  fake.make('gcloud', GCLOUD.format(there=there))
  result, _, err = run(
      'tpu.sh', 'all', *TPU, '--queued', '--delete_on_exit', '--', 'true',
      path=fake.path, BST_JAX_PAUSE='0', **{'FAIL': 'nothing'} | env)
  assert result == code, err
  assert actions(fake) == done.split() and not there.exists()


def test_tpu_ctrl_c_saves_and_deletes(fake, tmp_path):
  there = tmp_path / 'there'
  fake.make('gcloud', GCLOUD.format(there=there))
  process = start('tpu.sh', 'all', *TPU, '--delete_on_exit', '--', 'true',
                  path=fake.path, FAIL='nothing', HANG='1')
  fake.wait_for('worker.sh logs')
  os.killpg(process.pid, signal.SIGINT)
  process.communicate(timeout=30)
  assert process.returncode == 130
  assert actions(fake)[-3:] == ['logs', 'stop', 'delete'] and not there.exists()


def test_tpu_leaves_what_is_not_its_own(fake, tmp_path):
  there = tmp_path / 'there'
  there.touch()
  fake.make('gcloud', GCLOUD.format(there=there))
  code, _, err = run('tpu.sh', 'all', *TPU, '--delete_on_exit', '--', 'true',
                     path=fake.path, FAIL='nothing')
  assert code == 2 and 'exists already' in err
  assert there.exists() and actions(fake) == []
  # And says what goes on costing.
  code, _, err = run('tpu.sh', 'run', *TPU, '--', 'true', path=fake.path,
                     FAIL='nothing')
  assert code == 0 and 'tpu.sh delete --name=a --zone=us-west4-a' in err


def test_tpu_worker_runs_and_stops(tmp_path):
  env = {'BST_JAX_RUN': str(tmp_path)}
  python = f'import os, time; {STOPS}'
  assert run('tpu_worker.sh', 'logs', **env)[0] == 2
  assert run('tpu_worker.sh', 'stop', **env)[0] == 0
  assert run('tpu_worker.sh', 'run', '--', sys.executable, '-c', python, 'once',
             **env)[0] == 0
  while 'up' not in (tmp_path / 'log').read_text():
    time.sleep(0.05)
  code, _, err = run('tpu_worker.sh', 'run', '--', 'true', **env)
  assert code == 2 and 'stop it first' in err
  follower = start('tpu_worker.sh', 'logs', **env)
  assert run('tpu_worker.sh', 'stop', **env)[0] == 0
  out, _ = follower.communicate(timeout=30)
  assert follower.returncode == 130 and out == 'up\nTERM\n'

  assert run('tpu_worker.sh', 'run', '--', 'printf', '%s', 'a b',
             **env)[0] == 0
  code, out, _ = run('tpu_worker.sh', 'logs', **env)
  assert (code, out) == (0, 'a b')
