"""How the items of Motion-8 move, and their pictures."""
import dataclasses
import math

import numpy as np

CLASSES = ('left', 'right', 'up', 'down', 'clockwise', 'anticlockwise', 'grow',
           'shrink')
FRAMES, SIDE = 8, 48
_SPEED = 2.0, 6.0  # pixels a frame, along a line
_RADIUS = 6.0, 12.0  # pixels, of the circle
_TURN = math.radians(20), math.radians(50)  # a frame, on the circle
_GROWTH = 0.05, 0.12  # a frame, as a share of the range of sizes
_SIZES = 14.0, 34.0  # pixels, of an item's side


@dataclasses.dataclass(frozen=True)
class Path:
  """Where an item is in each frame; float64[8] each.

  Attributes:
    x, y: its middle, in pixels; on a torus, so any number is a place.
    side: its height and width in pixels.
  """

  x: np.ndarray
  y: np.ndarray
  side: np.ndarray


def path(label: int, rng: np.random.Generator) -> Path:
  """A random path of a class.

  Place and size are distributed evenly in each frame of every class, so that
  no single frame tells the class; and a class backwards is distributed as the
  other of its pair, so that no statistic without order tells the two apart.
  An item that grows out of the range of sizes comes back at its other end.
  """
  x, y = rng.uniform(0, SIDE, 2)
  size, phase = rng.random(), rng.uniform(0, 2 * math.pi)
  amount = rng.random()
  of = lambda span: span[0] + amount * (span[1] - span[0])
  still, time = np.zeros(FRAMES), np.arange(FRAMES)
  dx, dy, dsize = still, still, still
  kind, sign = label // 2, 1 if label % 2 else -1
  if kind == 0:
    dx = sign * of(_SPEED) * time
  elif kind == 1:
    dy = sign * of(_SPEED) * time
  elif kind == 2:
    radius = _RADIUS[0] + rng.random() * (_RADIUS[1] - _RADIUS[0])
    angle = phase - sign * of(_TURN) * time  # y grows downwards.
    dx, dy = radius * np.cos(angle), radius * np.sin(angle)
  else:
    dsize = -sign * of(_GROWTH) * time
  low, high = map(math.log, _SIZES)
  side = np.exp(low + (size + dsize) % 1 * (high - low))
  return Path(x + dx, y + dy, side)


def draw(item: np.ndarray, along: Path) -> np.ndarray:
  """uint8[8, 48, 48]: an item uint8[h, w] on black, moved along a path."""
  columns = _weights(item.shape[1], along.x, along.side)
  rows = _weights(item.shape[0], along.y, along.side)
  frames = rows @ item.astype(np.float64) @ columns.transpose(0, 2, 1)
  return np.floor(frames + 0.5).clip(0, 255).astype(np.uint8)


def _weights(size, middle, side):
  """float64[8, 48, size]: shares of an item's pixels in those of the frames."""
  away = np.arange(SIDE) + 0.5 - middle[:, None]  # [8, 48]
  away = (away + SIDE / 2) % SIDE - SIDE / 2  # On the torus.
  scale = size / side[:, None, None]  # An item's pixels to one of a frame.
  at = away[..., None] * scale + size / 2
  wide = np.maximum(scale, 1)  # Smaller items are averaged.
  tent = 1 - np.abs(at - np.arange(size) - 0.5) / wide
  return np.maximum(tent, 0) / wide
