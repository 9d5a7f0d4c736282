"""Reads and writes files of foreign tensors."""
import argparse
from collections.abc import Mapping
import pathlib
import pickle
import re
import tarfile
import zipfile

from absl import logging
from bst_jax.host import files
import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

TORCH = ('.pkl', '.pth', '.pyth', '.pt', '.bin', '.ckpt', '.tar')
KINDS = ('.safetensors', *TORCH)
# Where training scripts keep the weights among other things, and where those
# that keep running means of them keep these.
_NESTED = ('state_dict', 'model', 'model_state')
_AVERAGED = ('state_dict_ema', 'model_ema', 'ema_state_dict', 'ema')
# What wrappers of torch put before every name.
_WRAPPER = re.compile(r'^(?:module\.|_orig_mod\.)+')
# Names that numpy alone lacks, of safetensors and of torch.
_BFLOAT16, _FLOAT8 = 'BF16', re.compile(r'F8_|float8')


def load(path: str | pathlib.Path, key: str | None = None
         ) -> dict[str, np.ndarray]:
  """Tensors by name of a .safetensors file or a torch checkpoint.

  A torch checkpoint is read as data: it cannot run code. `module.` and
  `_orig_mod.` before all names are left out. Of a training checkpoint the
  weights are taken, and their running means where there is nothing else.

  Args:
    path: of the file.
    key: which entry of a training checkpoint has the weights, as
      'state_dict_ema'; None for the usual ones.

  Raises:
    ValueError: no such file, an unknown kind, a damaged one, one that asks to
      run code, or numbers of 8 bits.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    near = sorted(p.name for p in path.parent.glob('*')
                  if p.suffix in KINDS)
    raise ValueError(f'there is no checkpoint {path}. Checkpoints beside it: '
                     f'{", ".join(near[:8]) or "none"}.')
  if path.suffix == '.safetensors':
    if key:
      raise ValueError(f'{path} holds one set of tensors, and no entry {key!r}'
                       '; leave --key out.')
    tensors = _load_safetensors(path)
  elif path.suffix in TORCH:
    tensors = _load_torch(path, key)
  else:
    raise ValueError(f'{path} is of an unknown kind; there are .safetensors '
                     f'and, for torch, {", ".join(TORCH)}.')
  return _unwrapped(tensors)


def _unwrapped(tensors):
  """The same without what wrappers put before all names."""
  if not tensors or not all(map(_WRAPPER.match, tensors)):
    return tensors
  prefix = _WRAPPER.match(next(iter(tensors)))[0]
  logging.info('All names begin with %s, which is left out.', prefix)
  return {_WRAPPER.sub('', name): value for name, value in tensors.items()}


def _load_safetensors(path):
  try:
    with safetensors.safe_open(path, framework='numpy') as file:
      kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}
    _check_wide(path, kinds)
    if _BFLOAT16 not in kinds.values():
      return safetensors.numpy.load_file(path)
    return _with_bfloat16(path)
  except safetensors.SafetensorError as error:
    raise ValueError(f'{path} is no readable safetensors file ({error}); '
                     'fetch it again.') from error


def _with_bfloat16(path):
  """Tensors of a file that numpy lacks a type of, as float32."""
  tensors = {}
  for name, entry in safetensors.deserialize(path.read_bytes()):
    if entry['dtype'] == _BFLOAT16:
      value = np.frombuffer(entry['data'], ml_dtypes.bfloat16)
      value = value.astype(np.float32)
    else:
      value = np.frombuffer(entry['data'], _numpy_type(entry['dtype']))
    tensors[name] = value.reshape(entry['shape'])
  return tensors


def _numpy_type(kind):
  """Of safetensors' name: F32, I64, U8, BOOL, …."""
  if kind == 'BOOL':
    return np.dtype(bool)
  letter, bits = kind[0].lower(), int(kind[1:])
  return np.dtype(f'<{letter}{bits // 8}')


def _check_wide(path, kinds):
  """Raises where tensors hold numbers of 8 bits, by their types' names."""
  narrow = [name for name, kind in kinds.items() if _FLOAT8.search(kind)]
  if narrow:
    raise ValueError(
        f'{path.name} holds {len(narrow)} tensors of floating numbers of 8 '
        f'bits ({kinds[narrow[0]]}: {", ".join(narrow[:3])}'
        f'{", …" if len(narrow) > 3 else ""}), whose scales nobody tells here. '
        'Convert the original checkpoint, in 16 or 32 bits.')


