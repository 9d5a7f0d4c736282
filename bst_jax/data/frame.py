"""Where a picture comes to lie on its canvas, so that its boxes go with it."""
import dataclasses

from bst_jax.data import image as image_lib
import numpy as np
from PIL import Image


@dataclasses.dataclass(frozen=True)
class Frame:
  """One way to bring a picture to a size: fitted or cut out, then mirrored.

  Attributes:
    own: height and width of the picture, in pixels.
    size: height and width of the canvas.
    fit: a name in `image.FITS`, by which the whole picture comes to its size.
    cut: left, top, right and bottom of the part of the picture that fills the
      canvas, in its pixels; None for the whole by `fit`.
    flip: whether left and right change places.
    shorter: pixels of the shorter side at most, see `image.placed`.
  """

  own: tuple[int, int]
  size: tuple[int, int]
  fit: str = 'stretch'
  cut: tuple[int, int, int, int] | None = None
  flip: bool = False
  shorter: int = 0

  @property
  def extent(self) -> tuple[int, int]:
    """Height and width, in pixels, of what of the canvas is picture.

    It begins in the upper left corner. Bars of other fits than 'corner' count
    as picture, as models see them so.
    """
    if self.cut or self.fit != 'corner':
      return self.size
    *_, width, height = self._placed
    return height, width

  @property
  def place(self) -> np.ndarray:
    """float32[4], x1 y1 x2 y2 of the whole picture as shares of the canvas.

    They are beyond 0 and 1 where it sticks out.
    """
    return self._moved(np.float32([0, 0, 1, 1]))[0]

  @property
  def _placed(self):
    return image_lib.placed(self.own, self.size, self.fit, self.shorter)

  def draw(self, pixels: np.ndarray) -> np.ndarray:
    """uint8[H, W, 3], the canvas, of the picture uint8[h, w, 3]."""
    image, (height, width) = Image.fromarray(pixels), self.size
    if self.cut:
      image = image.resize((width, height), Image.Resampling.BICUBIC, self.cut)
    else:
      image = image_lib.fitted(image, height, width, self.fit, self.shorter)
    pixels = np.array(image)
    if self.flip:
      inner = pixels[:, :self.extent[1]]
      inner[:] = inner[:, ::-1].copy()
    return pixels

  def boxes(self, boxes: np.ndarray) -> np.ndarray:
    """Where boxes of the picture lie on the canvas.

    Args:
      boxes: float[N, 4], x1 y1 x2 y2 as shares of the picture.

    Returns:
      float32[N, 4] as shares of the canvas. What is not on it is cut off; a box
      that lies beside it has no area.
    """
    return self._moved(boxes).clip(0, 1)

  def shown(self, boxes: np.ndarray) -> np.ndarray:
    """float32[N], the share of each box's area that is on the canvas."""
    moved = self._moved(boxes)
    area = lambda boxes: (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return area(moved.clip(0, 1)) / np.maximum(area(moved), 1e-12)

  def _moved(self, boxes):
    """float32[N, 4], boxes as shares of the canvas, beyond its edges too."""
    (own_height, own_width), (height, width) = self.own, self.size
    if self.cut:
      left, top, right, bottom = self.cut
      scale_x, scale_y = width / (right - left), height / (bottom - top)
      x, y = -left * scale_x, -top * scale_y
      w, h = own_width * scale_x, own_height * scale_y
    else:
      x, y, w, h = self._placed
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    if (x, y, w, h) != (0, 0, width, height):
      boxes = (boxes * [w, h, w, h] + [x, y, x, y]) / [
          width, height, width, height]
    if self.flip:
      right = self.extent[1] / width
      boxes = np.stack([right - boxes[:, 2], boxes[:, 1],
                        right - boxes[:, 0], boxes[:, 3]], axis=1)
    return boxes.astype(np.float32)
