"""Pyramids of detectors against the installed effdet and torchvision.

  pip install torchvision timm==1.0.31 effdet==0.4.1
  pytest -n 0 tests/parity/test_pyramids.py

At published sizes; tests/test_bifpn.py compares small ones with arrays that
were made by the same packages.
"""
import functools
import sys
import warnings

from bst_jax import elastic
from bst_jax.interop import core, effdet, torchvision_resnet
from bst_jax.layers.batch_norm import BatchNorm
from bst_jax.layers.bifpn import BiFpn
from bst_jax.layers.efficientnet import Plan, Trunk
from bst_jax.layers.fpn import Fpn
from bst_jax.layers.resnet import ResNet
from flax import linen as nn
import golden_pyramids
import jax
import numpy as np
import pytest
import torch

try:
  import effdet as theirs
  from effdet.config import get_efficientdet_config
  from torchvision.models import detection
except ImportError:
  message = ('NO PYRAMID IS COMPARED LIVE: effdet and torchvision are not '
             'there; run pip install torchvision timm==1.0.31 effdet==0.4.1')
  warnings.warn(message, stacklevel=1)
  print(message, file=sys.__stderr__)
  pytest.skip(message, allow_module_level=True)


class EfficientDet(nn.Module):
  """B0 and its BiFPN; of four grids it starts at cells of 4 pixels."""

  raw: int

  @nn.compact
  def __call__(self, image):
    trunk = Trunk(Plan(eps=1e-5), name='trunk')
    norm = functools.partial(BatchNorm, eps=1e-3, momentum=0.01)
    return BiFpn(trunk.channels[-self.raw:], style='effdet', use_bias=False,
                 batch_norm=norm, name='bifpn')(trunk(image)[-self.raw:])


class Retina(nn.Module):
  """ResNet-50 and its pyramid."""

  top: str

  @nn.compact
  def __call__(self, image):
    trunk = ResNet(name='trunk')
    return Fpn(trunk.channels[1:], top=self.top, name='fpn')(trunk(image)[1:])


def filled(network):
  """The network, its tensors drawn by name; and the tensors."""
  shapes = {name: value.shape for name, value in network.state_dict().items()}
  tensors = golden_pyramids.filled(shapes)
  network.load_state_dict({name: torch.from_numpy(value)
                           for name, value in tensors.items()}, strict=False)
  return network.eval(), tensors


def check(module, family, tensors, image, want, bound):
  """Checks all levels, and that the table writes what it read."""
  shapes = elastic.unbox(jax.eval_shape(
      module.init, jax.random.key(0), image)['params'])
  params = core.read(family.TABLE, tensors, shapes, family.IGNORED)
  with jax.default_matmul_precision('highest'):
    got = jax.jit(module.apply)({'params': params}, image)
  assert len(got) == len(want) == 5
  for mine, other in zip(got, want):
    other = other.numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(mine, other, rtol=0, atol=bound * other.std())
  for name, value in core.write(family.TABLE, params).items():
    np.testing.assert_array_equal(value, tensors[name], err_msg=name)


@pytest.mark.parametrize('raw', [3, 4])
def test_efficientdet_d0(raw):
  config = get_efficientdet_config('efficientdet_d0')
  config.image_size = 128, 128
  if raw == 4:
    config.min_level, config.max_level = 2, 6
    config.backbone_indices = (1, 2, 3, 4)
  network, tensors = filled(theirs.EfficientDet(
      config, pretrained_backbone=False))
  image = golden_pyramids.pixels(128, 128)
  with torch.no_grad():
    want = network.fpn(network.backbone(
        torch.from_numpy(image.transpose(0, 3, 1, 2))))
  check(EfficientDet(raw), effdet, tensors, image, want, 2e-4)


@pytest.mark.parametrize('top, make', [
    ('p5', detection.retinanet_resnet50_fpn),
    ('c5', detection.retinanet_resnet50_fpn_v2)])
def test_retinanet_resnet50(top, make):
  """Both read C3 to C5; the second makes P6 from C5."""
  network = make(weights=None, weights_backbone=None, num_classes=3)
  _, tensors = filled(network)
  tensors = {name: value for name, value in tensors.items()
             if name.startswith('backbone.')}
  image = golden_pyramids.pixels(96, 129)
  with torch.no_grad():
    want = [*network.backbone(torch.from_numpy(
        image.transpose(0, 3, 1, 2))).values()]
  check(Retina(top), torchvision_resnet, tensors, image, want, 2e-4)
