"""The wheel: what is in it, and that it works where the clone is not."""
import configparser
from email import message_from_string
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import bst_jax
from bst_jax import __main__ as command
import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[1]
SOURCES = ('bst_jax', 'configs', 'docs', 'launch', 'tests', 'setup.py',
           'pyproject.toml', 'MANIFEST.in', 'README.md', 'LICENSE', 'NOTICE',
           'CHANGELOG.md', 'CITATION.cff')


def run(argv, folder, **env):
  """A process in `folder`, which knows nothing of the clone."""
  return subprocess.run(
      [str(part) for part in argv], cwd=folder, text=True, capture_output=True,
      env={k: v for k, v in os.environ.items() if k != 'PYTHONPATH'} | env)


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
  """The wheel of this clone, built from a copy: building leaves files behind."""
  copy = tmp_path_factory.mktemp('copy')
  for name in SOURCES:
    if (ROOT / name).is_dir():
      shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns(
          '__pycache__', 'golden'))
    else:
      shutil.copy(ROOT / name, copy / name)
  done = run([sys.executable, '-m', 'pip', 'wheel', '--no-deps',
              '--no-build-isolation', '--wheel-dir', copy / 'dist', copy], copy)
  assert not done.returncode, done.stdout + done.stderr
  built, = (copy / 'dist').glob('*.whl')
  return built


@pytest.fixture(scope='module')
def site(wheel, tmp_path_factory):
  """A folder that the wheel is installed in; beside its requirements."""
  folder = tmp_path_factory.mktemp('site')
  done = run([sys.executable, '-m', 'pip', 'install', '--no-deps', '--target',
              folder, wheel], folder)
  assert not done.returncode, done.stdout + done.stderr
  return folder


def test_the_wheel_holds_the_package_and_its_configs_and_no_tests(wheel):
  with zipfile.ZipFile(wheel) as packed:
    held = set(packed.namelist())
  sources = {path.relative_to(ROOT).as_posix()
             for path in (ROOT / 'bst_jax').rglob('*')
             if path.suffix in ('.py', '.npz', '.md', '.typed')}
  configs = {f'bst_jax/configs/{path.name}'
             for path in (ROOT / 'configs').glob('*.py')}
  info = f'bst_jax-{bst_jax.__version__}.dist-info'
  assert len(configs) > 20 and 'bst_jax/py.typed' in sources
  assert {name for name in held if not name.startswith(info)} == (
      sources | configs)
  assert {f'{info}/licenses/LICENSE', f'{info}/licenses/NOTICE'} <= held


def test_what_the_wheel_says_of_itself(wheel):
  info = f'bst_jax-{bst_jax.__version__}.dist-info'
  with zipfile.ZipFile(wheel) as packed:
    about = message_from_string(packed.read(f'{info}/METADATA').decode())
    scripts = configparser.ConfigParser()
    scripts.read_string(packed.read(f'{info}/entry_points.txt').decode())
  assert about['Version'] == bst_jax.__version__
  assert about['License'] == 'Apache-2.0'
  assert about['Description-Content-Type'] == 'text/markdown'
  assert about.get_payload().startswith('# bst_jax')
  assert dict(scripts['console_scripts']) == {
      'bst-jax': 'bst_jax.__main__:main'}


OWN_CONFIG = '''
from configs import common
from experiments import sizes


def get_config(arg=''):
  config = common.base()
  config.model = dict(name='mcan', width=sizes.WIDTH)
  return config
'''


def test_own_configs_build_on_those_of_the_wheel(site, tmp_path):
  folder = tmp_path / 'experiments'
  folder.mkdir()
  (folder / 'mine.py').write_text(OWN_CONFIG)
  (folder / 'sizes.py').write_text('WIDTH = 48\n')
  done = run([sys.executable, '-c', f'''
import sys
sys.path.remove('')
import bst_jax
assert bst_jax.__file__.startswith({str(site)!r})
print(bst_jax.load_config('experiments/mine.py').model.width)
print(bst_jax.load_config('configs/quickstart.py:tiny').model.width)
import profile
print('Profile' in dir(profile))  # Python's own, not the command.
'''], tmp_path, PYTHONPATH=str(site))
  assert done.stdout.split() == ['48', '16', 'True'], done.stderr


def test_the_console_script_names_the_commands(site, tmp_path):
  script = [sys.executable, site / 'bin' / 'bst-jax']
  env = {'PYTHONPATH': str(site)}
  listed = run([*script, '--help'], tmp_path, **env)
  assert listed.returncode == 0
  for name in ('train', 'evaluate', 'extract', 'export', 'search'):
    assert f'\n  {name} ' in listed.stdout
  wrong = run([*script, 'evalute', '--workdir', 'a'], tmp_path, **env)
  assert wrong.returncode == 2
  assert 'Did you mean evaluate?' in wrong.stderr
  helped = run([*script, 'extract', '--help'], tmp_path, **env)
  assert helped.stdout.startswith('usage: bst-jax extract [flags]')
  assert '--submodel' in helped.stdout
  missing = run([*script, 'train', '--config', 'configs/quickstar.py'],
                tmp_path, **env)
  assert missing.returncode == 2
  assert 'Did you mean configs/quickstart.py?' in missing.stderr


def test_the_console_script_finds_modules_of_the_current_folder(site, tmp_path):
  (tmp_path / 'my_parts').mkdir()
  (tmp_path / 'my_parts' / 'table.py').write_text('ROWS = ()\n')
  done = run([sys.executable, site / 'bin' / 'bst-jax', 'convert', '--config',
              'configs/quickstart.py:tiny', '--table', 'my_parts.table',
              '--checkpoint', 'a.safetensors', '--workdir', 'a'], tmp_path,
             PYTHONPATH=str(site))
  assert done.returncode == 2
  assert "my_parts/table.py, which has no 'TABLE'" in done.stderr


def test_every_command_is_listed_with_a_line():
  listed = command.commands()
  for path in (ROOT / 'bst_jax').glob('*.py'):
    runs = 'cli.run(main' in path.read_text('utf-8')
    assert (path.stem in listed) == runs, path.name
  assert all(text.endswith('.') for text in listed.values())


def test_listing_the_commands_imports_nothing_of_weight():
  done = run([sys.executable, '-c', '''
import sys
from bst_jax import __main__
try:
  __main__.main(['--help'])
except SystemExit:
  print(*sys.modules)
'''], ROOT)
  loaded = done.stdout.split('flags, with examples.')[-1].split()
  assert 'bst_jax' in loaded
  assert not {'jax', 'absl', 'numpy', 'flax'} & set(loaded)


def test_public_names_are_there():
  for name in bst_jax.__all__:
    assert getattr(bst_jax, name) is not None
  assert set(bst_jax.__all__) <= set(dir(bst_jax))
  with pytest.raises(AttributeError, match='no_such_name'):
    bst_jax.no_such_name  # noqa: B018


def test_papers_about_the_package_are_whole():
  cited = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
  assert cited['license'] == 'Apache-2.0' and cited['authors']
  assert all(work['authors'] and work['title'] and work['url']
             for work in cited['references'])
  assert f'\n## {bst_jax.__version__}' in (ROOT / 'CHANGELOG.md').read_text()
  assert 'CC BY 4.0' in (ROOT / 'NOTICE').read_text()