def _load_torch(path, key):
  try:
    import torch
  except ImportError:
    raise ValueError(
        f'reading {path.name} needs torch, which is not installed: pip install '
        "'bst_jax[parity]', or save the tensors as .safetensors.") from None
  _check_archive(path)
  try:
    with torch.serialization.safe_globals(_harmless()):
      tree = torch.load(path, map_location='cpu', weights_only=True)
  except pickle.UnpicklingError as error:
    raise ValueError(
        f'{path} holds more than tensors, or is damaged; it was not run and '
        'nothing was read. If you trust it, load it in torch yourself and save '
        f'its state dict alone. torch says: {str(error).splitlines()[0]}'
    ) from error
  except Exception as error:  # A damaged file fails in its own way.
    why = (str(error) or type(error).__name__).splitlines()[0]
    raise ValueError(f'{path} is not a whole torch checkpoint ({why}); fetch '
                     'it again.') from error
  tree = _weights(path, tree, key)
  if not isinstance(tree, Mapping) or not all(
      isinstance(v, torch.Tensor) for v in tree.values()):
    raise ValueError(f'{path} holds no state dict of tensors, neither at its '
                     f'top nor under {" or ".join(_NESTED)}.')
  _check_wide(path, {name: str(x.dtype) for name, x in tree.items()})
  return {name: (tensor.float() if tensor.is_floating_point() else tensor
                 ).detach().numpy() for name, tensor in tree.items()}


def _harmless():
  """Classes that a pickle may make: they hold data, and making them runs none.

  Training scripts put their settings beside the weights.
  """
  scalar = np.float64(0).__reduce__()[0]
  return [argparse.Namespace, pathlib.PosixPath, pathlib.PurePosixPath,
          scalar, np.dtype, *(type(np.dtype(kind)) for kind in (
              'f4', 'f8', 'i4', 'i8', 'bool'))]


def _check_archive(path):
  """Raises where a file is an archive of another kind than a checkpoint."""
  # By how it begins: an archive of files may end with another one.
  with path.open('rb') as file:
    packed = file.read(4) == b'PK\x03\x04'
  if packed and zipfile.is_zipfile(path):
    with zipfile.ZipFile(path) as archive:
      inside = {name.partition('/')[2] for name in archive.namelist()}
    if 'constants.pkl' in inside:
      raise ValueError(
          f'{path.name} is a TorchScript archive, which holds a program beside '
          'its weights and runs it when it is loaded; nothing was read. If you '
          'trust it, save its weights in torch: torch.save(torch.jit.load('
          f"'{path.name}').state_dict(), 'weights.pth').")
  elif path.suffix == '.tar' and tarfile.is_tarfile(path):
    raise ValueError(f'{path.name} is an archive of files and no checkpoint; '
                     'unpack it, and name the checkpoint in it.')


def _weights(path, tree, key):
  """The state dict in what torch read."""
  if key is not None:
    if not isinstance(tree, Mapping) or not isinstance(
        tree.get(key), Mapping):
      entries = [name for name, value in tree.items() if isinstance(
          value, Mapping)] if isinstance(tree, Mapping) else []
      raise ValueError(f'{path} has no entry {key!r} with tensors; those that '
                       f'might be: {", ".join(map(str, entries)) or "none"}.')
    return tree[key]
  entry = lambda name: isinstance(tree, Mapping) and isinstance(
      tree.get(name), Mapping)
  averaged = [name for name in _AVERAGED if entry(name)]
  if averaged and not any(map(entry, _NESTED)):
    logging.info('The weights are those of %r: running means.', averaged[0])
    return tree[averaged[0]]
  if averaged:
    logging.info(
        'The weights are those that were trained last; their running means '
        'are there too: --key=%s reads them.', averaged[0])
  for name in _NESTED:
    if entry(name):
      tree = tree[name]
  return tree


def save(path: str | pathlib.Path, tensors: Mapping[str, np.ndarray]) -> None:
  """Writes .safetensors or a torch state dict: whole, or not at all."""
  path = pathlib.Path(path)
  tensors = {name: np.asarray(x, order='C') for name, x in tensors.items()}
  with files.beside(path) as place:
    if path.suffix == '.safetensors':
      # transformers opens no file that does not say whose tensors it has.
      safetensors.numpy.save_file(tensors, place, metadata={'format': 'pt'})
    elif path.suffix in TORCH:
      import torch
      torch.save({'state_dict': {
          name: torch.from_numpy(x.copy()) for name, x in tensors.items()}},
          place)
    else:
      raise ValueError(
          f'{path} is of an unknown kind; write .safetensors or '
          f'{", ".join(TORCH)}. A folder for transformers needs no --table.')
