"""Draws a scene, in integers only, so that its pixels have one hash."""
import functools
import math

from bst_jax.data.builders.digit_scenes import scenes
from bst_jax.data.builders.digit_scenes.draws import Draws
import numpy as np

_RGB = {
    'red': (206, 52, 48), 'green': (52, 164, 66), 'blue': (56, 82, 206),
    'yellow': (214, 192, 44), 'purple': (146, 58, 172), 'cyan': (56, 188, 198),
}
_INK = {'light': 232, 'dark': 24}
_TURN = 16  # degrees
# Sine and cosine in 1/4096: rounded, hence the same with every libm.
_COS = [round(4096 * math.cos(math.radians(d))) for d in range(_TURN + 1)]
_SIN = [round(4096 * math.sin(math.radians(d))) for d in range(_TURN + 1)]


def draw(layout, plates, draws: Draws, augment: bool) -> np.ndarray:
  """uint8[S, S, 3] picture of the plates on textured noise.

  Args:
    layout: the family of the scene, which says how large the picture is.
    plates: what to draw.
    draws: random numbers for texture, jitter and augmentation.
    augment: whether digits are turned, moved, scaled and thickened, as they
      are in training.
  """
  canvas = _background(layout.image_size, draws)
  for plate in plates:
    _paint(canvas, plate, draws, augment)
  noise = draws.bytes(*canvas.shape).astype(np.int32)
  return np.clip(canvas + (noise * 21 >> 8) - 10, 0, 255).astype(np.uint8)


def _background(size: int, draws: Draws) -> np.ndarray:
  """int32[S, S, 3] of grey clouds with a slight tint."""
  knots = size // 8 + 1
  clouds = draws.bytes(knots, knots).astype(np.int32)
  # Bilinear between knots that stand 8 pixels apart.
  at = np.arange(size)
  low, share = at >> 3, at & 7
  rows = clouds[low] * (8 - share)[:, None] + clouds[low + 1] * share[:, None]
  grey = rows[:, low] * (8 - share) + rows[:, low + 1] * share  # 64 x 0..255
  base = draws.between(60, 130)
  tint = np.array([draws.between(-12, 12) for _ in range(3)], np.int32)
  return (base + (grey * 72 >> 14))[:, :, None] + tint


@functools.cache
def _disc(side: int) -> np.ndarray:
  """int32[side, side], 0 to 256: share of each pixel inside the circle."""
  at = 2 * np.arange(4 * side) + 1 - 4 * side  # quarter pixels, doubled
  inside = at[:, None]**2 + at[None]**2 <= (4 * side)**2
  return 16 * inside.reshape(side, 4, side, 4).sum((1, 3), dtype=np.int32)


def _paint(canvas, plate, draws, augment):
  """Paints one plate and its digit into the canvas."""
  spot = canvas[plate.y:plate.y + plate.side, plate.x:plate.x + plate.side]
  # Light ink needs a darker plate to be read, on yellow and cyan above all.
  dim = 12 if plate.ink == 'light' else 16
  color = np.array([(c * dim >> 4) + draws.between(-18, 18)
                    for c in _RGB[plate.color]], np.int32)
  if plate.shape == 'circle':
    cover = _disc(plate.side)[:, :, None]
    spot[:] = (spot * (256 - cover) + color * cover) >> 8
    share = 12
  else:
    spot[:] = color
    share = 14

  side = plate.side * share >> 4
  edge = (plate.side - side) // 2
  spot = spot[edge:edge + side, edge:edge + side]
  ink = np.array([_INK[plate.ink] + draws.between(-14, 14)
                  for _ in range(3)], np.int32)
  cover = _strokes(plate.image, side, draws, augment)[:, :, None]
  spot[:] = (spot * (256 - cover) + ink * cover) >> 8


def _strokes(image: int, side: int, draws: Draws, augment: bool) -> np.ndarray:
  """int32[side, side], 0 to 256: ink of a digit image scaled to the side."""
  turn, gain, thin = 0, 20, 0
  stretch_x, stretch_y, slant, move_x, move_y = 256, 256, 0, 0, 0
  bend_x, bend_y = 0, 0
  if augment:
    turn = draws.between(-_TURN, _TURN)
    stretch_x = draws.between(226, 300)
    stretch_y = draws.between(226, 300)
    slant = draws.between(-1000, 1000)  # of 4096
    bend_x = draws.between(-50000, 50000)  # at the edge, as in move_x
    bend_y = draws.between(-50000, 50000)
    move_x = draws.between(-40000, 40000)  # of 65536 for a source pixel
    move_y = draws.between(-40000, 40000)
    gain, thin = draws.between(16, 30), draws.between(0, 40)
  cos, sin = _COS[abs(turn)], _SIN[abs(turn)] * (1 if turn >= 0 else -1)

  # Where each pixel reads the 8 x 8 image, in 1/65536 of a source pixel.
  at = 2 * np.arange(side, dtype=np.int64) + 1 - side  # half pixels
  u, v = at[None, :], at[:, None]
  u = u + (v * slant >> 12)
  unit = (8 << 15) // side
  x = ((cos * u + sin * v) * unit * stretch_x >> 20) + (7 << 15) + move_x
  x += v * v * bend_x // side**2
  y = ((cos * v - sin * u) * unit * stretch_y >> 20) + (7 << 15) + move_y
  y += u * u * bend_y // side**2
  source = np.pad(scenes.digits()[0][image].astype(np.int64), 2)
  left, top = np.clip(x >> 16, -2, 8) + 2, np.clip(y >> 16, -2, 8) + 2
  fx, fy = x >> 8 & 255, y >> 8 & 255
  above = source[top, left] * (256 - fx) + source[top, left + 1] * fx
  below = source[top + 1, left] * (256 - fx) + source[top + 1, left + 1] * fx
  ink = (above * (256 - fy) + below * fy) >> 12  # 0 to 256
  return np.clip((ink - thin) * gain >> 4, 0, 256).astype(np.int32)
