"""EfficientNet by timm's name and its weights."""
from collections.abc import Mapping
import re
from typing import Any

from bst_jax.interop.folders.description import Keys
from bst_jax.layers.efficientnet import STRIDES
import numpy as np

# Of the variants that share a word with others that are no such network.
_NAME = re.compile(r'(tf_)?efficientnet_(b|lite)\d(_\w+)?')


def arguments(name: str, keys: Keys, made: Keys,
              tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """Arguments of the model, of which the weights tell all sizes.

  Args:
    name: of the network; `tf_` in front says how it pads and normalises.
    keys: of config.json.
    made: of its `model_args`.
    tensors: the weights.

  Raises:
    ValueError: another network; or tensors are missing.
  """
  where, found = keys.where, _NAME.fullmatch(name)
  if not found:
    raise ValueError(
        f'{where}: architecture is {name!r}, whose layers are not all those of '
        'EfficientNet; there are efficientnet_b0 to b7 and efficientnet_lite0 '
        'to lite4, with tf_ in front or not.')
  same, lite = bool(found[1]), found[2] == 'lite'
  keys.only('global_pool', 'avg')
  made.only('act_layer', 'relu6' if lite else 'silu')
  for harmless in ('drop_rate', 'drop_path_rate'):
    made.get(harmless)
  stages = [_stage(tensors, stage, where) for stage in range(len(STRIDES))]
  width, num_layers, kernels, gates = zip(*stages)
  return dict(
      name='efficientnet', stem=_tensor(tensors, 'conv_stem.weight', where)[0],
      fused=_tensor(tensors, 'conv_head.weight', where)[0], width=width,
      num_layers=num_layers, kernels=kernels,
      squeeze=None if any(gates) else (None,) * len(gates),
      activation='relu6' if lite else 'silu',
      padding='same' if same else 'symmetric', eps=1e-3 if same else 1e-5)


def _stage(tensors, stage, where):
  """Width, layers and taps of a stage, and whether it has gates."""
  place = f'blocks.{stage}.0'
  last = 'conv_pwl' if stage else 'conv_pw'
  layers = {name.split('.')[2] for name in tensors
            if name.startswith(f'blocks.{stage}.')}
  return (_tensor(tensors, f'{place}.{last}.weight', where)[0], len(layers),
          _tensor(tensors, f'{place}.conv_dw.weight', where)[2],
          f'{place}.se.conv_reduce.weight' in tensors)


def _tensor(tensors, name, where):
  """Shape of a convolution."""
  value = tensors.get(name)
  if value is None or value.ndim != 4:
    raise ValueError(f'{where} describes an EfficientNet, but the weights '
                     f'beside it have no {name} of 4 axes. Are they of another '
                     'model?')
  return value.shape
