"""Commands explain themselves, and their mistakes end in one line."""
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

from bst_jax.host import interrupt
import pytest

ROOT = pathlib.Path(__file__).parents[1]

COMMAND = '''
import sys
from absl import flags
from bst_jax.host import cli, config_flag

_CONFIG = config_flag.define()
_NUM_STEPS = flags.DEFINE_integer('num_steps', 7, 'How many.')


def main():
  {1: _value_error, 2: _not_finite, 3: _interrupt}.get(
      _NUM_STEPS.value, lambda: None)()
  config = _CONFIG.value
  print('lr', config.optimizer.lr, 'order', config.order, 'init',
        config.init_from, 'variant', config.variant)


def _value_error():
  raise ValueError('asked for 1, which is odd; use 2')


def _not_finite():
  raise FloatingPointError('loss is nan')


def _interrupt():
  raise KeyboardInterrupt


if __name__ == '__main__':
  flags.mark_flags_as_required(['config'])
  cli.run(main, 'Counts steps.', """
      count --config=configs/x.py
      """)
  '''

CONFIG = '''
import ml_collections
from configs import common


def get_config(arg=''):
  if arg not in ('', 'tiny'):
    raise ValueError(f'no variant {arg!r}; there is tiny')
  return ml_collections.ConfigDict(dict(
      variant=arg, optimizer=dict(name='adam', lr=common.LR), seed=0,
      order=(1, 2), init_from=None, widths=['1/2']))
'''

# Runs the command on each line of stdin, in a process forked for it.
MANY = '''
import os, runpy, shlex, sys
sys.path.insert(0, sys.argv.pop(1))
import bst_jax.host.cli
assert 'jax' not in sys.modules and 'orbax' not in sys.modules
for line in sys.stdin.read().splitlines():
  sys.stdout.flush()
  if not os.fork():
    os.dup2(1, 2)
    sys.argv = ['count.py', *shlex.split(line)]
    try:
      runpy.run_path('count.py', run_name='__main__')
    except SystemExit as done:
      print('exit', done.code, flush=True)
      os._exit(0)
    finally:
      sys.stdout.flush()
  os.wait()
  print('=====', flush=True)
'''

LINES = {
    'help': '--help',
    'good': '--config=configs/x.py:tiny --config.optimizer.lr=0.5 '
            '--config.order="(3, 4)" --config.init_from=runs/a '
            '--config.widths="[1, 2]"',
    'no config': '',
    'wrong flag': '--config=configs/x.py --num_step=3',
    'wrong value': '--config=configs/x.py --num_steps=some',
    'wrong file': '--config=configs/z.py',
    'wrong variant': '--config=configs/x.py:large',
    'wrong key': '--config=configs/x.py --config.lr=3',
    'misspelt key': '--config=configs/x.py --config.optimiser.lr=3',
    'wrong type': '--config=configs/x.py --config.seed=0.5',
    'wrong order': '--config.seed=1 --config=configs/x.py',
    'positional': '--config=configs/x.py num_steps=3',
    'value error': '--config=configs/x.py --num_steps=1',
    'traceback': '--config=configs/x.py --num_steps=1 --traceback',
    'not finite': '--config=configs/x.py --num_steps=2',
    'interrupted': '--config=configs/x.py --num_steps=3',
}


@pytest.fixture(scope='module')
def said(tmp_path_factory):
  """{name of a line: (exit code, everything printed)}."""
  folder = tmp_path_factory.mktemp('cli')
  (folder / 'configs').mkdir()
  (folder / 'configs' / 'x.py').write_text(CONFIG)
  (folder / 'configs' / 'common.py').write_text('LR = 1e-4\n')
  (folder / 'count.py').write_text(COMMAND)
  done = subprocess.run(
      [sys.executable, '-c', MANY, ROOT], input='\n'.join(LINES.values()),
      cwd=folder, capture_output=True, text=True)
  outputs = done.stdout.split('=====\n')[:-1]
  assert len(outputs) == len(LINES), done.stdout + done.stderr
  results = {}
  for name, text in zip(LINES, outputs):
    text, _, code = text.rpartition('exit ')
    results[name] = (int(code), text)
  return results


