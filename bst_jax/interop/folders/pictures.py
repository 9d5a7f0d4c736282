"""How pictures are prepared, as a preprocessor_config.json says it."""
from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

from absl import logging
from bst_jax.interop.folders.description import Keys

# Numbers of Pillow; what our data do for each way to fit a picture.
_RESAMPLE = {2: 'bilinear', 3: 'bicubic'}
_OF_FIT = {'stretch': 'bilinear', 'crop': 'bicubic'}
# From here on ConvNeXt's preparation does not cut pictures.
_WHOLE = 384


@dataclasses.dataclass(frozen=True)
class Pictures:
  """What a model expects of pictures.

  Attributes:
    mean, std: that pictures of 0..1 are brought to.
    size: height and width; None where nothing says it.
    fit: how they come to it, of `image.FITS`.
  """

  mean: tuple[float, ...]
  std: tuple[float, ...]
  size: tuple[int, int] | None
  fit: str


def read(config: Mapping[str, Any] | None, where: str, mean: Sequence[float],
         std: Sequence[float]) -> Pictures:
  """What preprocessor_config.json says.

  Args:
    config: its settings; None where there is no such file.
    where: the folder, for errors.
    mean, std: of the published models, where the file is silent.

  Raises:
    ValueError: a preparation that the model does not have.
  """
  if config is None:
    logging.warning(
        'No preprocessor_config.json is beside the weights: mean and deviation '
        'of pictures are those of the published models, %s and %s.',
        tuple(mean), tuple(std))
    config = {}
  keys = Keys(config, f'{where}/preprocessor_config.json')
  keys.only('do_flip_channel_order', False)
  keys.only('offset', False)
  mean, std = _colours(keys, mean, std)
  size, fit = _size(keys)
  resample = keys.get('resample')
  if resample is not None and _RESAMPLE.get(resample) != _OF_FIT[fit]:
    logging.info(
        'Pictures are scaled %s here (config.data.image_fit=%s), where %s says '
        'resample=%s: answers about pictures of another size differ a little.',
        _OF_FIT[fit], fit, keys.where, resample)
  return Pictures(mean, std, size, fit)


def _colours(keys, mean, std):
  """Mean and deviation of pictures of 0..1, whatever their scale there."""
  mean, std = keys.get('image_mean', mean), keys.get('image_std', std)
  if not keys.get('do_normalize', True):
    mean, std = (0.0,) * 3, (1.0,) * 3
  for key, value in (('image_mean', mean), ('image_std', std)):
    if not isinstance(value, (list, tuple)) or len(value) != 3 or not all(
        isinstance(x, (int, float)) for x in value):
      raise ValueError(f'{keys.where}: {key} is {value!r}, but the model reads '
                       'red, green and blue: three numbers.')
  if min(std) <= 0:
    raise ValueError(f'{keys.where}: image_std is {std!r}, by which nothing can '
                     'be divided. Fetch the file again.')
  factor = keys.number('rescale_factor', 1 / 255) if keys.get(
      'do_rescale', True) else 1.0
  scale = 255 * factor
  scale = 1.0 if abs(scale - 1) < 1e-6 else scale
  return tuple(float(x) / scale for x in mean), tuple(
      float(x) / scale for x in std)


def _size(keys):
  """Height and width, and the way to them."""
  size, crop = keys.get('size'), keys.get('crop_size')
  if keys.get('do_center_crop', crop is not None) and crop is not None:
    return _pair(keys, 'crop_size', crop), 'crop'
  if size is None or not keys.get('do_resize', True):
    return None, 'stretch'
  pair = _pair(keys, 'size', size)
  shortest = isinstance(size, Mapping) and 'shortest_edge' in size
  if keys.get('crop_pct') is not None:  # ConvNeXt's and CvT's.
    return pair, 'crop' if pair[0] < _WHOLE else 'stretch'
  return pair, 'crop' if shortest else 'stretch'


def _pair(keys, key, value):
  """Height and width of a size in any of its forms."""
  if isinstance(value, Mapping):
    value = ([value['height'], value['width']]
             if {'height', 'width'} <= value.keys() else
             value.get('shortest_edge'))
  pair = (value, value) if isinstance(value, int) else tuple(value or ())
  if len(pair) != 2 or not all(isinstance(x, int) and x > 0 for x in pair):
    raise ValueError(
        f'{keys.where}: {key} is {keys.get(key)!r}, but the model reads pictures '
        'of one size: {"height": 224, "width": 224} or {"shortest_edge": 224}.')
  return pair
