"""Makes tests/golden/efficientnet.npz with timm, effdet and torchvision.

  pip install torch==2.14.1 torchvision==0.29.1 timm==1.0.31 effdet==0.4.1
  PYTHONPATH=tests:. python tests/golden/make_efficientnet.py

Outputs alone: parameters and pictures are drawn by golden_pyramids.
"""
import pathlib

import effdet
from effdet.config import get_efficientdet_config
import golden_pyramids
import numpy as np
import timm
import torch
from torchvision.models import resnet
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

OUT = pathlib.Path(__file__).with_name('efficientnet.npz')


def filled(network):
  """The network, its tensors drawn by name."""
  shapes = {name: value.shape for name, value in network.state_dict().items()}
  network.load_state_dict(
      {name: torch.from_numpy(value)
       for name, value in golden_pyramids.filled(shapes).items()}, strict=False)
  return network.eval()


def last(array):
  return array.detach().numpy().transpose(0, 2, 3, 1)


def picture(sides):
  return torch.from_numpy(golden_pyramids.pixels(*sides).transpose(0, 3, 1, 2))


def bifpn(raw, **options):
  """effdet's whole network without heads, shrunk, for three or four grids."""
  config = get_efficientdet_config('efficientdet_d0')
  config.image_size = golden_pyramids.EVEN
  config.fpn_channels, config.fpn_cell_repeats = golden_pyramids.BIFPN
  if raw == 4:
    config.min_level, config.max_level = 2, 6
    config.backbone_indices = (1, 2, 3, 4)
  config.num_levels = 5
  config.update(options)
  network = effdet.EfficientDet(config, pretrained_backbone=False)
  del network.class_net, network.box_net
  filled(network)
  return network.fpn(network.backbone(picture(golden_pyramids.EVEN)))


def pyramid(top):
  """A ResNet of four bottlenecks with P3 to P7."""
  body = resnet.ResNet(resnet.Bottleneck, [1, 1, 1, 1])
  out = golden_pyramids.FPN
  network = BackboneWithFPN(
      body, {f'layer{i}': str(i) for i in (2, 3, 4)}, [512, 1024, 2048], out,
      LastLevelP6P7(2048 if top == 'c5' else out, out))
  holder = torch.nn.Module()
  holder.backbone = network
  filled(holder)
  return network(picture(golden_pyramids.ODD)).values()


def main():
  found = {}
  with torch.no_grad():
    for name in ('efficientnet_b0', 'tf_efficientnet_b0'):
      network = filled(timm.create_model(
          name, features_only=True, out_indices=(1, 2, 3, 4)))
      for i, grid in enumerate(network(picture(golden_pyramids.ODD))):
        found[f'{name}/{i}'] = last(grid)
    for name in ('efficientnet_lite0', 'efficientnet_b0'):
      network = filled(timm.create_model(name, num_classes=10))
      found[f'{name}/logits'] = network(picture(golden_pyramids.ODD)).numpy()
    for raw in (3, 4):
      for i, grid in enumerate(bifpn(raw)):
        found[f'bifpn_{raw}/{i}'] = last(grid)
    for i, grid in enumerate(bifpn(3, redundant_bias=True, pad_type='same',
                                   backbone_name='tf_efficientnet_b0')):
      found[f'bifpn_same/{i}'] = last(grid)
    for top in ('c5', 'p5'):
      for i, grid in enumerate(pyramid(top)):
        found[f'{top}/{i}'] = last(grid)
  np.savez_compressed(OUT, **found)
  print(OUT, OUT.stat().st_size, {k: v.shape for k, v in found.items()})


if __name__ == '__main__':
  main()
