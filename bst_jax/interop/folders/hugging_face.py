"""Models by the config.json of transformers."""
from collections.abc import Callable, Mapping
from typing import Any

from bst_jax.interop.folders import pictures as pictures_lib
from bst_jax.interop.folders.description import (
  Description,
  Keys,
  labels,
  LARGEST,
)
from bst_jax.layers import pixels
import numpy as np

_HALF = (0.5,) * 3
# What a trained model computes does not depend on these.
_HARMLESS = (
    'model_type', 'architectures', 'auto_map', '_name_or_path', 'torch_dtype',
    'dtype', 'transformers_version', 'initializer_range', 'layerscale_value',
    'label2id', 'num_labels', 'problem_type', 'finetuning_task',
    'hidden_dropout_prob', 'attention_probs_dropout_prob', 'drop_path_rate',
    'drop_rate', 'attention_drop_rate', 'classifier_dropout', 'encoder_stride',
    'pooler_output_size', 'pooler_act', 'out_features', 'out_indices',
    '_out_features', '_out_indices', 'stage_names', 'apply_layernorm',
    'reshape_hidden_states', 'use_mask_token', 'use_cache', 'return_dict',
    'output_attentions', 'output_hidden_states', 'gradient_checkpointing',
    'pad_token_id', 'layer_norm_elementwise_affine', '_attn_implementation',
    '_attn_implementation_autoset', 'bos_token_id', 'eos_token_id',
    'is_decoder', 'add_cross_attention', 'tie_word_embeddings')


class UnknownModel(ValueError):
  """A model that there is not here."""


def describe(config: Mapping[str, Any], pictures: Mapping[str, Any] | None,
             tensors: Mapping[str, np.ndarray], where: str) -> Description:
  """What the files beside a checkpoint say of its model.

  Args:
    config: of config.json.
    pictures: of preprocessor_config.json; None where there is none.
    tensors: the weights, which tell the number of classes.
    where: path of config.json.

  Raises:
    UnknownModel: of another type than all that there are here.
    ValueError: one that cannot be so here; the setting is named.
  """
  kind = config.get('model_type')
  if not isinstance(kind, str) or kind not in _KINDS:
    raise UnknownModel(
        f'{where}: model_type is {kind!r}, of which there is no model here; '
        f'there are {", ".join(sorted(_KINDS))}.')
  keys = Keys(config, where, _HARMLESS)
  found = _KINDS[kind](keys, pictures, tensors)
  keys.tell_unread()
  return found


def _classes(tensors):
  """Rows of the head; None where there is none."""
  for name, value in tensors.items():
    if name.endswith('classifier.weight'):
      return value.shape[0]
  return None


def _transformer(keys, eps=1e-12, ratio=False, free_heads=True):
  """Sizes that all plain transformers name alike.

  `free_heads`: where the file has `head_dim`, its code reads it.
  """
  width, heads = keys.count('hidden_size', 768), keys.count(
      'num_attention_heads', 12)
  own = {}
  if free_heads and keys.get('head_dim') is not None:
    own = dict(head_dim=keys.count('head_dim'))
  else:
    keys.heads(width, heads, 'num_attention_heads')
  mlp = int(width * keys.number('mlp_ratio', 4)) if ratio else keys.count(
      'intermediate_size', 3072)
  return dict(width=width, heads=heads, mlp=mlp,
              num_layers=keys.count('num_hidden_layers', 12),
              eps=keys.number('layer_norm_eps', eps),
              activation=keys.activation()) | own


