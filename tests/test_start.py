"""What training starts from: taken, new, or an error that says what to set."""
import pathlib
import types

from bst_jax import elastic
from bst_jax.run import experiment, matching, start
from bst_jax.run.start import Start
from bst_jax.store import checkpoint
import jax
import ml_collections
import models
import numpy as np
import pytest


def shapes(**sizes):
  """{path: array} of given shapes."""
  return {path.replace('_', '/', 1): np.zeros(size)
          for path, size in sizes.items()}


OURS = shapes(encoder_kernel=(4, 4), head_kernel=(4, 3), head_bias=(3,))
WORKDIR = pathlib.Path('runs/a')


# --- which parameter comes from where -----------------------------------------

def test_all_is_taken_from_the_same_path():
  assert matching.match(Start(WORKDIR), OURS, OURS) == {p: p for p in OURS}


def test_a_part_is_taken_from_another_place_and_the_rest_is_new():
  theirs = shapes(trunk_kernel=(4, 4), other_kernel=(9,))
  begin = Start(WORKDIR, {'encoder': 'trunk'}, ('head',))
  assert matching.match(begin, OURS, theirs) == {'encoder/kernel': 'trunk/kernel'}


def test_a_fresh_head_leaves_theirs_whatever_its_shape():
  theirs = OURS | shapes(head_kernel=(4, 9), head_bias=(9,))
  found = matching.match(Start(WORKDIR, fresh=('head',)), OURS, theirs)
  assert found == {'encoder/kernel': 'encoder/kernel'}


def test_another_head_may_stay_behind():
  theirs = OURS | shapes(pool_kernel=(4,))
  found = matching.match(Start(WORKDIR, leave=('pool',)), OURS, theirs)
  assert found == {path: path for path in OURS}


@pytest.mark.parametrize('begin, theirs, said', [
    (Start(WORKDIR), shapes(encoder_kernel=(4, 5)),
     r'3 parameters do not fit. The first size that differs is of '
     r'encoder/kernel: 5 there, 4 here:\n'
     r'.*encoder/kernel: 4x4 here, 4x5 there\n'
     r'.*head/kernel: 4x3 here, nothing there'),
    (Start(WORKDIR), OURS | shapes(pool_kernel=(4,)),
     r"pool/kernel: nothing here, 4 there.*leave=\('pool',\)"),
    (Start(WORKDIR, {'encoder': 'encoder'}), OURS,
     r"head/kernel: 4x3 here, nothing there.*\n.*take={'encoder': 'encoder'}, "
     r"fresh=\('head',\)"),
    (Start(WORKDIR, {'encoder': 'trunk'}, ('head',)), OURS,
     r"no path of parameters in runs/a \(config.start.take\) 'trunk'"),
    (Start(WORKDIR, fresh=('hed',)), OURS,
     r"\(config.start.fresh\) 'hed'. Did you mean 'head'"),
    (Start(WORKDIR, leave=('pol',)), OURS | shapes(pool_kernel=(4,)),
     r"\(config.start.leave\) 'pol'. Did you mean 'pool'"),
    (Start(WORKDIR, {'encode': 'encoder'}), OURS,
     r"\(config.start.take\) 'encode'. Did you mean 'encoder'"),
])
def test_what_does_not_fit_is_told_of_both_sides(begin, theirs, said):
  with pytest.raises(ValueError, match=f'(?s){said}'):
    matching.match(begin, OURS, theirs)


def test_config_names_a_start_in_two_ways():
  make = lambda **keys: start.of(ml_collections.ConfigDict(keys))
  assert make() is make(start=None, init_from='') is None
  assert make(start='runs/a') == make(init_from='runs/a') == Start(WORKDIR)
  assert make(start=dict(workdir='runs/a', take={'a': 'b'}, fresh='head')) == (
      Start(WORKDIR, {'a': 'b'}, ('head',)))
  for keys, said in (
      (dict(start='runs/a', init_from='runs/b'), 'two names of one setting'),
      (dict(start=dict(fresh=('head',))), 'names no workdir'),
      (dict(start=dict(workdir='a', frehs=())), "Did you mean 'fresh'")):
    with pytest.raises(ValueError, match=said):
      make(**keys)


