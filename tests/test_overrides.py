"""Options by flag, also those that a config does not list."""
import logging

from absl import flags
from bst_jax.host import cli, config_flag, overrides
from bst_jax.run import arguments
import pytest


@pytest.fixture
def parsed(monkeypatch):
  """Parses a command line as train does; returns the config."""
  monkeypatch.setattr(config_flag, '_KNOWN', [])
  config_flag.register_parsers()

  def parse(*argv, known=arguments.of):
    values = flags.FlagValues()
    values['verbosity'] = flags.FLAGS['verbosity']
    for module in (cli, config_flag):
      monkeypatch.setattr(module, 'FLAGS', values)
    flag = config_flag.config_flags.DEFINE_config_file(
        'config', None, lock_config=True, flag_values=values)
    config_flag.define(known=known)
    monkeypatch.setattr('sys.argv', ['train', *argv])
    cli._parse(['train', *argv])
    return flag.value
  return parse


QUICK = '--config=configs/quickstart.py'


def test_options_that_the_config_does_not_list(parsed):
  config = parsed(
      QUICK, '--config.data.manual_dir=2024', '--config.data.cache=False',
      '--config.data.threads', '3', '--config.model.stem=16,32',
      '--config.optimizer.nesterov=true', '--config.teacher.data.limit=64',
      '--config.task.measure=top5', '--config.data.image_size=(48, 64)',
      '--config.space.widths=1/2,1', '--config.seed=3',
      '--config.method.gt_weight=0.5')
  assert config.data.manual_dir == '2024'  # A folder, not a number.
  assert config.data.cache is False and config.data.threads == 3
  assert config.model.stem == (16, 32) and config.data.image_size == (48, 64)
  assert config.optimizer.nesterov is True and config.teacher.data.limit == 64
  assert config.task.measure == 'top5' and config.method.gt_weight == 0.5
  assert config.space.widths == ('1/2', '1') and config.seed == 3
  assert config.data.seed == 3  # Which follows it, as before.
  assert config.is_locked


def test_a_file_is_read_once_for_its_overrides(parsed, tmp_path):
  (tmp_path / 'mine.py').write_text(
      'from configs import quickstart\n'
      f"with open({str(tmp_path / 'reads')!r}, 'a') as f:\n  f.write('x')\n"
      'def get_config(arg=""):\n  return quickstart.get_config(arg)\n')
  for seed in (3, 4):
    config = parsed(f'--config={tmp_path}/mine.py', f'--config.seed={seed}',
                    '--config.data.threads=2')
    assert (config.seed, config.data.threads) == (seed, 2)
  # By its flag, and for what the flag does not know; again the second time.
  assert (tmp_path / 'reads').read_text() == 'xxxx'


@pytest.mark.parametrize('override, said', [
    ('data.manual_dri=x', "no key 'data.manual_dri'. Did you mean "
                          '--config.data.manual_dir'),
    ('model.stm=8', '--config.model.stem'),
    ('optimizer.nestrov=1', '--config.optimizer.nesterov'),
    ('data.limit=many', "of type int"),
    ('data.allow_overlap=perhaps', 'neither true nor false'),
    ('data.threads', 'has no value'),
    ('nothing.at.all=3', "no key 'nothing.at.all'"),
    ('model.name=mcann', "no model 'mcann'"),
    ('model.stem=[16', 'is no list'),
])
def test_overrides_that_cannot_be(parsed, override, said):
  with pytest.raises((config_flag.UsageError, ValueError), match=said):
    parsed(QUICK, f'--config.{override}')


def test_another_schedule_leaves_the_options_of_the_first(parsed, caplog):
  logger = logging.getLogger('absl')
  logger.addHandler(caplog.handler)
  config = parsed(QUICK, '--config.schedule.name=constant',
                  '--config.optimizer.name=sgd',
                  '--config.teacher.optimizer.name=adam',
                  '--config.optimizer.momentum=0.9')
  logger.removeHandler(caplog.handler)
  assert dict(config.schedule) == {'name': 'constant'}
  assert config.optimizer.name == 'sgd' and config.optimizer.momentum == 0.9
  assert config.optimizer.weight_decay and config.optimizer.clip  # Sgd has both.
  assert 'weight_decay' not in config.teacher.optimizer  # Adam has none.
  assert 'config.teacher.optimizer is adam, not adamw' in caplog.text
  # What is asked for stays, for the error that it deserves.
  config = parsed(QUICK, '--config.schedule.name=constant',
                  '--config.schedule.warmup=0.1')
  assert config.schedule.warmup == 0.1


def test_another_method_takes_its_own_usual_weight(parsed):
  """A sandwich's labels weigh nothing, which plain training cannot learn from."""
  pictures = QUICK.replace('quickstart.py', 'pictures.py')
  assert parsed(pictures).method.gt_weight == 0.0
  assert dict(parsed(pictures, '--config.method.name=plain').method) == {
      'name': 'plain'}
  config = parsed(pictures, '--config.method.name=plain',
                  '--config.method.gt_weight=0.5')
  assert config.method.gt_weight == 0.5  # Asked for: stays.
  config = parsed(QUICK, '--config.method.name=plain',
                  '--config.optimizer.name=sgd')
  assert config.optimizer.lr == parsed(QUICK).optimizer.lr


def test_without_known_options_only_listed_keys_are_taken(parsed):
  with pytest.raises(config_flag.UsageError, match="no key 'data.threads'"):
    parsed(QUICK, '--config.data.threads=3', known=None)


@pytest.mark.parametrize('text, value', [
    ('1/2,1', ('1/2', '1')), ('1/2, 3/4', ('1/2', '3/4')), ('(3, 4)', (3, 4)),
    ('["1/2", "1"]', ('1/2', '1')), ('3,4', (3, 4)), ('image', ('image',)),
    ('1/2', ('1/2',)), ('7', (7,)), ('()', ())])
def test_lists_as_people_write_them(text, value):
  assert overrides.tuple_of(text) == value


def test_a_config_that_was_loaded_may_be_changed():
  first = config_flag.load_config('configs/quickstart.py')
  first.unlock()
  first.steps, first.model.heads = 3, 99
  second = config_flag.load_config('configs/quickstart.py')
  assert second.steps != 3 and second.model.heads != 99
