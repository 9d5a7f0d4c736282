"""What docs/own_backbone.md says: its files are made and its commands run."""
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

import numpy as np
from PIL import Image
import pytest

ROOT = pathlib.Path(__file__).parents[1]
PAGE = (ROOT / 'docs' / 'own_backbone.md').read_text('utf-8')
# The page trains for longer; here it is to run at all.
FEWER = {'train': ['--config.steps=4', '--config.evaluate_at_end=False']}
COLORS = {'red': (200, 40, 40), 'blue': (40, 40, 200)}


def files():
  """{path: code} of the page: what is behind a line that names a file."""
  return dict(re.findall(r'`(my_\w+(?:/\w+)?\.py)`[^`]*:\n\n```python\n(.*?)```',
                         PAGE, re.DOTALL))


def commands():
  """The command lines of the page."""
  block, = re.findall(r'```sh\n(.*?)```', PAGE, re.DOTALL)
  return [shlex.split(line) for line in block.splitlines()]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """The folder of the page, in which all of its commands were run."""
  folder, rng = tmp_path_factory.mktemp('own'), np.random.default_rng(0)
  for path, code in files().items():
    (folder / path).parent.mkdir(exist_ok=True)
    (folder / path).write_text(code)
  (folder / 'my_package' / '__init__.py').touch()
  for split, count in (('train', 12), ('test', 4)):
    for name, color in COLORS.items():
      place = folder / 'pictures' / split / name
      place.mkdir(parents=True)
      for i in range(count):
        noise = rng.integers(-40, 40, (32, 32, 3))
        Image.fromarray((np.array(color) + noise).astype(np.uint8)).save(
            place / f'{i}.png')
  env = os.environ | {'PYTHONPATH': str(ROOT),
                      'BST_JAX_DATA': str(folder / 'data')}
  for python, dash, module, *flags in commands():
    assert (python, dash) == ('python', '-m')
    done = subprocess.run(
        [sys.executable, '-m', module, *flags,
         *FEWER.get(module.removeprefix('bst_jax.'), ())],
        cwd=folder, env=env, capture_output=True, text=True)
    assert not done.returncode, f'{module}\n{done.stdout}{done.stderr}'
  return folder


def read(path):
  return json.loads(path.read_text('utf-8'))


def test_the_page_has_the_files_and_commands_that_it_speaks_of():
  assert set(files()) == {'my_package/gated.py', 'my_config.py'}
  assert [c[2].removeprefix('bst_jax.') for c in commands()] == [
      'train', 'search', 'evaluate', 'extract', 'export']


def test_the_backbone_has_the_lines_that_the_page_says():
  code = files()['my_package/gated.py']
  lines = [line for line in code.splitlines()
           if line and not re.match(r'import |from |"""', line)]
  assert len(lines) <= 60


def test_all_submodels_learn_and_sample_tokens(folder):
  result = read(folder / 'runs/sampled/evaluation_test.json')
  assert [row['submodel'] for row in result['rows']] == [
      '1/2x1/2', '1/2x1', '1x1']
  choice = read(folder / 'runs/sampled/choice.json')
  assert choice['tokens']['blocks']
  for row in result['rows']:
    assert row['questions' if 'questions' in row else 'rows'] == 8
    assert row['tokens']


def test_a_submodel_is_cut_out_and_written(folder):
  config = read(folder / 'runs/small/config.json')
  assert config['model']['name'] == 'my_package.gated'
  assert (config['model']['width'], config['model']['num_layers']) == (16, 2)
  assert any((folder / 'runs/phone').glob('*stablehlo*'))
