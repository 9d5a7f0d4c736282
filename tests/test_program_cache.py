"""Compiled programs that are kept: where, how many, and what goes wrong."""
import logging
import os
import subprocess
import sys
import time
import warnings
import zlib

from bst_jax.host import program_cache
import pytest

# Compiles one program, as every command starts, and prints what it gives.
PROGRAM = '''
import sys
from absl import flags
from bst_jax.host import cli
flags.FLAGS(['x', *sys.argv[1:]])
cli.start()
import jax
import jax.numpy as jnp
run = jax.jit(lambda x: jnp.tanh(x @ x.T).sum() + jnp.sin(x).max())
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
print(float(run(jnp.arange(12.0).reshape(3, 4) / 7)).hex())
'''


def run(folder):
  """What the program prints, and its log."""
  done = subprocess.run(
      [sys.executable, '-c', PROGRAM, '-v=0'], text=True, capture_output=True,
      env=os.environ | {'BST_JAX_CACHE': str(folder)})
  assert done.returncode == 0, done.stderr
  return done.stdout, done.stderr


def entries(folder):
  return sorted(folder.glob('*-cache'))


def test_a_second_start_reads_what_the_first_one_kept(tmp_path):
  """With the same bits; half an entry is made anew."""
  first, log = run(tmp_path)
  assert f'kept in {tmp_path} (0 there, 0 MiB)' in log
  assert len(entries(tmp_path)) >= 1
  before = {path: path.stat().st_mtime_ns for path in entries(tmp_path)}
  second, log = run(tmp_path)
  assert second == first and 'warning' not in log
  assert f'({len(before)} there' in log
  assert {path: path.stat().st_mtime_ns
          for path in entries(tmp_path)} == before
  for path in before:  # As of a process that was killed, a while ago.
    path.write_bytes(path.read_bytes()[:50])
    os.utime(path, (time.time() - 1000,) * 2)
  third, log = run(tmp_path)
  assert third == first and 'warning' not in log
  assert entries(tmp_path) == list(before)
  assert all(path.stat().st_size > 50 for path in before)


def test_an_entry_that_is_damaged_meanwhile_is_one_warning(tmp_path):
  first, _ = run(tmp_path)
  for path in entries(tmp_path):
    path.write_bytes(b'no program')  # As if it were being written.
  again, log = run(tmp_path)
  assert again == first
  assert log.count('cannot be read from') == 1 and 'Traceback' not in log


@pytest.fixture
def started(monkeypatch, caplog):
  """Starts the cache as a command does; jax is as before at the end."""
  import jax
  names = ('jax_enable_compilation_cache', 'jax_compilation_cache_dir',
           'jax_persistent_cache_min_compile_time_secs')
  before = {name: getattr(jax.config, name) for name in names}
  monkeypatch.setattr(warnings, 'showwarning', warnings.showwarning)
  monkeypatch.delenv('BST_JAX_CACHE', raising=False)
  jax.config.update('jax_compilation_cache_dir', None)

  def start(asked=None):
    caplog.clear()
    with caplog.at_level(logging.INFO, 'absl'):
      where = program_cache.start(asked)
    assert jax.config.jax_enable_compilation_cache == bool(where)
    return where, caplog.text

  yield start
  for name, value in before.items():
    jax.config.update(name, value)


@pytest.mark.parametrize('asked, env, wanted', [
    ('none', {}, ''), (None, {'BST_JAX_CACHE': 'none'}, ''),
    ('a', {'BST_JAX_CACHE': 'b'}, 'a'), (None, {'BST_JAX_CACHE': 'b'}, 'b'),
    (None, {'XDG_CACHE_HOME': 'd'}, 'd/bst_jax/programs/')])
def test_who_says_where(tmp_path, monkeypatch, started, asked, env, wanted):
  monkeypatch.chdir(tmp_path)
  for key, value in env.items():
    monkeypatch.setenv(key, value)
  where, log = started(asked)
  assert where.startswith(str(tmp_path / wanted) if wanted else '')
  assert ('kept in' in log) == bool(wanted) == bool(where)
  assert {path.name for path in tmp_path.iterdir()} == (
      {wanted[0]} if wanted else set())


def test_a_folder_of_the_user_s_own_for_jax_stays(tmp_path, started):
  import jax
  jax.config.update('jax_compilation_cache_dir', str(tmp_path / 'c'))
  assert started()[0] == str(tmp_path / 'c')


def test_a_folder_that_cannot_be_used_is_one_warning(tmp_path, started):
  (tmp_path / 'file').write_text('')
  for folder in (tmp_path / 'file', '/proc/self', tmp_path / 'file' / 'below'):
    where, log = started(str(folder))
    assert where == '' and log.count('Compiled programs are not kept') == 1
    assert '--compilation_cache names another' in log


def put(folder, name, size, age, data=None):
  path = folder / f'{name}-cache'
  path.write_bytes(zlib.compress(os.urandom(size)) if data is None else data)
  os.utime(path, (time.time() - age,) * 2)
  return path


def test_the_oldest_go_and_what_is_cut(tmp_path):
  paths = [put(tmp_path, f'p{i}', 1000, 100 * (i + 1)) for i in range(5)]
  cut = put(tmp_path, 'cut', 0, 150, zlib.compress(os.urandom(99))[:-9])
  young = put(tmp_path, 'young', 0, 0, b'half of it')  # Still being written.
  other = tmp_path / 'notes.txt'
  other.write_text('mine')
  size = sum(path.stat().st_size for path in paths[:3]) + 10
  count, total = program_cache.tidied(tmp_path, size)
  assert (count, total) == (4, size)
  assert [path.exists() for path in (*paths, cut, young, other)] == [
      True, True, True, False, False, False, True, True]
  # What was looked at is not read again.
  paths[0].write_bytes(b'x' * paths[0].stat().st_size)
  os.utime(paths[0], (time.time() - 100,) * 2)
  assert program_cache.tidied(tmp_path) == (4, size)


def test_other_warnings_stay_as_they_are(caplog):
  shown, before = [], warnings.showwarning
  warnings.showwarning = lambda *args: shown.append(str(args[0]))
  try:
    for _ in range(2):  # A second start wraps nothing twice.
      program_cache._tell_once('folder')
    with caplog.at_level(logging.WARNING, 'absl'):
      for text in ('Error writing persistent compilation cache entry for '
                   "'jit_f': OSError: full", 'something else',
                   'Error writing persistent compilation cache entry for '
                   "'jit_g': OSError: full"):
        warnings.showwarning(text, UserWarning, 'a.py', 1)
  finally:
    warnings.showwarning = before
  assert shown == ['something else']
