"""What tests and the maker of RetinaNet's goldens draw alike."""
from collections.abc import Mapping

import golden_pyramids
import numpy as np

SIDE, CLASSES, GROUPS = 128, 5, 4
ANCHORS = (16, 32, 48, 64, 96)
SIZES = dict(pyramid_width=16, detections=40, each=200)
# Height and width of each picture on its canvas. All are of one scale, which
# torchvision would give them otherwise.
EXTENTS = ((128, 128), (128, 112), (128, 120))
EVERY = 5  # Of the anchors, whose numbers are kept.
# What ends the towers says less than golden_pyramids would have it, of features
# that are normalised and of others.
_SHARE = {True: {'cls_logits': 1.0, 'bbox_reg': 0.2},
          False: {'cls_logits': 0.03, 'bbox_reg': 0.003}}


def tensors(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
  """Tensors of torchvision's names and these shapes."""
  found = golden_pyramids.filled(shapes)
  normalised = any(name.endswith('conv.0.1.weight') for name in found)
  for name in found:
    for part, share in _SHARE[normalised].items():
      if name.endswith(f'{part}.weight'):
        found[name] = np.float32(share) * found[name]
    if name.endswith('cls_logits.bias'):
      found[name] -= np.float32(2)
  return found


def images() -> np.ndarray:
  """float32[3, SIDE, SIDE, 3], as if normalised."""
  return np.random.default_rng(0).standard_normal(
      (len(EXTENTS), SIDE, SIDE, 3)).astype(np.float32)


def objects() -> list[tuple[np.ndarray, np.ndarray]]:
  """Boxes float32[G, 4] and classes int64[G] of each picture; one has none."""
  rng, found = np.random.default_rng(1), []
  for count, (height, width) in zip((4, 0, 3), EXTENTS):
    corners = rng.uniform(0, 70, (count, 2))
    sides = rng.uniform(8, 60, (count, 2))
    boxes = np.concatenate([corners, np.minimum(
        corners + sides, [width, height])], 1).astype(np.float32)
    if count:
      boxes[-1, 2:] = boxes[-1, :2] + 3  # No anchor is that small.
    found.append((boxes, rng.integers(0, CLASSES, count)))
  return found
