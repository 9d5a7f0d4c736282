"""`train --from`: a workdir's config, parameters and vocabularies go on."""
import json

from bst_jax import train  # Defines the flags.
from bst_jax.host import config_flag
from bst_jax.host.config_flag import UsageError
from bst_jax.run import start
from bst_jax.store import config_of
import ml_collections
import pytest

assert train.DESCRIPTION


@pytest.fixture
def workdir(tmp_path):
  """An extracted workdir, as far as its config and vocabularies go."""
  path = tmp_path / 'small'
  (path / 'vocab').mkdir(parents=True)
  (path / 'vocab' / 'answers.json').write_text('["yes", "no"]')
  (path / 'config.json').write_text(json.dumps(dict(
      seed=0, steps=5, init_from='runs/old', teacher=dict(steps=3),
      data=dict(name='class_folders', manual_dir='pictures'),
      optimizer=dict(lr=0.1))))
  return path


def test_a_workdir_stands_for_a_config(workdir):
  argv = ['train', f'--from={workdir}', '--config.optimizer.lr=0.5']
  given = config_flag.resolve(argv)
  assert given[0] == 'train' and given[2:] == argv[1:]
  flag, path = given[1].split('=')
  assert flag == '--config' and path.endswith(f'config_of.py:{workdir}')
  assert config_flag.resolve(['train', '--from', str(workdir)])[1] == given[1]

  config = config_of.get_config(str(workdir))
  assert start.of(config) == start.Start(workdir) and config.steps == 5
  # What it started from, and who taught it, is in its parameters.
  assert config.teacher is None and config.init_from is None
  assert config.choice is config.ema is config.teacher_from is None


def test_two_configs_and_no_config_are_refused(workdir, tmp_path):
  with pytest.raises(UsageError, match='leave --from out, or give'):
    config_flag.resolve(['train', f'--from={workdir}', '--config=configs/x.py'])
  with pytest.raises(UsageError, match='no config.json in that folder'):
    config_flag.resolve(['train', '--from', str(tmp_path)])


def test_words_and_answers_go_along_unless_others_are_learnt(workdir, tmp_path):
  config = config_of.get_config(str(workdir))
  start.keep_vocabularies(config, tmp_path / 'a')
  assert (tmp_path / 'a' / 'vocab' / 'answers.json').exists()
  start.keep_vocabularies(config, tmp_path / 'a')  # It has its own by now.

  other = ml_collections.ConfigDict(config.to_dict())
  other.data.manual_dir = 'others'
  start.keep_vocabularies(other, tmp_path / 'b')
  fresh = ml_collections.ConfigDict(config.to_dict())
  fresh.start.fresh = ('head',)
  start.keep_vocabularies(fresh, tmp_path / 'c')
  assert not (tmp_path / 'b').exists() and not (tmp_path / 'c').exists()
