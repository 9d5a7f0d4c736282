"""Pictures on their way into a vision model: sizes, patches, colours."""
from collections.abc import Mapping

import jax
import jax.numpy as jnp

# Of ImageNet, red, green and blue in 0..1.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CELL = 32  # Pixels of a cell of the last grid of a detector's trunk.


def sides(size: int | tuple[int, int]) -> tuple[int, int]:
  """Height and width of a size, which is one number for a square."""
  return (size, size) if isinstance(size, int) else tuple(size)


def grid(size: tuple[int, int], patch: int) -> tuple[int, int]:
  """Rows and columns of patches in a picture of some height and width.

  Raises:
    ValueError: the patches do not divide the picture.
  """
  height, width = size
  if height % patch or width % patch:
    raise ValueError(
        f'pictures of {height} x {width} pixels do not split into patches of '
        f'{patch}; sides that fit are multiples of {patch}, as '
        f'{max(1, round(height / patch)) * patch} x '
        f'{max(1, round(width / patch)) * patch}.')
  return height // patch, width // patch


def clip(size: tuple[int, int, int], patch: int) -> tuple[int, int, int]:
  """Frames, rows and columns of patches in a clip.

  Args:
    size: frames, height and width of the clip.
    patch: side of a patch.

  Raises:
    ValueError: these are not three numbers, or the patches do not divide them.
  """
  if isinstance(size, int) or len(size) != 3:
    raise ValueError(f'clip_size {size} is not (frames, height, width), as '
                     '(8, 224, 224).')
  return (size[0], *grid(tuple(size[1:]), patch))


def normalised(image: jax.Array, shape: tuple[int, ...],
               mean: tuple[float, ...], std: tuple[float, ...]) -> jax.Array:
  """float32[B, ..., 3] of a batch of pictures or clips.

  Args:
    image: uint8[B, ..., 3], brought to the mean and deviation; or float, which
      is taken to have them already.
    shape: of a picture (height, width) or of a clip (frames, height, width), to
      be sure of.
    mean, std: of the colours, in 0..1.
  """
  if image.shape[1:] != (*shape, 3):
    what, option = (('clips', 'clip_size') if len(shape) == 3 else
                    ('images', 'image_size'))
    raise ValueError(
        f'{what} of shape {image.shape} do not fit; the model reads [B, '
        f'{", ".join(map(str, shape))}, 3]. Crop or resize them, or set '
        f'{option} of the model.')
  if image.dtype != jnp.uint8:
    return image.astype(jnp.float32)
  return (image.astype(jnp.float32) / 255 - jnp.array(mean)) / jnp.array(std)


def on_canvas(batch: Mapping[str, jax.Array], sides: tuple[int, int],
              mean: tuple[float, ...], std: tuple[float, ...],
              multiple: int = 0) -> tuple[jax.Array, jax.Array]:
  """Pictures float32[B, H, W, 3] with zeros around them, and extents int[B, 2].

  Args:
    batch: image uint8[B, H, W, 3], or float, which is taken to have the mean
      and deviation already; extent int[B, 2], height and width of what of a
      canvas is picture, all of it if left out.
    sides: height and width of a canvas.
    mean, std: of the colours, in 0..1.
    multiple: where it is positive canvases of other sides do as well that are
      multiples of it, as training draws them from `config.data.canvases`.
  """
  shape = batch['image'].shape[1:3]
  if multiple and not any(side % multiple for side in shape):
    sides = shape
  image = normalised(batch['image'], sides, mean, std)
  extent = batch.get('extent', jnp.full((image.shape[0], 2), jnp.array(sides)))
  rows, columns = (jnp.arange(side) < extent[:, i, None]
                   for i, side in enumerate(sides))
  return image * (rows[:, :, None] & columns[:, None])[..., None], extent
