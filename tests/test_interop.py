"""Foreign checkpoints in and out, strictly, without torch."""
import re

from bst_jax import convert, elastic
from bst_jax.interop import core, files, mcan_bst
from bst_jax.run import experiment
from configs import bst_mcan_gqa, bst_mcan_vqa
import golden_mcan
import jax
import numpy as np
import pytest


def foreign_of(form):
  """The model's shapes and the published tensors of a golden file."""
  _, params, _, _, arrays = golden_mcan.load(form)
  return params, {k.removeprefix('param/'): v for k, v in arrays.items()
                  if k.startswith('param/')}


def same(got, want):
  assert got.keys() == want.keys()
  for name, x in want.items():
    assert got[name].dtype == x.dtype, name
    np.testing.assert_array_equal(got[name], x, err_msg=name)


# --- tables -------------------------------------------------------------------

@pytest.mark.parametrize('form', ['vqa', 'gqa'])
def test_reading_then_writing_is_the_same_bit_for_bit(form):
  target, foreign = foreign_of(form)
  params = core.read(mcan_bst.TABLE, foreign, target)
  assert jax.tree.map(np.shape, params) == jax.tree.map(np.shape, target)
  same(core.write(mcan_bst.TABLE, params), foreign)


def test_every_misfit_is_listed_at_once():
  target, foreign = foreign_of('vqa')
  del foreign['proj.bias'], foreign['backbone.enc_list.1.norm1.weight']
  foreign['adapter.grid_linear.weight'] = np.ones((2, 2), np.float32)
  shape = foreign['lstm.weight_ih_l0'].shape
  foreign['lstm.weight_ih_l0'] = foreign['lstm.weight_ih_l0'].T
  with pytest.raises(ValueError) as error:
    core.read(mcan_bst.TABLE, foreign, target)
  message = str(error.value)
  assert re.search(r'2 missing \(backbone.enc_list.1.norm1.weight, proj.bias\)',
                   message)
  assert '1 unexpected (adapter.grid_linear.weight)' in message
  assert (f'1 misshapen (lstm.weight_ih_l0 {shape[::-1]}, wanted {shape})'
          in message)
  assert 'config.model' in message


def test_what_is_ignored_may_be_left_over_and_nothing_else():
  target, foreign = foreign_of('vqa')
  foreign |= {'adapter.grid_linear.weight': np.ones(2),
              'my.adapter.grid_linear.weight': np.ones(2)}
  with pytest.raises(ValueError, match=r'1 unexpected \(my\.adapter'):
    core.read(mcan_bst.TABLE, foreign, target, [r'adapter\.grid_linear\..*'])
  del foreign['my.adapter.grid_linear.weight']
  core.read(mcan_bst.TABLE, foreign, target, [r'adapter\.grid_linear\..*'])


def test_our_parameters_without_a_row_are_an_error():
  target, foreign = foreign_of('vqa')
  grown = target | {'extra': {'kernel': np.ones((2, 3))}}
  with pytest.raises(ValueError, match=(
      r'1 without a row in the table \(extra/kernel\)')):
    core.read(mcan_bst.TABLE, foreign, grown)
  with pytest.raises(ValueError, match=r"no row for \['extra/kernel'\]"):
    core.write(mcan_bst.TABLE, grown)


def test_a_fused_source_splits_and_joins():
  table = (('qkv.weight', ('q/kernel', 'k/kernel', 'v/kernel'), core.LINEAR),)
  fused = np.arange(18, dtype=np.float32).reshape(9, 2)
  target = {name: {'kernel': np.empty((2, 3))} for name in 'qkv'}
  params = core.read(table, {'qkv.weight': fused}, target)
  np.testing.assert_array_equal(params['k']['kernel'], fused[3:6].T)
  same(core.write(table, params), {'qkv.weight': fused})


@pytest.mark.parametrize('op, ours, foreign', [
    (core.COPY, (4, 3), (4, 3)), (core.VECTOR, (4, 3), (12,)),
    (core.LINEAR, (5, 4, 3), (12, 5)),
    (core.LINEAR_FROM_HEADS, (4, 3, 5), (5, 12)),
    (core.CONV, (3, 2, 4, 6), (6, 4, 3, 2))])
def test_every_operation_inverts(op, ours, foreign):
  x = np.arange(np.prod(foreign), dtype=np.float32).reshape(foreign)
  assert op.shape(ours) == foreign
  assert op.read(x, ours).shape == ours
  np.testing.assert_array_equal(op.write(op.read(x, ours)), x)


