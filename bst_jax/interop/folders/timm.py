"""Models by the config.json of timm."""
from collections.abc import Mapping
import re
from typing import Any

from absl import logging
from bst_jax.interop.folders import efficientnet
from bst_jax.interop.folders.description import Description, Keys, LARGEST
from bst_jax.layers import pixels
import numpy as np

# Heads by the word in a network's name that tells its size.
_HEADS = {'tiny': 3, 'small': 6, 'medium': 8, 'base': 12, 'large': 16,
          'huge': 16, 'giant': 16, 'gigantic': 16}
# The share of the shorter side that `crop` leaves.
_LEFT = 0.875
_HARMLESS = (
    'num_features', 'pretrained_cfg', 'label_descriptions',
    'pretrained_cfg_overlay', 'tags', 'hf_hub_id')


def describe(config: Mapping[str, Any], tensors: Mapping[str, np.ndarray],
             where: str) -> Description:
  """What timm's config.json, and the weights, say of a model.

  Args:
    config: with `architecture` and `pretrained_cfg`.
    tensors: the weights, which tell most of the sizes.
    where: path of config.json.

  Raises:
    ValueError: a network that is none of ours; the setting is named.
  """
  keys = Keys(config, where, _HARMLESS)
  name = str(keys.get('architecture'))
  family = _FAMILIES.get(name.removeprefix('tf_').partition('_')[0])
  if not family or (family is _vit and 'cls_token' not in tensors):
    raise ValueError(
        f'{where}: architecture is {name!r}, of which there is no model here; '
        'of timm there are vit, deit and deit3 with a class token, pvt_v2, '
        'efficientnet_b and efficientnet_lite.')
  made = keys.inner('model_args', f'{where}: model_args')
  learned = keys.inner('pretrained_cfg', f'{where}: pretrained_cfg')
  first = ('conv_stem.weight' if family is efficientnet.arguments else
           'patch_embed.proj.weight')
  _, channels, patch, _ = _shape(tensors, first, 4, where)
  if channels != 3:
    raise ValueError(f'{where}: the weights read {channels} channels, but the '
                     'model reads red, green and blue.')
  _, *sides = learned.numbers('input_size', (3, 224, 224), 1, 3, whole=True)
  model = family(name, keys, made, tensors) | dict(
      mean=learned.numbers('mean', pixels.MEAN, 0, 3),
      std=learned.numbers('std', pixels.STD, 1e-6, 3))
  grid = _grid(made, sides, patch) if family is _vit else None
  made.tell_unread()
  labels = _labels(keys, learned, tensors)
  keys.tell_unread()
  side = sides[0] if sides[0] == sides[1] else tuple(sides)
  return Description(
      where, model, dict(num_answers=len(labels), image_size=side), labels,
      _fit(learned), 'bicubic_antialias', grid)


def _vit(name, keys, made, tensors):
  """Arguments of a vision transformer with a class token."""
  keys.only('global_pool', 'token')
  where, width = keys.where, tensors['cls_token'].shape[-1]
  for harmless in ('dynamic_img_size', 'init_values', 'reg_tokens',
                   'no_embed_class'):
    made.get(harmless)
  return dict(
      name='vit', patch=_shape(tensors, 'patch_embed.proj.weight', 4, where)[2],
      width=width, heads=made.heads(width, _heads(name, made), 'num_heads'),
      mlp=_shape(tensors, 'blocks.0.mlp.fc1.weight', 2, where)[0],
      num_layers=len({key.split('.')[1] for key in tensors
                      if key.startswith('blocks.')}),
      distilled='dist_token' in tensors,
      distilled_head='head_dist.weight' in tensors, eps=1e-6,
      qkv_bias='blocks.0.attn.qkv.bias' in tensors,
      layer_scale=1.0 if 'blocks.0.ls1.gamma' in tensors else None,
      registers=tensors['reg_token'].shape[1] if 'reg_token' in tensors else 0,
      activation='quick_gelu' if 'quickgelu' in name else made.activation(
          'act_layer'), ats=None)


