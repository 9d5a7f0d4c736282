"""launch/gke.sh: what it would run, and its manifest against the schema."""
import json
import shlex

import jsonschema
import launching
from launching import (
  COMMAND,
  GKE,
  ROOT,
  run,
)
import pytest
import yaml

fake = pytest.fixture(launching.fake)


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
