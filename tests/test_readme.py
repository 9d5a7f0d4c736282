"""Every command that README, docs and configs print is one that there is.

Each is parsed as it would be by the command: flags, configs with their variants
and overridden keys must be there. What the first of them do is run elsewhere:
test_commands.py, test_six_commands.py, test_package.py and CI's own steps.
"""
import ast
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md')),
         *sorted((ROOT / 'bst_jax').rglob('*.md'))]
CONFIGS = sorted((ROOT / 'configs').glob('*.py'))
_COMMAND = re.compile(r'(?:python -m bst_jax\.|bst-jax )(\w[\w.]*)(.*)')
_LETTERS = {'$seed': '0', '${seed}': '0'}

# Parses each line of stdin in a process forked for it.
MANY = '''
import importlib, json, os, sys
from bst_jax.data import source
from bst_jax.host import cli
from bst_jax.interop import core
from bst_jax.run import arguments, training

for line in sys.stdin.read().splitlines():
  name, *argv = json.loads(line)
  sys.stdout.flush()
  if not os.fork():
    said = ''
    try:
      importlib.import_module(f'bst_jax.{name}')
      sys.argv = [name, *argv]
      cli._parse(sys.argv)
    except BaseException as error:
      said = f'{type(error).__name__}: {error}'
    print(json.dumps(said), flush=True)
    os._exit(0)
  os.wait()
'''


def commands_of(text):
  """[(command, arguments)] of a page's blocks of code."""
  letters = dict(re.findall(r'`(\w)="([^"]*)"`', text))
  joined = re.sub(r'\\\n\s*', ' ', text)
  found = []
  for line in joined.splitlines():
    if not line.startswith(('    ', 'python', 'bst-jax', '  python')):
      continue
    for name, rest in _COMMAND.findall(line):
      for short, long in {**_LETTERS, **{f'${k}': v for k, v in letters.items()},
                          'DIR/': 'a/'}.items():
        rest = rest.replace(short, long)
      argv = shlex.split(rest.split('; done')[0].split(' | ')[0], comments=True)
      if '…' not in argv:
        found.append((name, argv))
  return found


def text_of(path):
  if path.suffix == '.md':
    return path.read_text('utf-8')
  return ast.get_docstring(ast.parse(path.read_text('utf-8')), clean=False) or ''


COMMANDS = [(path.relative_to(ROOT).as_posix(), *command)
            for path in [*PAGES, *CONFIGS]
            for command in commands_of(text_of(path))]


@pytest.fixture(scope='module')
def said(tmp_path_factory):
  """What parsing said of each command, '' where it passes."""
  folder = tmp_path_factory.mktemp('readme')
  for link in ('configs', 'docs'):
    (folder / link).symlink_to(ROOT / link)
  tiny = subprocess.run(
      [sys.executable, '-c', 'from configs import quickstart as q; '
       "print(q.get_config('tiny').to_json())"], cwd=ROOT, text=True,
      capture_output=True, check=True).stdout
  (folder / 'my_config.py').write_text(  # docs/own_backbone.md has it.
      'from configs.quickstart import get_config')
  for _, _, argv in COMMANDS:  # Workdirs that a command goes on from.
    for flag, value in zip(argv, argv[1:]):
      if flag == '--from':
        (folder / value).mkdir(parents=True, exist_ok=True)
        (folder / value / 'config.json').write_text(tiny)
  done = subprocess.run(
      [sys.executable, '-c', MANY], cwd=folder, text=True, capture_output=True,
      input='\n'.join(json.dumps([name, *argv]) for _, name, argv in COMMANDS),
      env=os.environ | {'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu'})
  lines = [json.loads(line) for line in done.stdout.splitlines()
           if line.startswith('"')]
  assert len(lines) == len(COMMANDS), done.stderr
  return lines


def test_the_pages_have_commands():
  named = {path for path, _, _ in COMMANDS}
  assert {'README.md', 'docs/results.md', 'docs/fine_tuning.md',
          'configs/quickstart.py'} <= named
  assert len(COMMANDS) > 80


def test_commands_can_be_parsed(said):
  wrong = [f'{path}: {name} {shlex.join(argv)}\n  {text}'
           for (path, name, argv), text in zip(COMMANDS, said) if text]
  assert not wrong, '\n'.join(wrong)


def test_a_wrong_flag_would_be_found():
  text = '    python -m bst_jax.train --config configs/quickstart.py \\\n' \
         '        --config.stpes=3  # Wrong.\n'
  assert commands_of(text) == [
      ('train', ['--config', 'configs/quickstart.py', '--config.stpes=3'])]


def test_links_lead_somewhere():
  for path in PAGES:
    for target in re.findall(r'\]\(([^)#:]+)(?:#[^)]*)?\)', text_of(path)):
      assert (path.parent / target).exists(), f'{path}: {target}'
