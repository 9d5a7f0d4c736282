"""A whole detector, a picture at once: TEE-0, or torchvision's Faster R-CNN.

  python tests/bench/in_turns.py --trees . . --rounds 5 \
      --second 'tests/bench/detector.py --peer resnet50' -- \
      tests/bench/detector.py

Each gives 50 regions of 1,594 classes from 300 proposals of a picture of
512 x 512, with random weights, in float32; the peer in torch's eager mode, with a
ResNet of 50 or 101 layers and its pyramid. Prints the seconds of each round of
--runs pictures, and of one picture.
"""
import argparse

import numpy as np
import rounds

CLASSES, PROPOSALS, REGIONS = 1594, 300, 50


def ours(image):
  """A function that runs TEE-0 once."""
  from bst_jax import elastic
  from bst_jax.models import tee
  import jax

  model = tee.Model(num_answers=CLASSES, regions=REGIONS, **tee.sizes('tee0'))
  assert model.proposals[1] == PROPOSALS
  rng, batch = np.random.default_rng(0), {'image': image[None]}
  shapes = elastic.unbox(jax.eval_shape(
      model.init, jax.random.key(0), batch)['params'])
  # He's spread for kernels; about one for gains and variances.
  params = jax.tree.map(lambda leaf: jax.device_put(
      rng.standard_normal(leaf.shape, np.float32)
      * (2 / np.prod(leaf.shape[:-1])) ** 0.5 if len(leaf.shape) > 1
      else rng.random(leaf.shape, np.float32) + 0.5), shapes)
  run, batch = jax.jit(model.apply), jax.device_put(batch)
  return lambda: jax.block_until_ready(run({'params': params}, batch))


def peer(image, trunk):
  """The same with Faster R-CNN in torchvision."""
  import torch
  from torchvision.models.detection import FasterRCNN
  from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

  side = image.shape[0]
  torch.manual_seed(0)
  model = FasterRCNN(
      resnet_fpn_backbone(backbone_name=trunk, weights=None), CLASSES + 1,
      min_size=side, max_size=side, rpn_post_nms_top_n_test=PROPOSALS,
      box_detections_per_img=REGIONS).eval()
  for block in model.backbone.body.modules():
    if hasattr(block, 'bn3'):  # Else grids grow with every block, and no box is left.
      block.bn3.weight.fill_(0.2)
  counts = []
  model.rpn.register_forward_hook(
      lambda module, inputs, found: counts.append(len(found[0][0])))
  torch.set_flush_denormal(True)
  image = torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32) / 255)

  def run():
    with torch.inference_mode():
      model([image])
    assert counts.pop() == PROPOSALS

  return run


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('--peer', choices=['resnet50', 'resnet101'],
                      help='run the peer with this trunk in place of ours')
  parser.add_argument('--side', type=int, default=512)
  parser.add_argument('--runs', type=int, default=12)
  args = rounds.parsed(parser)

  image = np.random.default_rng(0).integers(
      0, 256, (args.side, args.side, 3), np.uint8)
  rounds.run(
      lambda: peer(image, args.peer) if args.peer else ours(image),
      'the first regions', args.runs, 'a picture')


if __name__ == '__main__':
  main()
