"""Imports point down only, and importing the package loads nothing heavy."""
import ast
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / 'bst_jax'
HEAVY = {'orbax', 'tensorflow_datasets', 'grain', 'torch', 'matplotlib',
         'tensorflow', 'tensorboardX'}


def module_of(path):
  parts = path.relative_to(ROOT).with_suffix('').parts
  return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


SOURCES = {path: path.read_text('utf-8')
           for path in sorted(PACKAGE.rglob('*.py'))}
MODULES = {module_of(path): path for path in SOURCES}


def imports_of(path):
  """Modules that a file imports, wherever in it; ours by their full name."""
  found = set()
  for node in ast.walk(ast.parse(SOURCES[path])):
    if isinstance(node, ast.Import):
      found.update(alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f'{path} imports relatively'
      whole = {f'{node.module}.{alias.name}' for alias in node.names}
      found.update(whole & MODULES.keys())
      if node.module != 'bst_jax' and not whole <= MODULES.keys():
        found.add(node.module)
  return found


IMPORTS = {module: imports_of(path) for module, path in MODULES.items()}
COMMANDS = {module for module, path in MODULES.items()
            if "if __name__ == '__main__'" in SOURCES[path]}


def within(module, *parents):
  return any(module == p or module.startswith(f'{p}.') for p in parents)


def importers(*foreign):
  """Our modules that import any of these."""
  return {module for module, found in IMPORTS.items()
          if any(within(name, *foreign) for name in found)}


def ours(module):
  return {name for name in IMPORTS[module] if within(name, 'bst_jax')}


def test_the_imports_were_read():
  assert 'bst_jax.elastic' in IMPORTS['bst_jax.layers.linear']
  assert 'bst_jax.store.checkpoint' in IMPORTS['bst_jax.convert']
  assert any(within(name, 'bst_jax.data')  # In a function.
             for name in IMPORTS['bst_jax.run.experiment'])
  assert 'flax' in {n.split('.')[0] for n in IMPORTS['bst_jax.models.mcan']}
  assert {'bst_jax.train', 'bst_jax.evaluate', 'bst_jax.extract',
          'bst_jax.convert', 'bst_jax.profile'} <= COMMANDS


# What each floor may import of ours; `elastic` stands on nothing.
FLOORS = {
    'bst_jax.elastic': ('bst_jax.elastic',),
    'bst_jax.layers': ('bst_jax.layers', 'bst_jax.elastic'),
    'bst_jax.models': ('bst_jax.models', 'bst_jax.layers', 'bst_jax.elastic'),
    'bst_jax.decoding': ('bst_jax.decoding', 'bst_jax.elastic',
                         'bst_jax.layers'),
    'bst_jax.methods': (
        'bst_jax.methods', 'bst_jax.elastic', 'bst_jax.learn.paths',
        'bst_jax.learn.state', 'bst_jax.learn.shared', 'bst_jax.learn.sharding',
        'bst_jax.learn.controller', 'bst_jax.tasks', 'bst_jax.layers',
        'bst_jax.decoding', 'bst_jax.scores.captions', 'bst_jax.scores.cider'),
    'bst_jax.learn.controller': ('bst_jax.elastic',),
    'bst_jax.learn.shared': ('bst_jax.elastic', 'bst_jax.learn.paths',
                             'bst_jax.learn.state'),
    'bst_jax.tasks.losses': (),
    'bst_jax.tasks': ('bst_jax.tasks', 'bst_jax.scores', 'bst_jax.elastic',
                      'bst_jax.layers.detection', 'bst_jax.layers.dropout',
                      'bst_jax.decoding'),
    'bst_jax.scores.accuracy': ('bst_jax.scores',),
    'bst_jax.scores.recall': ('bst_jax.scores',),
    'bst_jax.report.costs': ('bst_jax.elastic', 'bst_jax.layers.platforms'),
    'bst_jax.report.token_macs': ('bst_jax.report.costs', 'bst_jax.elastic'),
    'bst_jax.layers.platforms': (),
    'bst_jax.learn.paths': ('bst_jax.elastic',),
    'bst_jax.learn.state': (
        'bst_jax.learn.paths', 'bst_jax.learn.sharding',
        'bst_jax.learn.statistics', 'bst_jax.layers.batch_norm',
        'bst_jax.elastic'),
    'bst_jax.learn.statistics': (
        'bst_jax.elastic', 'bst_jax.layers.batch_norm'),
    'bst_jax.learn.schedules': ('bst_jax.elastic',),
    'bst_jax.learn.optimizers': (
        'bst_jax.elastic', 'bst_jax.learn.paths', 'bst_jax.learn.schedules',
        'bst_jax.learn.statistics'),
    'bst_jax.learn.sharding': ('bst_jax.elastic',),
}


@pytest.mark.parametrize('floor', FLOORS)
def test_imports_point_down(floor):
  here = [module for module in MODULES if within(module, floor)]
  assert here
  for module in here:
    up = {name for name in ours(module) if not within(name, *FLOORS[floor])}
    assert not up, f'{module} imports {sorted(up)}'


def test_nobody_imports_a_command():
  assert not importers('bst_jax.train')
  for module in MODULES.keys() - COMMANDS:
    assert not ours(module) & COMMANDS, module


def test_data_knows_neither_models_nor_methods():
  for module in importers('bst_jax.models', 'bst_jax.methods',
                          'bst_jax.layers'):
    assert not within(module, 'bst_jax.data'), module


def test_foreign_names_stay_in_interop():
  for module in importers('torch', 'safetensors', 'transformers', 'timm'):
    assert within(module, 'bst_jax.interop'), module
  outside = {module for module in importers('bst_jax.interop')
             if not within(module, 'bst_jax.interop')}
  assert outside == {'bst_jax.convert'}


def test_one_file_for_checkpoints_one_folder_for_datasets():
  assert importers('orbax') == {'bst_jax.store.checkpoint'}
  for module in importers('tensorflow_datasets', 'grain', 'array_record'):
    assert within(module, 'bst_jax.data'), module
  assert not importers('tensorflow')


def test_no_drawers():
  names = {module.split('.')[-1] for module in MODULES}
  assert not names & {'utils', 'util', 'helpers', 'common', 'misc'}


def test_importing_the_package_loads_nothing_heavy():
  code = ('import sys, bst_jax, bst_jax.models, bst_jax.models.mcan\n'
          'print(*{name.split(".")[0] for name in sys.modules})')
  done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, text=True,
                        capture_output=True, check=True,
                        env=os.environ | {'PYTHONPATH': str(ROOT)})
  loaded = set(done.stdout.split())
  assert {'bst_jax', 'flax', 'jax'} <= loaded
  assert not loaded & HEAVY
