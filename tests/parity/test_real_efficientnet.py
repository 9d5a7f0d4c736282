"""EfficientNet-Lite0 as it was really trained, on photographs.

  python tests/parity/fetch.py
  pytest -n 0 tests/parity/test_real_efficientnet.py

The reference is the network written down in torch, layer by layer, from the
names of its tensors.
"""
import sys
import warnings

from bst_jax import convert
from bst_jax.data import image as image_lib
from bst_jax.run import experiment
from bst_jax.store import checkpoint
from configs import efficientnet
import fetch
import jax
import numpy as np
from PIL import Image
import pytest
import torch
import torch.nn.functional as F

WEIGHTS = 'efficientnet-lite0.pth'
# What may be said of them first, by ImageNet's numbers: kinds of cats; espresso,
# cup, coffee mug; a missile or what is launched; a palace; None: anything.
PHOTOGRAPHS = {
    'chelsea.png': {281, 282, 285}, 'coffee.png': {504, 967, 968},
    'rocket.jpg': {657, 744, 812}, 'china.jpg': {698, 832}, 'astronaut.png': None,
    'flower.jpg': None}
_MISSING = [name for name in (WEIGHTS, *PHOTOGRAPHS) if not fetch.is_there(name)]
if _MISSING:
  message = (f'NO REAL EFFICIENTNET IS CONVERTED: {", ".join(_MISSING)} not '
             'there; run python tests/parity/fetch.py')
  warnings.warn(message, stacklevel=1)
  print(message, file=sys.__stderr__)
  pytest.skip(message, allow_module_level=True)

# Taps of every layer's convolution, and the layers that halve the grid.
_TAPS = [3] * 3 + [5] * 2 + [3] * 3 + [5] * 7 + [3]
_HALVE = {1, 3, 5, 11}


def convolved(tensors, name, x, stride=1, groups=1):
  """TensorFlow's padding: as little as covers all, the odd one at the end."""
  kernel = tensors[f'{name}.weight']
  pads = []
  for side in (x.shape[3], x.shape[2]):
    missing = max(0, (-(-side // stride) - 1) * stride + kernel.shape[2] - side)
    pads += [missing // 2, missing - missing // 2]
  return F.conv2d(F.pad(x, pads), kernel, stride=stride, groups=groups)


def normalised(tensors, name, x):
  return F.batch_norm(x, *(tensors[f'{name}.{part}'] for part in (
      'running_mean', 'running_var', 'weight', 'bias')), eps=1e-3)


def reference(tensors, x):
  """Logits of float32[B, 3, H, W]."""
  x = F.relu6(normalised(tensors, '_bn0', convolved(
      tensors, '_conv_stem', x, 2)))
  for i, taps in enumerate(_TAPS):
    at, y = f'_blocks.{i}', x
    if f'{at}._expand_conv.weight' in tensors:
      y = F.relu6(normalised(tensors, f'{at}._bn0', convolved(
          tensors, f'{at}._expand_conv', y)))
    assert tensors[f'{at}._depthwise_conv.weight'].shape[2] == taps
    y = F.relu6(normalised(tensors, f'{at}._bn1', convolved(
        tensors, f'{at}._depthwise_conv', y, 1 + (i in _HALVE), y.shape[1])))
    y = normalised(tensors, f'{at}._bn2', convolved(
        tensors, f'{at}._project_conv', y))
    x = x + y if x.shape == y.shape else y
  x = F.relu6(normalised(tensors, '_bn1', convolved(tensors, '_conv_head', x)))
  return F.linear(x.mean((2, 3)), tensors['_fc.weight'], tensors['_fc.bias'])


def test_photographs_are_named_as_by_the_reference(tmp_path):
  convert.read(efficientnet.get_config('lite0'), None, fetch.place(WEIGHTS),
               tmp_path / 'work')
  exp = experiment.load(tmp_path / 'work')
  params = checkpoint.load_params(tmp_path / 'work', exp.shapes)
  pictures = np.stack([np.asarray(image_lib.fitted(
      Image.open(fetch.place(name)).convert('RGB'), *exp.model.sides, 'crop'))
                       for name in PHOTOGRAPHS])
  run = jax.jit(lambda params, image: exp.model.apply(
      {'params': params}, {'image': image})['classes'])
  with jax.default_matmul_precision('highest'):
    got = np.asarray(run(params, pictures))

  tensors = torch.load(fetch.place(WEIGHTS), weights_only=True)
  values = (pictures.astype(np.float32) - 127) / 128
  with torch.no_grad():
    want = reference(tensors, torch.from_numpy(
        values.transpose(0, 3, 1, 2))).numpy()
  np.testing.assert_allclose(got, want, rtol=0, atol=1e-3)
  for name, mine, other in zip(PHOTOGRAPHS, got, want):
    assert mine.argmax() == other.argmax(), name
    if PHOTOGRAPHS[name]:
      assert mine.argmax() in PHOTOGRAPHS[name], (name, mine.argmax())
