"""The scripts of launch/: what they would run, and what they do when run.

gcloud, kubectl and Slurm's commands are stood in for by scripts that note how
they were called; the processes of local.sh and tpu_worker.sh are real.
"""
import json
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import jsonschema
import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[1]
LAUNCH = ROOT / 'launch'
SCRIPTS = sorted(path.name for path in LAUNCH.glob('*.sh'))
COMMAND = ['python', '-m', 'bst_jax.train', '--workdir', "it's a b"]
FLAGS = ['--multihost', '--compilation_cache=runs/compilation_cache']
TPU = ['--name=a', '--zone=us-west4-a', '--accelerator=v5litepod-16']
GKE = ['--name=a', '--image=registry.io/p/bst_jax:1', '--bucket=b',
       '--accelerator=tpu-v5-lite-podslice', '--topology=4x4']


def start(script, *args, path=None, cwd=None, **env):
  """The script in a session of its own, so that Ctrl-C can be sent to it."""
  path = f'{path}:{os.environ["PATH"]}' if path else os.environ['PATH']
  return subprocess.Popen(
      ['bash', LAUNCH / script, *map(str, args)], cwd=cwd, text=True,
      env=os.environ | env | {'PATH': path}, start_new_session=True,
      stdout=subprocess.PIPE, stderr=subprocess.PIPE,
      # A test run in the background ignores it, and so would its children.
      preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))


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


@pytest.fixture
def fake(tmp_path):
  """Makes commands that note their words, and then run the given bash."""
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
    assert 'runs/compilation_cache' not in run(
        'local.sh', '--dry_run', *cache, *COMMAND)[1]


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


# Cloud TPU.


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


# GKE.


def manifest(*args):
  code, out, err = run('gke.sh', 'render', *GKE, *args)
  assert code == 0, err
  return yaml.safe_load(out)


def schema():
  return json.loads((ROOT / 'tests/jobset_schema.json').read_text())


def test_jobset():
  words = ['a "b" \\n', 'two\nlines', '$(HOME) $x', "it's", '', 'é: #1', 'no']
  jobset = manifest('--slices=2', '--spot', '--max_restarts=3', '--', 'python',
                    *words)
  jsonschema.validate(jobset, schema())
  job = jobset['spec']['replicatedJobs'][0]
  assert job['replicas'] == 2 and jobset['spec']['failurePolicy'][
      'maxRestarts'] == 3
  assert job['template']['spec']['completions'] == 4  # Hosts of 4 chips.
  assert job['template']['spec']['parallelism'] == 4
  pod = job['template']['spec']['template']['spec']
  assert pod['nodeSelector'] == {
      'cloud.google.com/gke-tpu-accelerator': 'tpu-v5-lite-podslice',
      'cloud.google.com/gke-tpu-topology': '4x4',
      'cloud.google.com/gke-spot': 'true'}
  (container,) = pod['containers']
  assert container['resources']['limits'] == {'google.com/tpu': 4}
  # Kubernetes turns $$ back into $.
  words[2] = '$$(HOME) $x'
  assert container['command'] == [
      'python', *words, '--multihost',
      '--compilation_cache=/mnt/bst_jax/compilation_cache']
  assert {volume['name'] for volume in pod['volumes']} == {
      mount['name'] for mount in container['volumeMounts']}

  jobset = manifest('--accelerator=tpu-v5p-slice', '--topology=2x2x1', '--',
                    'true')
  jsonschema.validate(jobset, schema())
  job = jobset['spec']['replicatedJobs'][0]['template']['spec']
  assert job['completions'] == 1
  assert 'tolerations' not in job['template']['spec']


@pytest.mark.parametrize('path, value', [
    ('spec.replicatedJobs.0.template.spec.template.spec.restartPolicy',
     'Always'),
    ('spec.replicatedJobs.0.template.spec.completions', '4'),
    ('spec.replicatedJobs.0.template.spec.template.spec.image', 'here'),
    ('spec.failurePolicy.rules.0.action', 'Restart'),
    ('metadata.name', 'A'),
])
def test_schema_catches(path, value):
  jobset = manifest('--', 'true')
  *parts, last = path.split('.')
  at = jobset
  for part in parts:
    at = at[int(part) if part.isdigit() else part]
  at[last] = value
  with pytest.raises(jsonschema.ValidationError):
    jsonschema.validate(jobset, schema())


def test_gke_dry_run():
  code, out, err = run('gke.sh', 'run', '--dry_run', *GKE, '--delete_on_exit',
                       '--', *COMMAND)
  assert code == 0, err
  before, _, rest = out.partition("kubectl create --filename=- <<'END'\n")
  text, _, after = rest.partition('\nEND\n')
  jsonschema.validate(yaml.safe_load(text), schema())
  here = '--namespace=default'
  assert shlex.split(before) == ['kubectl', 'get', 'jobset', 'a', here,
                                 '--ignore-not-found', '--output=name']
  logs, look, delete = map(shlex.split, after.splitlines())
  assert logs == [
      'kubectl', 'logs', '--follow', here, '--tail=-1',
      '--selector=jobset.sigs.k8s.io/jobset-name=a,jobset.sigs.k8s.io/'
      'job-index=0,batch.kubernetes.io/job-completion-index=0']
  assert look == ['kubectl', 'get', 'jobset', 'a', here,
                  '--output=jsonpath={.status.terminalState}']
  assert delete == ['kubectl', 'delete', 'jobset', 'a', here]


KUBECTL = '''
case "$*" in
  *ignore-not-found*) [[ ! -e {there} ]] || echo jobset/a ;;
  create*) cat >{there} ;;
  *terminalState*) echo "$STATE" ;;
  delete*) rm {there} ;;
esac
'''


@pytest.mark.parametrize('state, code', [('Completed', 0), ('Failed', 1)])
def test_gke_run(fake, tmp_path, state, code):
  there = tmp_path / 'there'
  fake.make('kubectl', KUBECTL.format(there=there))
  env = dict(path=fake.path, STATE=state, BST_JAX_PAUSE='0')
  result, _, err = run('gke.sh', 'run', *GKE, '--', 'true', **env)
  assert result == code and 'gke.sh delete --name=a' in err
  jsonschema.validate(yaml.safe_load(there.read_text()), schema())
  # It is there now, and not this script's.
  result, _, err = run('gke.sh', 'run', *GKE, '--delete_on_exit', '--', 'true',
                       **env)
  assert result == 2 and 'exists already' in err and there.exists()
  there.unlink()
  assert run('gke.sh', 'run', *GKE, '--delete_on_exit', '--', 'true',
             **env)[0] == code
  assert not there.exists()
