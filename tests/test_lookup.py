"""Names in configs: files of ours, or modules of a user's own."""
import pathlib
import sys

from bst_jax import convert, elastic, methods, models, tasks
from bst_jax.data import forms, records
from bst_jax.elastic import by_name
import pytest

FILES = {
    '__init__': '',
    'model': 'class Model:\n  answers: int = 2\n',
    'nameless': 'class model:\n  pass\n',
    'broken': 'import math\n\nwidth = maths.pi\n',
    'unparsed': 'def make(:\n',
    'needs': 'import no_such_library\n',
    'needs_ours': 'import my_parts.no_such_file\n',
}


@pytest.fixture
def mine(tmp_path, monkeypatch):
  """A package `my_parts` in the current folder."""
  folder = tmp_path / 'my_parts'
  folder.mkdir()
  for name, code in FILES.items():
    (folder / f'{name}.py').write_text(code)
  monkeypatch.chdir(tmp_path)
  monkeypatch.syspath_prepend(str(tmp_path))
  yield folder
  for name in [name for name in sys.modules if name.startswith('my_parts')]:
    del sys.modules[name]


def model(name):
  return by_name(name, 'bst_jax.models', 'model', 'Model')


def test_a_plain_name_is_a_file_of_ours():
  assert model('mcan').__name__ == 'bst_jax.models.mcan'


def test_a_dotted_name_is_a_module_of_the_users(mine):
  found = model('my_parts.model')
  assert pathlib.Path(found.__file__) == mine / 'model.py'
  assert found.Model.answers == 2


@pytest.mark.parametrize('name, parts', [
    ('mcann', ["no model 'mcann'", "Did you mean 'mcan'?", 'uniter',
               'A dotted name, as my_package.my_model']),
    ('my_part.model', ["no module 'my_part'", "folder that holds 'my_part'"]),
    ('my_parts.modle', ["no module 'my_parts.modle'"]),
    ('my_parts.nameless', ["has no 'Model'", "it has 'model'", 'nameless.py']),
    ('my_parts.broken', ["NameError: name 'maths' is not defined",
                         'broken.py, line 3']),
    ('my_parts.unparsed', ['SyntaxError']),
    ('my_parts.needs', ["ModuleNotFoundError: No module named "
                        "'no_such_library'", 'needs.py, line 1']),
    ('my_parts.needs_ours', ["'my_parts.no_such_file'"]),
    ('my_parts.', ["'my_parts.'"]),
    ('.model', ["'.model'"]),
])
def test_a_wrong_name_says_why_and_what_would_do(mine, name, parts):
  with pytest.raises(ValueError) as caught:
    model(name)
  for part in parts:
    assert part in str(caught.value)


@pytest.mark.parametrize('ask, what', [
    (lambda name: models.create({'name': name}), "'Model'"),
    (lambda name: methods.create({'name': name}), "'make'"),
    (convert.table, "'TABLE'"),
    (records.prepare, "'Builder'"),
    (lambda name: tasks.create({'name': name}), "'make'"),
    (lambda name: tasks.create({'name': 'pair', 'measure': name}), "'make'"),
    (forms.create, "'form'"),
])
def test_every_kind_of_part_is_asked_for_what_it_must_have(mine, ask, what):
  with pytest.raises(ValueError, match=f'has no {what}'):
    ask('my_parts.nameless')
  with pytest.raises(ValueError, match='There are: '):
    ask('no_such_part')


def test_paths_stand_in_the_order_of_their_numbers():
  paths = ['encoder/layer_10/ffn', 'encoder/layer_9/ffn', 'encoder/layer_1/b',
           'encoder/layer_1/a', 'model']
  assert sorted(paths, key=elastic.in_order) == [
      'encoder/layer_1/a', 'encoder/layer_1/b', 'encoder/layer_9/ffn',
      'encoder/layer_10/ffn', 'model']
