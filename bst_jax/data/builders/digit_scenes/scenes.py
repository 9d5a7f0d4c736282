"""What is in a picture: plates on a grid, each with a handwritten digit."""
import dataclasses
import functools
import pathlib

from bst_jax.data.builders.digit_scenes.draws import Draws
import numpy as np

COLORS = ('red', 'green', 'blue', 'yellow', 'purple', 'cyan')
SHAPES = ('square', 'circle')
SIZES = ('small', 'large')
INKS = ('light', 'dark')
DIGITS = tuple('0123456789')

CELL = 32  # pixels of a grid cell, and of the window that the reader sees
_SIDES = {'small': (17, 20), 'large': (25, 28)}

# Digit images are disjoint, and so are the streams of random numbers.
SPLITS = {
    'train': (0, 0, 1300),
    'val': (1, 1300, 1500),
    'test': (2, 1500, 1797),
    'comp': (3, 1500, 1797),
}


@dataclasses.dataclass(frozen=True)
class Layout:
  """Sizes of a family of scenes.

  Attributes:
    code: sets its random numbers apart from those of other layouts.
    grid: cells a side.
    plates: least and greatest number of plates.
    questions: least number of questions of a picture.
    more: in how many of 100 pictures there is one question more.
    hold_out: whether every sixth digit-color pair is kept for `comp`.
  """

  code: int
  grid: int
  plates: tuple[int, int]
  questions: int
  more: int
  hold_out: bool

  @property
  def image_size(self) -> int:
    return self.grid * CELL


EASY = Layout(0, 2, (2, 4), 4, 78, False)
FULL = Layout(1, 3, (3, 6), 5, 67, True)


@dataclasses.dataclass(frozen=True)
class Plate:
  """One plate; `image` is the row of its digit in the set of digits."""

  digit: str
  color: str
  shape: str
  size: str
  ink: str
  image: int
  row: int
  column: int
  x: int  # left edge, pixels
  y: int  # top edge, pixels
  side: int  # pixels

  @functools.cached_property
  def facts(self) -> frozenset[tuple[str, str]]:
    """(attribute, value) of what can be said of the plate."""
    return frozenset((k, getattr(self, k)) for k in (
        'digit', 'color', 'shape', 'size', 'ink'))


@functools.lru_cache(maxsize=1)
def digits() -> tuple[np.ndarray, np.ndarray]:
  """The UCI digits: uint8[1797, 8, 8] from 0 to 16, and int labels [1797]."""
  path = pathlib.Path(__file__).with_name('digits.npz')
  with np.load(path) as file:
    return file['images'], file['labels']


@functools.cache
def _images(split: str, digit: str) -> list[int]:
  """Rows of the split's images of a digit."""
  _, low, high = SPLITS[split]
  labels = digits()[1]
  return [i for i in range(low, high) if labels[i] == int(digit)]


def held_out(digit: str, color: str) -> bool:
  """Whether a digit-color pair is one of the sixth kept for `comp`."""
  return (int(digit) + COLORS.index(color)) % len(COLORS) == 0


def sample(layout: Layout, split: str, draws: Draws) -> tuple[Plate, ...]:
  """Draws the plates of one picture, in reading order."""
  count = draws.between(*layout.plates)
  cells = sorted(draws.shuffled(range(layout.grid**2))[:count])

  # Some pictures repeat an attribute: without them a count of three or four
  # would be too rare to balance the answers.
  palette = COLORS
  if draws.below(3) == 0:
    palette = draws.shuffled(COLORS)[:draws.between(1, 2)]
  shapes = SHAPES if draws.below(4) else (draws.pick(SHAPES),)
  sizes = SIZES if draws.below(4) else (draws.pick(SIZES),)

  plates = []
  for cell in cells:
    color = draws.pick(palette)
    allowed = DIGITS
    if layout.hold_out:
      allowed = [d for d in DIGITS if held_out(d, color) == (split == 'comp')]
    digit = draws.pick(allowed)
    size = draws.pick(sizes)
    side = draws.between(*_SIDES[size])
    row, column = divmod(cell, layout.grid)
    plates.append(Plate(
        digit=digit, color=color, shape=draws.pick(shapes), size=size,
        ink=draws.pick(INKS), image=draws.pick(_images(split, digit)),
        row=row, column=column,
        x=column * CELL + draws.below(CELL - side + 1),
        y=row * CELL + draws.below(CELL - side + 1), side=side))
  return tuple(plates)


def boxes(layout: Layout, plates: tuple[Plate, ...]) -> np.ndarray:
  """float32[n, 4] x1 y1 x2 y2 of the plates, as shares of the picture."""
  corners = [(p.x, p.y, p.x + p.side, p.y + p.side) for p in plates]
  return np.asarray(corners, np.float32) / layout.image_size
