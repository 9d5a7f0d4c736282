"""Reads and writes files of foreign tensors."""
from collections.abc import Mapping
import pathlib
import pickle

from bst_jax.host import files
import numpy as np
import safetensors
import safetensors.numpy

TORCH = ('.pkl', '.pth', '.pyth', '.pt', '.bin', '.ckpt')
# Where training scripts keep the weights among other things.
_NESTED = ('state_dict', 'model', 'model_state')


def load(path: str | pathlib.Path) -> dict[str, np.ndarray]:
  """Tensors by name of a .safetensors file or a torch checkpoint.

  A torch checkpoint is read with `weights_only=True`: it cannot run code.

  Raises:
    ValueError: no such file, an unknown kind, a damaged one, or one that asks
      to run code.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    near = sorted(p.name for p in path.parent.glob('*')
                  if p.suffix in (*TORCH, '.safetensors'))
    raise ValueError(f'there is no checkpoint {path}. Checkpoints beside it: '
                     f'{", ".join(near[:8]) or "none"}.')
  if path.suffix == '.safetensors':
    try:
      return safetensors.numpy.load_file(path)
    except safetensors.SafetensorError as error:
      raise ValueError(f'{path} is no readable safetensors file ({error}); '
                       'fetch it again.') from error
  if path.suffix not in TORCH:
    raise ValueError(f'{path} is of an unknown kind; there are .safetensors '
                     f'and, for torch, {", ".join(TORCH)}.')
  return _load_torch(path)


def _load_torch(path):
  try:
    import torch
  except ImportError:
    raise ValueError(
        f'reading {path.name} needs torch, which is not installed: pip install '
        "'bst_jax[parity]', or save the tensors as .safetensors.") from None
  try:
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
  for key in _NESTED:
    if isinstance(tree, Mapping) and isinstance(tree.get(key), Mapping):
      tree = tree[key]
  if not isinstance(tree, Mapping) or not all(
      isinstance(v, torch.Tensor) for v in tree.values()):
    raise ValueError(f'{path} holds no state dict of tensors, neither at its '
                     f'top nor under {" or ".join(_NESTED)}.')
  return {name: (tensor.float() if tensor.is_floating_point() else tensor
                 ).detach().numpy() for name, tensor in tree.items()}


def save(path: str | pathlib.Path, tensors: Mapping[str, np.ndarray]) -> None:
  """Writes .safetensors or a torch state dict: whole, or not at all."""
  path = pathlib.Path(path)
  tensors = {name: np.ascontiguousarray(x) for name, x in tensors.items()}
  with files.beside(path) as place:
    if path.suffix == '.safetensors':
      safetensors.numpy.save_file(tensors, place)
    elif path.suffix in TORCH:
      import torch
      torch.save({'state_dict': {
          name: torch.from_numpy(x.copy()) for name, x in tensors.items()}},
          place)
    else:
      raise ValueError(f'{path} is of an unknown kind; write .safetensors or '
                       f'{", ".join(TORCH)}.')
