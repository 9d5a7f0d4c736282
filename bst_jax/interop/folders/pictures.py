"""How pictures are prepared, as a preprocessor_config.json says it.

`read` reads one, `told` is its inverse.
"""
from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

from absl import logging
from bst_jax.interop.folders.description import Keys, LARGEST

# What our data do for each way to fit a picture, by Pillow's numbers: scale
# bilinearly and bicubically.
_OF_FIT = {'stretch': '2', 'crop': '3'}
# The share of the shorter side that `crop` leaves.
_LEFT = 0.875
_HARMLESS = (
    'image_processor_type', 'feature_extractor_type', 'processor_class',
    'video_processor_type', 'do_convert_rgb', 'data_format', 'device',
    'input_data_format', 'return_tensors', 'default_to_square',
    'do_sample_frames', 'return_metadata', 'disable_grouping', 'num_frames', 'fps')
_HOW = {'stretch': 'by stretching, bilinearly',
        'crop': 'bicubically, the middle of 8/7 of it'}
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
  keys = Keys(config, f'{where}/preprocessor_config.json', _HARMLESS)
  keys.only('do_flip_channel_order', False)
  keys.only('offset', False)
  mean, std = _colours(keys, mean, std)
  size, fit = _size(keys)
  _tell(keys, fit)
  return Pictures(mean, std, size, fit)


def _tell(keys, fit):
  """Logs where pictures of another size are prepared otherwise here."""
  resample, crop = keys.get('resample'), keys.get('crop_size')
  scaled = keys.get('size')
  shortest = scaled.get('shortest_edge') if isinstance(
      scaled, Mapping) else None
  others = []
  if resample is not None and str(resample) != _OF_FIT[fit]:
    others.append(f'resample={resample}')
  left = (_pair(keys, 'crop_size', crop)[0] / shortest
          if crop is not None and type(shortest) is int and shortest > 0
          else None)
  if fit == 'crop' and crop is not None and (
      left is None or abs(left - _LEFT) > 0.01):
    others.append(f'size={scaled}, crop_size={crop}')
  if others:
    logging.info(
        'Pictures are brought to size %s here (config.data.image_fit=%s), '
        'where %s says %s: answers about pictures of another size differ a little.',
        _HOW[fit], fit, keys.where, ' and '.join(others))
  keys.tell_unread()


def _colours(keys, mean, std):
  """Mean and deviation of pictures of 0..1, whatever their scale there."""
  mean = keys.numbers('image_mean', mean, 0, 3)
  std = keys.numbers('image_std', std, 1e-6, 3)
  if not keys.flag('do_normalize', True):
    mean, std = (0.0,) * 3, (1.0,) * 3
  factor = keys.number('rescale_factor', 1 / 255)
  factor = factor if keys.flag('do_rescale', True) else 1.0
  scale = 255 * factor
  scale = 1.0 if abs(scale - 1) < 1e-6 else scale
  return tuple(float(x) / scale for x in mean), tuple(
      float(x) / scale for x in std)


def _size(keys):
  """Height and width, and the way to them."""
  size, crop = keys.get('size'), keys.get('crop_size')
  if keys.flag('do_center_crop', crop is not None) and crop is not None:
    return _pair(keys, 'crop_size', crop), 'crop'
  if not keys.flag('do_resize', True) or size is None:
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
  pair = (value, value) if isinstance(value, int) else value
  if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not all(
      type(x) is int and 0 < x <= LARGEST for x in pair):
    raise ValueError(
        f'{keys.where}: {key} is {keys.get(key)!r}, but the model reads '
        'pictures of one size: {"height": 224, "width": 224} or {"shortest_edge": 224}.')
  return tuple(pair)


def told(mean: Sequence[float], std: Sequence[float], size: tuple[int, int],
         fit: str, clips: bool = False) -> dict[str, Any]:
  """What preprocessor_config.json says, which `read` reads.

  Args:
    mean, std: that pictures of 0..1 are brought to.
    size: height and width.
    fit: how they come to it, of `image.FITS`.
    clips: the model reads clips, not pictures.
  """
  sides = dict(zip(('height', 'width'), size))
  said = dict(image_mean=list(mean), image_std=list(std), do_rescale=True,
              rescale_factor=1 / 255, do_normalize=True)
  kind = 'ViTImageProcessor'
  if fit == 'crop':
    kind = 'BitImageProcessor'
    # The larger side, so that what is cut out never reaches over the border.
    said |= dict(do_resize=True, do_center_crop=True, crop_size=sides,
                 size=dict(shortest_edge=round(max(size) / _LEFT)))
  elif fit == 'stretch':
    said |= dict(do_resize=True, do_center_crop=False, size=sides)
  else:
    logging.warning(
        'Pictures come to their size between bars here (config.data.image_fit='
        '%s), which transformers does not do: the folder says do_resize=false, '
        'so bring them to %d x %d pixels first.', fit, *size)
    said |= dict(do_resize=False, do_center_crop=False, size=sides)
  if fit in _OF_FIT:
    said['resample'] = int(_OF_FIT[fit])
  return {'image_processor_type': 'VideoMAEImageProcessor' if clips else kind
          } | said
