"""Checkpoints that torch wrote; needs the extra `parity`.

  pytest -n 0 tests/parity/test_torch_files.py
"""
import argparse
import pathlib
import pickle
import tarfile

from bst_jax.interop import core, files, mcan_bst
import golden_mcan
import numpy as np
import pytest
import safetensors.torch
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


# --- what training scripts leave ----------------------------------------------

@pytest.mark.parametrize('prefix', [
    'module.', '_orig_mod.', 'module._orig_mod.'])
def test_what_wrappers_put_before_names(golden, tmp_path, prefix):
  target, tensors = golden
  path = tmp_path / 'model_best.pth.tar'
  torch.save({'state_dict': {prefix + k: v for k, v in tensors.items()}}, path)
  same(files.load(path), tensors)
  torch.save({'model.' + k: v for k, v in tensors.items()}, path)
  core.read(mcan_bst.TABLE, files.load(path), target)


def test_settings_beside_the_weights(golden, tmp_path):
  settings = argparse.Namespace(
      lr=1e-3, output_dir=pathlib.PosixPath('runs'), loss=np.float64(0.5),
      nested=argparse.Namespace(epochs=3))
  torch.save(dict(model=golden[1], args=settings, epoch=3), tmp_path / 'x.pth')
  same(files.load(tmp_path / 'x.pth'), golden[1])


def test_settings_that_would_run_code_are_refused(golden, tmp_path):
  settings = argparse.Namespace(hook=Trap(tmp_path / 'ran'))
  torch.save(dict(model=golden[1], args=settings), tmp_path / 'x.pth')
  with pytest.raises(ValueError, match='it was not run'):
    files.load(tmp_path / 'x.pth')
  assert not (tmp_path / 'ran').exists()


def test_running_means(tmp_path, caplog):
  caplog.set_level('INFO')
  last, mean = {'w': torch.zeros(2)}, {'module.w': torch.ones(2)}
  path = tmp_path / 'x.pth'
  torch.save(dict(state_dict=last, state_dict_ema=mean), path)
  same(files.load(path), last)
  assert '--key=state_dict_ema reads them' in caplog.text
  same(files.load(path, 'state_dict_ema'), {'w': torch.ones(2)})
  with pytest.raises(ValueError, match="no entry 'ema'.* state_dict, st"):
    files.load(path, 'ema')
  torch.save(dict(state_dict_ema=mean), path)
  same(files.load(path), {'w': torch.ones(2)})


def test_numbers_of_8_bits_are_named(tmp_path):
  tensors = {'a': torch.ones(2), 'w': torch.ones(2).to(torch.float8_e4m3fn)}
  torch.save(tensors, tmp_path / 'x.pt')
  safetensors.torch.save_file(tensors, tmp_path / 'x.safetensors')
  for name in ('x.pt', 'x.safetensors'):
    with pytest.raises(ValueError, match='1 tensors of .* 8 bits .*: w'):
      files.load(tmp_path / name)


def test_half_precision_in_safetensors(tmp_path):
  tensors = {'b': torch.arange(6).reshape(2, 3).to(torch.bfloat16) / 3,
             'h': torch.ones(2, dtype=torch.float16), 'n': torch.tensor(7),
             't': torch.tensor([True, False]), 'w': torch.ones(2)}
  safetensors.torch.save_file(tensors, tmp_path / 'x.safetensors')
  got = files.load(tmp_path / 'x.safetensors')
  assert got['b'].dtype == np.float32 and got['n'].dtype == np.int64
  for name, value in tensors.items():
    np.testing.assert_array_equal(got[name], value.float() if name == 'b'
                                  else value)


def test_a_program_is_told_from_weights(tmp_path):
  torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / 'RN50.pt')
  with pytest.raises(ValueError, match=r'RN50.pt is a TorchScript archive.*'
                                       r"torch.jit.load\('RN50.pt'\)"):
    files.load(tmp_path / 'RN50.pt')
  with tarfile.open(tmp_path / 'x.tar', 'w') as archive:
    archive.add(tmp_path / 'RN50.pt')
  with pytest.raises(ValueError, match='x.tar is an archive of files'):
    files.load(tmp_path / 'x.tar')
