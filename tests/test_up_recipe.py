"""From a parent to a pruned model that it taught, by the configs as they are."""
from bst_jax import elastic, train
from bst_jax.host.config_flag import load_config
from bst_jax.run import experiment
from bst_jax.store import workdir as workdirs
from configs import up_deit, up_fashion
import made_up
import numpy as np
import pytest
import test_prune


@pytest.fixture(scope='module')
def home(tmp_path_factory):
  folder = tmp_path_factory.mktemp('up')
  made_up.fashion_mnist(folder / 'files')
  return folder


def config_of(home, arg, **changes):
  config = up_fashion.get_config(arg)
  config.data.manual_dir = str(home / 'files')
  config.data.data_dir = str(home / 'data')
  config.update(changes)
  return config


def test_a_quarter_is_cut_and_taught(home):
  parent = home / 'parent'
  train.run(config_of(home, 'tiny'), parent)
  student = config_of(home, 'small,taught,tiny', start=str(home / 'cut'),
                      teacher_from=str(parent))
  stock = experiment.build(student, dict(num_answers=10, image_size=28))
  code, _, log = test_prune.command(
      home, '--workdir=parent', f'--target=params<={elastic.size(stock.shapes)}',
      '--attn_rule=segment', '--kind=fisher', '--pictures=20', '--output=cut')
  assert code == 0, log
  assert experiment.load(home / 'cut').model == stock.model
  train.run(student, home / 'taught')
  rows = [workdirs.read_json(home / name, 'evaluation_test.json')['rows'][0]
          for name in ('parent', 'taught')]
  assert rows[1]['params'] < rows[0]['params'] / 4
  assert np.isfinite(rows[1]['loss'])
  # And the sandwich that it is compared with.
  train.run(config_of(home, 'sandwich,tiny', start=str(parent)), home / 'bst')
  rows = workdirs.read_json(home / 'bst', 'evaluation_test.json')['rows']
  assert [row['submodel'] for row in rows] == ['1/4x1', '1/2x1', '3/4x1', '1x1']


def test_the_published_recipe_runs_on_folders(tmp_path, monkeypatch):
  """As published but for its sizes, of which one layer of few channels is left.
  """
  monkeypatch.setenv('BST_JAX_DATA', str(tmp_path / 'data'))
  made_up.animals(tmp_path / 'pictures', 8, 2)
  config = load_config('configs/up_deit.py:folders')
  config.data.manual_dir, config.data.batch = str(tmp_path / 'pictures'), 4
  config.data.image_size = (16,)
  config.model.update(patch=8, num_layers=1)
  config.epochs, config.log_every = 0, 1
  config.steps = 2
  parent = config.copy_and_resolve_references()
  parent.method = dict(name='plain')
  train.run(parent, tmp_path / 'parent')
  config.teacher_from = config.start = str(tmp_path / 'parent')
  train.run(config, tmp_path / 'tuned')
  assert (tmp_path / 'tuned' / 'evaluation_val.json').exists()


@pytest.mark.parametrize('arg, params', [('', 5_717_416), ('small', 22_050_664)])
def test_published_sizes(arg, params):
  config = up_deit.get_config(arg)
  exp = experiment.build(config, dict(config.data.sizes))
  assert elastic.size(exp.shapes) == params
  assert config.method.teacher_weight == pytest.approx(0.2 * 32)
