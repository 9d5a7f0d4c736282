"""Makes tests/golden/retinanet.npz: outputs and losses of torchvision's RetinaNet.

  pip install torch==2.14.1 torchvision==0.29.1
  PYTHONPATH=tests:. python tests/golden/make_retinanet.py

Both versions, shrunk. Outputs alone: parameters and pictures are drawn by
golden_pyramids, here with layers of the head that say less, so that few scores
are the same.
"""
import functools
import pathlib

import golden_retinanet as given
import numpy as np
import torch
from torchvision.models import resnet
from torchvision.models.detection import anchor_utils, retinanet
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

OUT = pathlib.Path(__file__).with_name('retinanet.npz')


def network(version):
  """A RetinaNet of four bottlenecks, its tensors drawn by name."""
  second, width = version == 'v2', given.SIZES['pyramid_width']
  backbone = BackboneWithFPN(
      resnet.ResNet(resnet.Bottleneck, [1, 1, 1, 1]),
      {f'layer{i}': str(i) for i in (2, 3, 4)}, [512, 1024, 2048], width,
      LastLevelP6P7(2048 if second else width, width))
  octaves = tuple((x, int(x * 2 ** (1 / 3)), int(x * 2 ** (2 / 3)))
                  for x in given.ANCHORS)
  anchors = anchor_utils.AnchorGenerator(
      octaves, ((0.5, 1.0, 2.0),) * len(octaves))
  head = retinanet.RetinaNetHead(
      width, anchors.num_anchors_per_location()[0], given.CLASSES,
      **dict(norm_layer=functools.partial(torch.nn.GroupNorm, given.GROUPS))
      if second else {})
  if second:
    head.regression_head._loss_type = 'giou'
  result = retinanet.RetinaNet(
      backbone, given.CLASSES, anchor_generator=anchors, head=head,
      min_size=given.EXTENTS[0][0], max_size=given.SIDE,
      image_mean=(0.0,) * 3, image_std=(1.0,) * 3,
      detections_per_img=given.SIZES['detections'],
      topk_candidates=given.SIZES['each'])
  result.load_state_dict({
      name: torch.from_numpy(value) for name, value in given.tensors(
          {name: value.shape for name, value in result.state_dict().items()}
      ).items()}, strict=False)
  return result


def main():
  found = {}
  images = [torch.from_numpy(image[:h, :w].transpose(2, 0, 1).copy())
            for image, (h, w) in zip(given.images(), given.EXTENTS)]
  targets = [{'boxes': torch.from_numpy(boxes), 'labels': torch.from_numpy(kinds)}
             for boxes, kinds in given.objects()]
  for version in ('v1', 'v2'):
    net = network(version).eval()
    with torch.no_grad():
      listed, _ = net.transform(images)
      assert listed.tensors.shape[-2:] == (given.SIDE,) * 2
      assert listed.image_sizes == list(map(tuple, given.EXTENTS))
      levels = list(net.backbone(listed.tensors).values())
      said = net.head(levels)
      for i, one in enumerate(net(images)):
        for name, value in one.items():
          found[f'{version}/{i}/{name}'] = value.numpy()
      anchors = net.anchor_generator(listed, levels)
      lost = net.compute_loss(targets, said, anchors)
    found |= {f'{version}/{key}': value[:, ::given.EVERY].numpy()
              for key, value in said.items()}
    found[f'{version}/losses'] = np.array([
        lost[name].item() for name in ('classification', 'bbox_regression')])
  found['anchors'] = anchors[0][::given.EVERY].numpy()
  found['matched'] = np.stack([
      net.proposal_matcher(retinanet.box_ops.box_iou(one['boxes'], first)).numpy()
      if len(one['boxes']) else np.full(len(first), -1)
      for one, first in zip(targets, anchors)])[:, ::given.EVERY].astype(np.int16)
  np.savez_compressed(OUT, **found)
  print(OUT, OUT.stat().st_size, {k: v.shape for k, v in found.items()})
  print({k: (v if 'loss' in k else (v.min(), v.max(), v.std()))
         for k, v in found.items() if v.size})


if __name__ == '__main__':
  main()