# --- other classes ------------------------------------------------------------

def build(classes, distilled=True):
  """A small vision transformer for so many classes."""
  config = ml_collections.ConfigDict(dict(
      seed=0, space=dict(widths=('1',), depths=('1',)),
      task=dict(name='classify'), model=dict(
          name='vit', patch=8, width=8, heads=2, mlp=8, num_layers=1,
          distilled=distilled)))
  return experiment.build(config, dict(num_answers=classes, image_size=16))


def data_of(classes):
  return types.SimpleNamespace(vocabularies={
      'answers': tuple(f'class {i}' for i in range(classes))})


@pytest.fixture(scope='module')
def ten(tmp_path_factory):
  """A workdir of a distilled model of ten classes, and its parameters."""
  workdir = tmp_path_factory.mktemp('ten')
  params = models.random_params(build(10).shapes)
  checkpoint.save_params(workdir, params)
  return workdir, elastic.flatten(params)


def test_every_head_that_depends_on_the_classes_is_told_and_begins_anew(
    ten, caplog):
  workdir, saved = ten
  exp = build(3)
  with pytest.raises(ValueError, match='other ones, config.start = dict') as e:
    start.check(Start(workdir), exp, data_of(3), teaches=False)
  heads = sorted({path.split('/')[0] for path, axes in elastic.flatten(
      exp.axes).items() if 'answers' in axes})
  assert len(heads) == 2 and f'fresh={tuple(heads)}' in str(e.value)

  begin = Start(workdir, fresh=tuple(heads))
  start.check(begin, exp, data_of(3), teaches=False)
  with caplog.at_level('INFO', logger='absl'):
    params = elastic.flatten(start.params(begin, exp, seed=0))
  assert ', '.join(heads) in caplog.text and 'are new' in caplog.text
  for path, value in params.items():
    if path.split('/')[0] in heads:
      assert value.shape != saved[path].shape
    else:
      np.testing.assert_array_equal(value, saved[path], err_msg=path)
  # A new kernel is drawn, as the model itself would be.
  whole = elastic.flatten(start.params(None, exp, seed=0))
  np.testing.assert_array_equal(params[f'{heads[0]}/kernel'],
                                whole[f'{heads[0]}/kernel'])


def test_as_many_classes_of_other_names_are_other_classes(ten, tmp_path):
  workdir, _ = ten
  exp, data = build(10), data_of(10)
  start.check(Start(workdir), exp, data, teaches=False)  # Nobody knows theirs.
  (tmp_path / 'vocab').mkdir()
  (tmp_path / 'vocab' / 'answers.json').write_text(
      str([f'kind {i}' for i in range(10)]).replace("'", '"'))
  (tmp_path / 'checkpoints').symlink_to(workdir / 'checkpoints')
  with pytest.raises(ValueError, match=r"its answers \(.*fresh=.*head"):
    start.check(Start(tmp_path), exp, data, teaches=False)
  heads = tuple(sorted({path.split('/')[0] for path, axes in elastic.flatten(
      exp.axes).items() if 'answers' in axes}))
  start.check(Start(tmp_path, fresh=heads), exp, data, teaches=False)
  with pytest.raises(ValueError, match='was to teach, but config.start.fresh'):
    start.check(Start(tmp_path, fresh=heads), exp, data, teaches=True)


def test_a_plain_model_and_a_distilled_one_name_what_the_other_lacks(ten):
  workdir, _ = ten
  exp = build(10, distilled=False)
  with pytest.raises(ValueError, match='nothing here, .* there') as error:
    start.sources(Start(workdir), exp)
  extra = {path.split('/')[0] for path in elastic.flatten(
      build(10).shapes).keys() - elastic.flatten(exp.shapes).keys()}
  assert extra and any(name in str(error.value) for name in extra)


def test_the_first_parameters_come_as_the_model_has_them(ten):
  workdir, _ = ten
  params = start.params(Start(workdir), build(10), seed=0)
  assert jax.tree.structure(params) == jax.tree.structure(build(10).shapes)
