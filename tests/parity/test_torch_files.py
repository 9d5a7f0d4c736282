"""Checkpoints that torch wrote; needs the extra `parity`.

  pytest -n 0 tests/parity/test_torch_files.py
"""
import pathlib
import pickle

from bst_jax.interop import core, files, mcan_bst
import golden_mcan
import numpy as np
import pytest
import torch


@pytest.fixture(scope='module')
def golden():
  _, params, _, _, arrays = golden_mcan.load('vqa')
  return params, {k.removeprefix('param/'): torch.from_numpy(v)
                  for k, v in arrays.items() if k.startswith('param/')}


def same(got, want):
  assert got.keys() == want.keys()
  for name, x in want.items():
    np.testing.assert_array_equal(got[name], np.asarray(x), err_msg=name)


@pytest.mark.parametrize('suffix', files.TORCH)
@pytest.mark.parametrize('key', [None, 'state_dict', 'model', 'model_state'])
def test_a_state_dict_is_found(golden, tmp_path, suffix, key):
  _, tensors = golden
  path = tmp_path / f'epoch14{suffix}'
  # As the released code saves: the weights among other things.
  torch.save(tensors if key is None else
             {key: tensors, 'optimizer': {'lr': 1e-4}, 'epoch': 14}, path)
  same(files.load(path), tensors)


def test_torch_to_ours_to_torch(golden, tmp_path):
  target, tensors = golden
  torch.save({'state_dict': tensors}, tmp_path / 'in.pkl')
  params = core.read(mcan_bst.TABLE, files.load(tmp_path / 'in.pkl'), target)
  files.save(tmp_path / 'out.pkl', core.write(mcan_bst.TABLE, params))
  back = torch.load(tmp_path / 'out.pkl', weights_only=True)['state_dict']
  assert all(isinstance(x, torch.Tensor) for x in back.values())
  same(back, tensors)
  same(files.load(tmp_path / 'out.pkl'), tensors)


def test_half_precision_comes_as_float32_and_integers_stay(tmp_path):
  torch.save({'w': torch.ones(2, dtype=torch.bfloat16) / 3,
              'n': torch.tensor(7)}, tmp_path / 'x.pt')
  got = files.load(tmp_path / 'x.pt')
  assert got['w'].dtype == np.float32 and abs(got['w'][0] - 1 / 3) < 1e-3
  assert got['n'] == 7 and got['n'].dtype == np.int64


def test_a_parameter_with_a_slope_is_read(tmp_path):
  torch.save(torch.nn.Linear(2, 3).state_dict(keep_vars=True),
             tmp_path / 'x.pt')
  assert files.load(tmp_path / 'x.pt')['weight'].shape == (3, 2)


class Trap:
  """Unpickling it creates a file."""

  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return pathlib.Path.touch, (self.path,)


@pytest.mark.parametrize('write', [
    torch.save, lambda x, path: path.write_bytes(pickle.dumps(x))],
    ids=['torch', 'pickle'])
def test_a_file_that_wants_to_run_code_is_refused(tmp_path, write):
  path, ran = tmp_path / 'trap.pkl', tmp_path / 'ran'
  write({'state_dict': {'w': Trap(ran)}}, path)
  with pytest.raises(ValueError, match='holds more than tensors, or is damaged;'
                                       ' it was not run and nothing was read'):
    files.load(path)
  assert not ran.exists()
  # The trap is a real one.
  torch.load(path, weights_only=False) if write is torch.save else (
      pickle.loads(path.read_bytes()))
  assert ran.exists()


@pytest.mark.parametrize('content', [b'', b'PK\x03\x04 and no more', b'text'])
def test_a_damaged_file_says_so(tmp_path, content):
  path = tmp_path / 'half.pth'
  path.write_bytes(content)
  with pytest.raises(ValueError, match='half.pth'):
    files.load(path)


def test_a_file_cut_short_says_so(golden, tmp_path):
  path = tmp_path / 'half.pth'
  torch.save(golden[1], path)
  path.write_bytes(path.read_bytes()[:-5000])
  with pytest.raises(ValueError, match='half.pth is not a whole torch'):
    files.load(path)


def test_no_state_dict_in_it_says_so(tmp_path):
  torch.save({'epoch': 14, 'weights': [torch.ones(2)]}, tmp_path / 'x.pth')
  with pytest.raises(ValueError, match='no state dict of tensors, neither at '
                                       'its top nor under state_dict or model'):
    files.load(tmp_path / 'x.pth')