def _pvt(name, keys, made, tensors):
  """Arguments of a PVTv2, of which the weights tell all but the heads."""
  where, model = keys.where, dict(
      name='pvt', width=(), heads=(), mlp=(), num_layers=(), reductions=(),
      kernels=(), linear=name.endswith('_li') or made.flag('linear', False))
  keys.only('global_pool', 'avg')
  made.get('depths'), made.get('embed_dims'), made.get('mlp_ratios')
  made.get('sr_ratios')
  heads = made.numbers('num_heads', (1, 2, 5, 8), 1, 4, whole=True)
  for stage in range(4):
    place = f'stages.{stage}'
    embed = f'{place}.downsample' if stage else 'patch_embed'
    width, _, kernel, _ = _shape(tensors, f'{embed}.proj.weight', 4, where)
    coarse = tensors.get(f'{place}.blocks.0.attn.sr.weight')
    told = dict(
        width=width, heads=made.heads(width, heads[stage], 'num_heads'),
        mlp=_shape(tensors, f'{place}.blocks.0.mlp.fc1.weight', 2, where)[0],
        num_layers=len({key.split('.')[3] for key in tensors
                        if key.startswith(f'{place}.blocks.')}),
        reductions=1 if coarse is None else coarse.shape[2], kernels=kernel)
    for field, size in told.items():
      model[field] += (size,)
  return model | dict(
      qkv_bias='stages.0.blocks.0.attn.q.bias' in tensors,
      paddings=tuple(size // 2 for size in model['kernels']))


_FAMILIES = {'vit': _vit, 'deit': _vit, 'deit3': _vit, 'pvt': _pvt,
             'efficientnet': efficientnet.arguments}


def _fit(learned):
  """How pictures come to their size, of `image.FITS`."""
  left = learned.number('crop_pct', _LEFT)
  if left not in (1, _LEFT):
    logging.warning(
        '%s: crop_pct is %s, but the middle of 8/7 of a picture is read here '
        '(crop_pct %s, config.data.image_fit=crop): answers differ a little. '
        'For the same ones, scale and cut the pictures to their size '
        'beforehand.', learned.where, left, _LEFT)
  return 'stretch' if left == 1 else 'crop'


def _grid(made, sides, patch):
  """Rows and columns of patches of the pictures that places are made for."""
  size = made.get('img_size')
  if isinstance(size, list):
    sides = made.numbers('img_size', (), 1, 2, whole=True)
  elif size is not None:
    sides = 2 * (made.count('img_size', most=LARGEST),)
  return tuple(side // patch for side in sides)


def _heads(name, made):
  """Heads that are told, or those of networks of this name."""
  words = re.split('[_0-9]', name)
  usual = next((n for word, n in _HEADS.items() if word in words), None)
  if usual is None and made.get('num_heads') is None:
    raise ValueError(
        f'{made.where}: num_heads is not there, and the architecture {name!r} '
        f'does not tell it as {", ".join(_HEADS)} do; write '
        '"model_args": {"num_heads": 6} into the file.')
  return made.count('num_heads', usual)


def _shape(tensors, name, axes, where):
  value = tensors.get(name)
  if value is None or value.ndim != axes:
    raise ValueError(f'{where} describes a network whose weights have {name}, '
                     f'but those beside it have none of {axes} axes. Are they of '
                     'another model?')
  return value.shape


def _labels(keys, learned, tensors):
  """Names of the classes; numbers where there are none."""
  head = tensors.get('head.weight', tensors.get('classifier.weight'))
  told = keys if keys.get('num_classes') is not None else learned
  # Encoders alone have 0 classes; as transformers, give them a head of two.
  none = head is None and told.get('num_classes') == 0
  asked = 2 if none else told.count(
      'num_classes', 2 if head is None else len(head))
  count = len(head) if head is not None else asked
  if asked != count:
    raise ValueError(
        f'{keys.where}: num_classes is {asked:,}, but the head of the weights '
        f'has {count:,}. Put the config.json beside them that they came with.')
  names = keys.get('label_names') or learned.get('label_names')
  if not names:
    return tuple(f'class {i}' for i in range(count))
  if not isinstance(names, list):
    raise ValueError(f'{keys.where}: label_names is {names!r}, but it is a '
                     'list of names. Fetch the file again.')
  if len(names) != count:
    raise ValueError(f'{keys.where}: label_names has {len(names):,} names for '
                     f'{count:,} classes. Fetch the file again.')
  return tuple(map(str, names))