def test_help_is_short(said):
  code, text = said['help']
  assert code == 0
  for part in ('usage: count.py', 'Counts steps.', '--num_steps', 'default: 7',
               '--config\n', '--multihost', '--helpfull',
               '\n  count --config=configs/x.py'):
    assert part in text
  assert '--verbosity' not in text  # absl's own.
  assert len(text.splitlines()) < 40


def test_overrides_arrive(said):
  assert said['good'] == (
      0, 'lr 0.5 order (3, 4) init runs/a variant tiny\n')


@pytest.mark.parametrize('name, code, parts', [
    ('no config', 2, ['--config is required']),
    ('wrong flag', 2, ['no flag --num_step', 'Did you mean --num_steps?']),
    ('wrong value', 2, ['--num_steps=some']),
    ('wrong file', 2, ["no config file 'configs/z.py'",
                       'Configs here: configs/x.py.']),
    ('wrong variant', 2, ["no variant 'large'", 'there is tiny']),
    ('wrong key', 2, ["no key 'lr'", '--config.optimizer.lr?']),
    ('misspelt key', 2, ["no key 'optimiser.lr'", '--config.optimizer.lr']),
    ('wrong type', 2, ['--config.seed=0.5', 'of type int']),
    ('wrong order', 2, ['give --config first']),
    ('positional', 2, ["flags only, not 'num_steps=3'"]),
    ('value error', 2, ['error: asked for 1, which is odd; use 2']),
    ('not finite', 3, ['error: loss is nan']),
    ('interrupted', 130, ['interrupted']),
])
def test_mistakes_end_in_a_line(said, name, code, parts):
  assert said[name][0] == code
  for part in parts:
    assert part in said[name][1]
  assert 'Traceback' not in said[name][1]
  assert len(said[name][1].splitlines()) <= 2


def test_traceback_on_request(said):
  code, text = said['traceback']
  assert code == 2
  assert 'in _value_error' in text and 'error: asked for 1' in text


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_interrupt_turns_a_signal_into_a_flag(number, capfd):
  before = signal.getsignal(number)
  with interrupt.Interrupt() as stop:
    assert not stop.requested
    os.kill(os.getpid(), number)
    assert stop.requested and stop.agreed()
  assert signal.getsignal(number) is before
  assert 'Stopping after this step' in capfd.readouterr().err


def test_a_second_interrupt_is_at_once():
  before = signal.getsignal(signal.SIGINT)
  with pytest.raises(KeyboardInterrupt):
    with interrupt.Interrupt() as stop:
      os.kill(os.getpid(), signal.SIGINT)
      assert stop.requested
      os.kill(os.getpid(), signal.SIGINT)
  assert signal.getsignal(signal.SIGINT) is before


def test_interrupt_outside_the_main_thread_does_nothing():
  seen = []

  def work():
    with interrupt.Interrupt() as stop:
      seen.append(stop.requested)

  thread = threading.Thread(target=work)
  thread.start()
  thread.join()
  assert seen == [False]


def test_where_nothing_is_lost_a_signal_is_at_once():
  for number in (signal.SIGTERM, signal.SIGINT):
    with pytest.raises(KeyboardInterrupt):
      with interrupt.Interrupt() as stop, stop.at_once():
        os.kill(os.getpid(), number)
    assert stop.lossless


def test_a_signal_before_such_a_block_ends_it():
  with interrupt.Interrupt() as stop:
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
      with stop.at_once():
        pytest.fail('the block was entered')
    assert stop.lossless


def test_a_second_interrupt_is_told_from_one_that_loses_nothing():
  with interrupt.Interrupt() as stop:
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
      os.kill(os.getpid(), signal.SIGINT)
    assert not stop.lossless


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_what_does_not_come_back_to_python(number):
  """As a compiler does: the handler never runs."""
  code = """
import hashlib, sys
from bst_jax.host import interrupt
interrupt._PATIENCE = 0.2
with interrupt.Interrupt() as stop:
  stop.last_words += [lambda: print('last words', flush=True)]
  with stop.at_once():
    print('begun', flush=True)
    hashlib.pbkdf2_hmac('sha256', b'', b'', (1 << 31) - 1)
"""
  run = subprocess.Popen([sys.executable, '-c', code], text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
  assert run.stdout.readline() == 'begun\n'
  time.sleep(0.5)  # Until it is there.
  run.send_signal(number)
  out, error = run.communicate(timeout=30)
  assert run.returncode == 130 and out == 'last words\n', (out, error)
