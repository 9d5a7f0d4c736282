"""EfficientNet against the installed timm, random weights.

  pip install timm==1.0.31 && pytest -n 0 tests/parity/test_timm_efficientnet.py

timm needs torchvision. Without them tests/test_efficientnet.py compares with
arrays that were made by them.
"""
import sys
import warnings

from bst_jax import elastic
from bst_jax.interop import core, timm_efficientnet
from bst_jax.layers import efficientnet
from bst_jax.layers.efficientnet import Plan, Trunk
from bst_jax.models.efficientnet import Model
import jax
import numpy as np
import pytest
import torch

try:
  import timm
except ImportError:
  message = ('NO EFFICIENTNET IS COMPARED LIVE: timm is not there; run pip '
             'install timm==1.0.31')
  warnings.warn(message, stacklevel=1)
  print(message, file=sys.__stderr__)
  pytest.skip(message, allow_module_level=True)

TF = dict(eps=1e-3, padding='same')
# Ours: arguments, and whether its outputs are compared or its shapes alone.
NAMES = {
    'efficientnet_b0': (dict(eps=1e-5), True),
    'efficientnet_b1': (dict(eps=1e-5), False),
    'efficientnet_b2': (dict(eps=1e-5), False),
    'efficientnet_b3': (dict(eps=1e-5), False),
    'efficientnet_b4': (dict(eps=1e-5), False),
    'efficientnet_b5': (dict(eps=1e-5), False),
    'tf_efficientnet_b0': (TF, True), 'efficientnet_lite0': (dict(eps=1e-5), True),
    'tf_efficientnet_lite0': (TF, True)}
# No multiple of the stride, so that the two paddings differ.
SIDES = 63, 96


def theirs(name, **options):
  """A network of timm whose statistics and gains are random."""
  torch.manual_seed(0)
  network = timm.create_model(name, pretrained=False, **options).eval()
  draw = torch.Generator().manual_seed(1)
  for module in network.modules():
    if isinstance(module, torch.nn.BatchNorm2d):
      with torch.no_grad():
        shape = module.weight.shape
        module.weight.copy_(1 + 0.2 * torch.randn(shape, generator=draw))
        module.bias.copy_(0.2 * torch.randn(shape, generator=draw))
        module.running_mean.copy_(0.2 * torch.randn(shape, generator=draw))
        module.running_var.copy_(0.5 + torch.rand(shape, generator=draw))
  return network


def pixels():
  return np.random.default_rng(0).standard_normal(
      (2, *SIDES, 3)).astype(np.float32)


def tensors(network):
  return {key: value.numpy() for key, value in network.state_dict().items()}


@pytest.mark.parametrize('name', NAMES)
def test_logits_and_round_trips(name):
  options, compared = NAMES[name]
  with torch.device('cpu' if compared else 'meta'):
    network = (theirs(name) if compared else
               timm.create_model(name, pretrained=False))
  sizes = efficientnet.sizes(name.rpartition('_')[2])
  model = Model(1000, **sizes | options | dict(image_size=SIDES))
  image = pixels()
  boxed = jax.eval_shape(model.init, jax.random.key(0), {'image': image})
  shapes = elastic.unbox(boxed['params'])
  if not compared:
    wanted = {key: tuple(value.shape)
              for key, value in network.state_dict().items()
              if not key.endswith('num_batches_tracked')}
    paths = elastic.flatten(shapes)
    assert wanted == {
        key: op.shape(paths[ours[0]].shape) for key, ours, op in
        core.rows_for(timm_efficientnet.TABLE, list(paths))}
    return
  params = core.read(timm_efficientnet.TABLE, tensors(network), shapes,
                     timm_efficientnet.IGNORED)
  run = jax.jit(lambda params: model.apply(
      {'params': params}, {'image': image})['classes'])
  with jax.default_matmul_precision('highest'):
    got = np.asarray(run(params))
  with torch.no_grad():
    want = network(torch.from_numpy(image.transpose(0, 3, 1, 2))).numpy()
  assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max()
  written = core.write(timm_efficientnet.TABLE, params)
  for key, value in written.items():
    np.testing.assert_array_equal(value, tensors(network)[key], err_msg=key)


@pytest.mark.parametrize('name', ['efficientnet_b0', 'tf_efficientnet_b0'])
def test_taps(name):
  """The grids that a detector reads, 4, 8, 16 and 32 pixels a cell."""
  network = theirs(name, features_only=True, out_indices=(1, 2, 3, 4))
  trunk = Trunk(Plan(**NAMES[name][0]))
  image = pixels()
  shapes = elastic.unbox(jax.eval_shape(
      trunk.init, jax.random.key(0), image)['params'])
  params = core.read(timm_efficientnet.trunk_rows(), tensors(network), shapes,
                     timm_efficientnet.IGNORED)
  with jax.default_matmul_precision('highest'):
    got = jax.jit(lambda params: trunk.apply({'params': params}, image))(params)
  with torch.no_grad():
    want = network(torch.from_numpy(image.transpose(0, 3, 1, 2)))
  assert len(got) == len(want) == 4
  for mine, other in zip(got, want):
    other = other.numpy().transpose(0, 2, 3, 1)
    scale = other.std()
    np.testing.assert_allclose(mine / scale, other / scale, rtol=0, atol=1e-4)