def _patched(keys, model, tensors, pictures, mean, std, patch=16,
             resize='bicubic'):
  """A description of a vision transformer of pictures."""
  keys.only('num_channels', 3)
  ready = pictures_lib.read(pictures, _folder(keys), mean, std)
  places = _places(keys)
  sides = ready.size or places
  names = labels(keys, _classes(tensors))
  model = dict(name='vit', patch=keys.side('patch_size', patch),
               qkv_bias=keys.flag('qkv_bias', True), mean=ready.mean,
               std=ready.std, ats=None) | model
  return Description(
      keys.where, model, dict(num_answers=len(names), image_size=_side(sides)),
      names, ready.fit, resize, tuple(n // model['patch'] for n in places))


def _places(keys):
  """Height and width of the pictures that a model is made for."""
  if isinstance(keys.get('image_size'), list):
    return keys.numbers('image_size', (), 1, 2, whole=True)
  return 2 * (keys.count('image_size', 224, LARGEST),)


def _folder(keys):
  """Where config.json lies."""
  return keys.where.rpartition('/')[0] or '.'


def _side(sides):
  """One number for a square."""
  return sides[0] if sides[0] == sides[1] else tuple(sides)


def _vit(keys, pictures, tensors):
  return _patched(keys, _transformer(keys), tensors, pictures, _HALF, _HALF)


def _deit(keys, pictures, tensors):
  two = any(name.endswith('cls_classifier.weight') for name in tensors)
  model = _transformer(keys) | dict(distilled=True, distilled_head=two)
  return _patched(keys, model, tensors, pictures, pixels.MEAN, pixels.STD)


def _dinov2(keys, pictures, tensors, registers=0, resize='bicubic'):
  keys.only('use_swiglu_ffn', False)
  model = _transformer(keys, 1e-6, ratio=True) | dict(
      layer_scale=keys.number('layerscale_value', 1.0), registers=registers,
      head_reads='class_mean')
  return _patched(keys, model, tensors, pictures, pixels.MEAN, pixels.STD,
                  patch=14, resize=resize)


def _dinov2_with_registers(keys, pictures, tensors):
  return _dinov2(keys, pictures, tensors, keys.count('num_register_tokens', 4),
                 'bicubic_antialias')


def _cvt(keys, pictures, tensors):
  width = keys.numbers('embed_dim', (64, 192, 384), 1, whole=True)
  stages = len(width)
  get = lambda key, default, least=1: keys.numbers(
      key, default, least, stages, whole=True)
  every = lambda value: [value] * stages
  keys.only('num_channels', 3)
  for key, value in (('qkv_projection_method', 'dw_bn'), ('kernel_qkv', 3),
                     ('padding_kv', 1), ('padding_q', 1), ('stride_q', 1)):
    keys.only(key, every(value))
  keys.only('cls_token', [*every(False)[1:], True])
  heads = get('num_heads', (1, 3, 6))
  # That the normalisations' eps is torch's own is in the code, whatever
  # layer_norm_eps says.
  keys.get('layer_norm_eps')
  ready = pictures_lib.read(pictures, _folder(keys), pixels.MEAN, pixels.STD)
  names = labels(keys, _classes(tensors))
  model = dict(
      name='cvt', width=width, num_layers=get('depth', (1, 2, 10)),
      heads=tuple(map(lambda w, h: keys.heads(w, h, 'num_heads'), width,
                      heads)),
      mlp=tuple(int(w * ratio) for w, ratio in zip(
          width, keys.numbers('mlp_ratio', (4.0,) * stages, 0.1, stages))),
      kernels=get('patch_sizes', (7, 3, 3)),
      strides=get('patch_stride', (4, 2, 2)),
      paddings=get('patch_padding', (2, 1, 1), 0),
      key_strides=get('stride_kv', every(2)),
      qkv_bias=keys.flags('qkv_bias', every(True)), activation='gelu', eps=1e-5,
      mean=ready.mean, std=ready.std, ats=None)
  return Description(
      keys.where, model, dict(num_answers=len(names), image_size=_side(
          ready.size or (224, 224))), names, ready.fit)


def _pvt_v2(keys, pictures, tensors):
  width = keys.numbers('hidden_sizes', (32, 64, 160, 256), 1, whole=True)
  stages = len(width)
  get = lambda key, default: keys.numbers(key, default, 1, stages, whole=True)
  keys.only('num_channels', 3)
  keys.only('num_encoder_blocks', stages)
  ready = pictures_lib.read(pictures, _folder(keys), pixels.MEAN, pixels.STD)
  places = _places(keys)
  names = labels(keys, _classes(tensors))
  kernels, eps = get('patch_sizes', (7, 3, 3, 3)), keys.number(
      'layer_norm_eps', 1e-6)
  # Ratios are declared as whole numbers there, and multiplied as they are.
  ratios = keys.numbers('mlp_ratios', (8, 8, 4, 4), 0.1, stages)
  model = dict(
      name='pvt', width=width, num_layers=get('depths', (2, 2, 2, 2)),
      heads=tuple(keys.heads(w, h, 'num_attention_heads') for w, h in zip(
          width, get('num_attention_heads', (1, 2, 5, 8)))),
      mlp=tuple(int(w * ratio) for w, ratio in zip(width, ratios)),
      reductions=get('sr_ratios', (8, 4, 2, 1)), kernels=kernels,
      strides=get('strides', (4, 2, 2, 2)),
      paddings=tuple(size // 2 for size in kernels),
      linear=keys.flag('linear_attention', False),
      qkv_bias=keys.flag('qkv_bias', True), activation=keys.activation(),
      eps=eps, reduction_eps=eps, mean=ready.mean, std=ready.std)
  return Description(
      keys.where, model, dict(num_answers=len(names), image_size=_side(
          ready.size or places)), names, ready.fit)


def _timesformer(keys, pictures, tensors):
  keys.only('num_channels', 3)
  keys.only('attention_type', 'divided_space_time')
  ready = pictures_lib.read(pictures, _folder(keys), (0.45,) * 3, (0.225,) * 3)
  side = keys.side('image_size', 224)
  if ready.size not in (None, (side, side)):
    raise ValueError(
        f'{keys.where}: image_size is {side}, but the preprocessor makes '
        f'frames of {ready.size[0]} x {ready.size[1]}, and places of frames '
        'are not resized here. Make both the same.')
  names = labels(keys, _classes(tensors))
  model = _transformer(keys, 1e-6, free_heads=False) | dict(
      name='timesformer', patch=keys.side('patch_size', 16),
      qkv_bias=keys.flag('qkv_bias', True), mean=ready.mean,
      std=ready.std, ats=None)
  clip = (keys.count('num_frames', 8, 1024), side, side)
  return Description(keys.where, model, dict(
      num_answers=len(names), clip_size=clip), names,
                     ready.fit if ready.size else 'crop')


def _bert(keys, pictures, tensors):
  del pictures, tensors
  why = 'as in all published ones'
  keys.only('hidden_act', 'gelu', why=why)
  keys.only('layer_norm_eps', 1e-12, why=why)
  keys.only('position_embedding_type', 'absolute', why=why)
  keys.only('type_vocab_size', 2, why=why)
  keys.get('id2label')
  width = keys.count('hidden_size', 768)
  model = dict(
      width=width, heads=keys.heads(width, keys.count(
          'num_attention_heads', 12), 'num_attention_heads'),
      mlp=keys.count('intermediate_size', 3072),
      num_layers=keys.count('num_hidden_layers', 12),
      max_positions=keys.count('max_position_embeddings', 512))
  return Description(keys.where, model, dict(
      vocab_size=keys.count('vocab_size', 30522)), part=True)


_KINDS: dict[str, Callable] = {
    'vit': _vit, 'deit': _deit, 'dinov2': _dinov2,
    'dinov2_with_registers': _dinov2_with_registers, 'cvt': _cvt,
    'pvt_v2': _pvt_v2, 'timesformer': _timesformer, 'bert': _bert}
