"""Makes detection.npz: what torchvision computes of boxes, with random numbers.

  pip install torch==2.14.1 torchvision==0.29.1 numpy
  python tests/golden/make_detection.py

Run by hand; arrays with random inputs, nothing of torchvision's own.
"""
import collections
import pathlib

import numpy as np
import torch
from torchvision import ops
from torchvision.models.detection import (
  _utils,
  anchor_utils,
  retinanet,
  roi_heads,
  rpn,
)
from torchvision.models.detection.image_list import ImageList

STRIDES, SIZES = (4, 8, 16, 32, 64), (32, 64, 128, 256, 512)
SIDE = 128


def boxes_of(rng, count, low=-20, high=150, least=1.0):
  corners = rng.uniform(low, high, (count, 2))
  return np.concatenate([corners, corners + rng.uniform(
      least, 80, (count, 2))], 1).astype(np.float32)


def aligned(rng):
  """Samples of one map and of a pyramid."""
  one = rng.standard_normal((1, 5, 20, 24)).astype(np.float32)
  boxes = np.concatenate([boxes_of(rng, 20), np.float32([
      [0, 0, 0, 0], [5, 5, 5.5, 5.2], [-400, -400, 900, 900],
      [90, 70, 96, 80], [95.9, 79.9, 96, 80], [-3, -3, -1, -1],
      [200, 200, 260, 300]])])
  found = {'roi/map': one[0].transpose(1, 2, 0), 'roi/boxes': boxes}
  for name, flag in (('plain', False), ('aligned', True)):
    for size, ratio in ((4, 2), (7, 1)):
      got = ops.roi_align(torch.from_numpy(one), [torch.from_numpy(boxes)],
                          size, 1 / 4, ratio, flag)
      found[f'roi/{name}_{size}_{ratio}'] = got.numpy().transpose(0, 2, 3, 1)
  pyramid = {str(i): torch.from_numpy(rng.standard_normal(
      (1, 3, SIDE // s, SIDE // s)).astype(np.float32))
             for i, s in enumerate(STRIDES[:4])}
  sides = np.array([6, 20, 40, 60, 100, 130, 180, 260, 500, 900], np.float32)
  start = rng.uniform(0, 60, (10, 2)).astype(np.float32)
  several = np.concatenate([start, start + sides[:, None]], 1)
  pool = ops.MultiScaleRoIAlign(list(pyramid), 4, 2)
  got = pool(collections.OrderedDict(pyramid), [torch.from_numpy(several)],
             [(SIDE, SIDE)])
  found |= {'levels/boxes': several, 'levels/found': got.numpy().transpose(
      0, 2, 3, 1)}
  return found | {f'levels/{i}': level[0].numpy().transpose(1, 2, 0)
                  for i, level in pyramid.items()}


def anchored(rng):
  """Anchors, coded boxes, proposals and matches."""
  images = ImageList(torch.zeros(1, 3, SIDE, SIDE), [(100, 120)])
  maps = [torch.zeros(1, 3, SIDE // s, SIDE // s) for s in STRIDES]
  make = anchor_utils.AnchorGenerator(
      tuple((size,) for size in SIZES), ((0.5, 1.0, 2.0),) * 5)
  anchors = make(images, maps)[0]
  octaves = tuple((s * 4, s * 4 * 2 ** (1 / 3), s * 4 * 2 ** (2 / 3))
                  for s in STRIDES)
  many = anchor_utils.AnchorGenerator(
      octaves, ((0.5, 1.0, 2.0),) * 5)(images, maps)[0]
  found = {'anchors/one': anchors.numpy(), 'anchors/octaves': many.numpy()[::7]}
  coder = _utils.BoxCoder((10.0, 10.0, 5.0, 5.0))
  one, other = boxes_of(rng, 30), boxes_of(rng, 30, least=5)
  codes = coder.encode_single(torch.from_numpy(one), torch.from_numpy(other))
  said = rng.normal(0, 16, (30, 4)).astype(np.float32)
  found |= {'coder/boxes': one, 'coder/anchors': other,
            'coder/codes': codes.numpy(), 'coder/said': said,
            'coder/decoded': coder.decode_single(
                torch.from_numpy(said), torch.from_numpy(other)).numpy()}
  count = len(anchors)
  logits = rng.normal(0, 2, (1, count, 1)).astype(np.float32)
  moved = rng.normal(0, 0.5, (count, 4)).astype(np.float32)
  head = rpn.RegionProposalNetwork(
      make, None, 0.7, 0.3, 256, 0.5, dict(training=200, testing=200),
      dict(training=60, testing=60), 0.7)
  decoded = head.box_coder.decode_single(torch.from_numpy(moved), anchors)
  levels = [3 * (SIDE // s) ** 2 for s in STRIDES]
  boxes, scores = head.eval().filter_proposals(
      decoded[None], torch.from_numpy(logits), [(100, 120)], levels)
  found |= {'rpn/logits': logits[0, :, 0], 'rpn/deltas': moved,
            'rpn/boxes': boxes[0].numpy(), 'rpn/scores': scores[0].numpy()}
  objects = boxes_of(rng, 7, 0, 60, 10)
  objects = np.concatenate([objects, objects[:1], [[0, 0, 3, 3]]]).astype(
      np.float32)
  overlaps = ops.box_iou(torch.from_numpy(objects), anchors)
  found |= {'match/objects': objects,
            'match/overlaps': overlaps[:, ::5].numpy()}
  for name, settings in (('rpn', (0.7, 0.3, True)), ('roi', (0.5, 0.5, False)),
                         ('retina', (0.5, 0.4, True))):
    found[f'match/{name}'] = _utils.Matcher(*settings)(overlaps[:, ::5]).numpy()
  return found


def lost(rng):
  """Losses, and what a RetinaNet finds."""
  logits = rng.normal(0, 2, (40, 6)).astype(np.float32)
  target = (rng.random((40, 6)) < 0.2).astype(np.float32)
  one, other = (rng.standard_normal((40, 4)).astype(np.float32)
                for _ in range(2))
  found = {
      'loss/logits': logits, 'loss/target': target, 'loss/one': one,
      'loss/other': other,
      'loss/focal': ops.sigmoid_focal_loss(
          torch.from_numpy(logits), torch.from_numpy(target)).numpy(),
      'loss/smooth': torch.nn.functional.smooth_l1_loss(
          torch.from_numpy(one), torch.from_numpy(other), beta=1 / 9,
          reduction='none').numpy()}
  make = anchor_utils.AnchorGenerator(
      tuple((4 * s,) for s in (16, 32, 64)), ((0.5, 1.0, 2.0),) * 3)
  images = ImageList(torch.zeros(1, 3, SIDE, SIDE), [(100, 120)])
  maps = [torch.zeros(1, 3, SIDE // s, SIDE // s) for s in (16, 32, 64)]
  anchors = make(images, maps)[0]
  levels = [3 * (SIDE // s) ** 2 for s in (16, 32, 64)]
  said = rng.normal(-2, 1.5, (len(anchors), 5)).astype(np.float32)
  moved = rng.normal(0, 0.4, (len(anchors), 4)).astype(np.float32)
  net = retinanet.RetinaNet.__new__(retinanet.RetinaNet)
  torch.nn.Module.__init__(net)
  net.score_thresh, net.topk_candidates = 0.05, 100
  net.nms_thresh, net.detections_per_img = 0.5, 30
  net.box_coder = _utils.BoxCoder((1.0, 1.0, 1.0, 1.0))
  split = lambda x: list(torch.from_numpy(x)[None].split(levels, 1))
  result, = net.postprocess_detections(
      {'cls_logits': split(said), 'bbox_regression': split(moved)},
      [list(anchors.split(levels))], [(100, 120)])
  return found | {
      'retina/anchors': anchors.numpy(), 'retina/logits': said,
      'retina/deltas': moved, 'retina/boxes': result['boxes'].numpy(),
      'retina/scores': result['scores'].numpy(),
      'retina/classes': result['labels'].numpy()}


def suppressed(rng):
  """Sets of boxes at whole pixels with ties, and what is left of them.

  The threshold is one that single and double precision both hold: torchvision
  compares in double, where an overlap of 2 / 5 is above 0.4.
  """
  corners = rng.integers(0, 8, (40, 16, 2))
  boxes = np.concatenate([corners, corners + rng.integers(
      0, 14, (40, 16, 2))], -1).astype(np.float32)
  boxes[:5, 8:] = boxes[:5, :8]  # Duplicates.
  boxes[5] = boxes[5, :1] + np.float32([0, 0, 1, 1])  # All but one go.
  scores = np.round(rng.random((40, 16)), 1).astype(np.float32)
  classes = rng.integers(0, 3, (40, 16))
  found = collections.defaultdict(list)
  for given in zip(boxes, scores, classes):
    some, sure, kinds = map(torch.from_numpy, given)
    for name, left in (('keep', ops.nms(some, sure, 0.5)), (
        'keep_class', ops.batched_nms(some, sure, kinds, 0.5))):
      found[name].append(np.isin(np.arange(16), left.numpy()))
  return {'nms/boxes': boxes, 'nms/scores': scores, 'nms/classes': classes} | {
      f'nms/{name}': np.stack(kept) for name, kept in found.items()}


def taught(rng, made):
  """Losses of whole pictures, of anchors and proposals that are `made` already.

  What is sampled is every third anchor that may be.
  """
  tensor = lambda name: torch.from_numpy(made[name])
  anchors, objects = tensor('anchors/one'), tensor('match/objects')
  head = rpn.RegionProposalNetwork(
      None, None, 0.7, 0.3, 256, 0.5, {}, {}, 0.7)
  labels, of_object = head.assign_targets_to_anchors(
      [anchors], [{'boxes': objects}])
  third = torch.arange(len(anchors)) % 3 == 0
  head.fg_bg_sampler = lambda labels: (
      [(labels[0] > 0) & third], [(labels[0] == 0) & third])
  wanted = head.box_coder.encode(of_object, [anchors])
  objectness, moved = head.compute_loss(
      tensor('rpn/logits')[:, None], tensor('rpn/deltas'), labels, wanted)
  rois = boxes_of(rng, 60, 0, 60, 10)
  rois[:9] = made['match/objects'] + rng.normal(0, 2, (9, 4)).astype(np.float32)
  kinds = rng.integers(1, 6, len(objects))
  logits = rng.normal(0, 2, (60, 6)).astype(np.float32)
  deltas = rng.normal(0, 2, (60, 4)).astype(np.float32)
  own = _utils.Matcher(0.5, 0.5, False)(
      ops.box_iou(objects, torch.from_numpy(rois)))
  told = torch.where(own >= 0, torch.from_numpy(kinds)[own.clamp(0)], 0)
  coder = _utils.BoxCoder((10.0, 10.0, 5.0, 5.0))
  targets = coder.encode([objects[own.clamp(0)]], [torch.from_numpy(rois)])
  classes, boxes = roi_heads.fastrcnn_loss(
      torch.from_numpy(logits), torch.from_numpy(np.tile(deltas, 6)), [told],
      targets)
  found = _utils.Matcher(0.5, 0.4, True)(ops.box_iou(objects, anchors))
  net = retinanet.RetinaNetHead(4, 3, 5)
  each = rng.normal(-2, 1, (len(anchors), 5)).astype(np.float32)
  one = {'cls_logits': torch.from_numpy(each)[None],
         'bbox_regression': tensor('rpn/deltas')[None]}
  there = {'boxes': objects, 'labels': torch.from_numpy(kinds - 1)}
  dense = net.compute_loss([there], one, [anchors], [found])
  names = 'classification', 'bbox_regression'
  return {
      'taught/rpn': np.array([objectness.item(), moved.item()]),
      'taught/rois': rois, 'taught/kinds': kinds, 'taught/logits': logits,
      'taught/deltas': deltas,
      'taught/roi': np.array([classes.item(), boxes.item()]),
      'taught/each': each,
      'taught/retina': np.array([dense[name].item() for name in names])}


def main():
  rng = np.random.default_rng(0)
  path = pathlib.Path(__file__).with_name('detection.npz')
  made = aligned(rng) | anchored(rng) | lost(rng)
  made |= suppressed(rng) | taught(rng, made)
  np.savez_compressed(path, **made)
  print(path.name, path.stat().st_size)


if __name__ == '__main__':
  main()