def test_a_linear_layer_computes_the_same():
  rng = np.random.default_rng(0)
  w, x = rng.standard_normal((12, 5)), rng.standard_normal(5)
  kernel = core.LINEAR.read(w, (5, 4, 3))
  np.testing.assert_allclose(
      np.einsum('i,ihk->hk', x, kernel).reshape(-1), w @ x)


# --- files --------------------------------------------------------------------

def test_safetensors_read_back(tmp_path):
  _, foreign = foreign_of('gqa')
  path = tmp_path / 'new' / 'teacher.safetensors'
  files.save(path, foreign | {'turned': np.ones((2, 3), np.float32).T})
  got = files.load(path)
  assert got.pop('turned').shape == (3, 2)
  same(got, foreign)
  assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_damaged_file_says_so(tmp_path):
  path = tmp_path / 'half.safetensors'
  files.save(path, {'x': np.ones(100, np.float32)})
  path.write_bytes(path.read_bytes()[:-50])
  with pytest.raises(ValueError, match='half.safetensors is no readable'):
    files.load(path)


def test_an_unknown_kind_says_what_there_is(tmp_path):
  path = tmp_path / 'teacher.h5'
  path.write_bytes(b'')
  with pytest.raises(ValueError, match=r'unknown kind.*\.safetensors.*\.pth'):
    files.load(path)
  with pytest.raises(ValueError, match=r'unknown kind.*\.safetensors'):
    files.save(tmp_path / 'out.npz', {'x': np.ones(2)})
  assert [p.name for p in tmp_path.iterdir()] == ['teacher.h5']


def test_a_missing_file_lists_its_neighbours(tmp_path):
  for name in ('epoch13.pkl', 'epoch14.safetensors', 'notes.txt'):
    (tmp_path / name).touch()
  with pytest.raises(ValueError) as error:
    files.load(tmp_path / 'epoch14.pkl')
  assert str(error.value).endswith(
      'Checkpoints beside it: epoch13.pkl, epoch14.safetensors.')
  with pytest.raises(ValueError, match='beside it: none'):
    files.load(tmp_path / 'nowhere' / 'epoch14.pkl')


# --- the command --------------------------------------------------------------

@pytest.mark.parametrize('form', ['vqa', 'gqa'])
def test_through_a_workdir_and_back(form, tmp_path):
  model, params, _, batch, _ = golden_mcan.load(form)
  _, foreign = foreign_of(form)
  config = {'vqa': bst_mcan_vqa, 'gqa': bst_mcan_gqa}[form].get_config()
  for key in config.model:
    if key != 'name':
      config.model[key] = getattr(model, key)
  config.data.sizes.update(
      vocab_size=model.vocab_size, num_answers=model.num_answers,
      max_tokens=batch['tokens'].shape[1],
      num_regions=batch['regions'].shape[1])
  here, workdir = tmp_path / 'in.safetensors', tmp_path / 'run'
  files.save(here, foreign)

  assert convert.read(config, 'mcan_bst', here, workdir) == elastic.size(params)
  assert convert.write(
      workdir, 'mcan_bst', tmp_path / 'out.safetensors') == len(foreign)
  same(files.load(tmp_path / 'out.safetensors'), foreign)
  again = experiment.load(workdir)
  assert again.model == model.clone(dropout=config.model.dropout)
  assert len(again.space) == 10

  with pytest.raises(ValueError, match='is not empty, and nothing is overwr'):
    convert.read(config, 'mcan_bst', here, workdir)


def test_a_conversion_that_cannot_be_leaves_nothing(tmp_path):
  config = bst_mcan_vqa.get_config()
  with pytest.raises(ValueError, match="table 'mcan'. Did you mean 'mcan_bst'"):
    convert.read(config, 'mcan', tmp_path / 'x.safetensors', tmp_path / 'run')
  _, foreign = foreign_of('vqa')
  files.save(tmp_path / 'x.safetensors', foreign)
  with pytest.raises(ValueError, match='does not fit the model'):
    convert.read(config, 'mcan_bst', tmp_path / 'x.safetensors',
                 tmp_path / 'run')
  config.data.sizes = {}
  with pytest.raises(ValueError, match='give config.data.sizes'):
    convert.read(config, 'mcan_bst', tmp_path / 'x.safetensors',
                 tmp_path / 'run')
  assert not (tmp_path / 'run').exists()
