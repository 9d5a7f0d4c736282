"""Models of ours as transformers has them: the inverse of `hugging_face`."""
from collections.abc import Callable, Mapping
import dataclasses
import math
from typing import Any

from bst_jax.elastic import Sizes
from bst_jax.interop.folders.description import ACTIVATIONS
from flax import linen as nn
import numpy as np

# Names of activations there, the usual one of each.
_ACTIVATIONS = {'gelu_tanh': 'gelu_pytorch_tanh'} | {
    name: name for name in ACTIVATIONS.values() if name in ACTIVATIONS}
# The eps of CvT, which its code there does not read from a file.
_CVT_EPS = 1e-5
# Tables that write a model's weights as a file.
_TABLES = {'vit': 'timm_vit', 'mcan': 'mcan_bst', 'pvt': 'pvt_v2'}


class NotThere(ValueError):
  """A model that no class of transformers can hold."""


@dataclasses.dataclass(frozen=True)
class Standard:
  """A model as transformers has it.

  Attributes:
    kind: the words before `For…` and `Model` in the names of its classes.
    head: the words behind it in that of its classifier.
    table: whose names the tensors of its files have.
    config: of config.json, but for the classes.
    prefix: what the names begin with, there and by the table.
    extra: tensors that it has and ours lacks, which change no output.
  """

  kind: str
  head: str
  table: str
  config: Mapping[str, Any]
  prefix: tuple[str, str] = ('', '')
  extra: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

  def tensors(self, ours: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors of its file, of those that the table writes."""
    there, by_table = self.prefix
    return {(there + name.removeprefix(by_table)
             if by_table and name.startswith(by_table) else name): value
            for name, value in (*ours.items(), *self.extra.items())}


def of(model: nn.Module, name: str) -> Standard:
  """What transformers has for a model.

  Args:
    model: the module.
    name: of the backbone, as `config.model.name`.

  Raises:
    NotThere: nothing; the error says what the model has that no class holds.
  """
  if name not in _MODELS:
    raise NotThere(_sentence(
        name, f'is of the backbone {name}',
        file=name in ('mcan', 'uniter', 'clip_vil', 'ps_vit', 'xvit')))
  for path in getattr(model, 'skip', ()) or ():
    raise NotThere(_sentence(name, f'has an adapter instead of {path}',
                             file=False))
  if getattr(model, 'adapter', 0) and model.skip is None:
    raise NotThere(_sentence(name, 'has adapters beside its layers, which may '
                             'be skipped', file=False))
  ats = getattr(model, 'ats', None)
  if ats and ats.blocks:
    raise NotThere(_sentence(
        name, 'samples tokens in layers '
        f'{", ".join(map(str, ats.blocks))} (ats.blocks)'))
  for field in ('heads', 'mlp', 'head_dim'):
    sizes = getattr(model, field)
    for size in sizes if isinstance(sizes, tuple) else (sizes,):
      if isinstance(size, Sizes):
        path, other = size.other[0]
        raise NotThere(_sentence(
            name, f'has layers of unequal sizes: {field} is {size.usual}, but '
            f'{other} at {path}'))
  return _MODELS[name](model)


def _sentence(name, what, file=True):
  """What a model has, that it cannot be written, and what would work."""
  table = (f' Write the weights as a file, --table {_TABLES.get(name, name)} '
           '--output NAME.safetensors, or export' if file else ' Export')
  return (f'--output is to be a folder for transformers, but the model {what}, '
          f'and no class there holds such a one.{table} the model to ONNX: '
          'bst-jax export --format onnx.')


def _check(condition, name, what):
  if not condition:
    raise NotThere(_sentence(name, what))


def _transformer(model, name, free_heads):
  """Settings that all plain transformers name alike.

  `free_heads`: its code there reads `head_dim`.
  """
  width, heads = model.width, model.heads
  config = dict(
      hidden_size=width, num_attention_heads=heads,
      num_hidden_layers=model.num_layers, qkv_bias=model.qkv_bias,
      hidden_act=_ACTIVATIONS[model.activation], layer_norm_eps=model.eps,
      patch_size=model.patch, num_channels=3)
  channels = model.head_dim or width // heads
  if channels * heads != width:
    _check(free_heads, name, f'has {heads} heads of {channels} channels in a '
           f'width of {width}')
    config['head_dim'] = channels
  return config


def _vit(model):
  """ViT, DeiT with one or two heads, or DINOv2 with or without registers."""
  size = model.image_size
  config = _transformer(model, 'vit', True) | dict(
      image_size=size if isinstance(size, int) else list(size))
  if model.head_reads == 'class_mean' and model.layer_scale is not None:
    return _dinov2(model, config)
  for what, there in (
      ('LayerScale and a head of the class token', model.layer_scale is not None),
      ('register tokens and no LayerScale', model.registers > 0),
      ("a head of the patches' mean and no LayerScale",
       model.head_reads == 'class_mean')):
    _check(not there, 'vit', f'has {what}')
  config['intermediate_size'] = model.mlp
  if not model.distilled:
    return Standard('ViT', 'ForImageClassification', 'hf_vit_4',
                    config | dict(model_type='vit'))
  config['model_type'] = 'deit'
  if model.distilled_head:
    return Standard('DeiT', 'ForImageClassificationWithTeacher', 'hf_deit_4',
                    config)
  return Standard('DeiT', 'ForImageClassification', 'hf_deit_single_4', config)


def _dinov2(model, config):
  """Its mask token, which only pre-training reads, is one of zeros."""
  width, mlp = model.width, model.mlp
  _check(mlp % width == 0, 'vit', f'has {mlp} hidden units in a width of '
         f'{width}, which is no whole ratio, as DINOv2 has it')
  config |= dict(mlp_ratio=mlp // width, layerscale_value=model.layer_scale,
                 use_swiglu_ffn=False)
  head, table = 'ForImageClassification', 'hf_dinov2'
  if not model.registers:
    return Standard('Dinov2', head, table, config | dict(
        model_type='dinov2', use_mask_token=False))
  kind = 'dinov2_with_registers'
  config |= dict(model_type=kind, num_register_tokens=model.registers)
  return Standard(
      'Dinov2WithRegisters', head, table, config,
      (f'{kind}.', 'dinov2.'), {f'{kind}.embeddings.mask_token': np.zeros(
          (1, width), np.float32)})


def _cvt(model):
  stages = range(len(model.width))
  every = lambda value: [value for _ in stages]
  _check(model.activation == 'gelu', 'cvt', f'has activation='
         f"{model.activation!r}, where theirs has 'gelu'")
  _check(model.eps == _CVT_EPS, 'cvt',
         f'has eps={model.eps}, where theirs has {_CVT_EPS}')
  for i in stages:
    width, heads = model.width[i], model.heads[i]
    channels = model.head_dim and model.head_dim[i] or width // heads
    _check(channels * heads == width, 'cvt', f'has {heads} heads of {channels} '
           f'channels in a width of {width}')
    _check(model.num_layers[i] > i, 'cvt', f'has {model.num_layers[i]} layers '
           f'in stage {i + 1}, where their code needs {i + 1}')
  config = dict(
      model_type='cvt', num_channels=3, embed_dim=list(model.width),
      num_heads=list(model.heads), depth=list(model.num_layers),
      mlp_ratio=[ratio(m, w) for m, w in zip(model.mlp, model.width)],
      patch_sizes=list(model.kernels), patch_stride=list(model.strides),
      patch_padding=list(model.paddings), qkv_bias=list(model.qkv_bias),
      cls_token=[i == len(stages) - 1 for i in stages],
      qkv_projection_method=every('dw_bn'), kernel_qkv=every(3),
      padding_kv=every(1), stride_kv=list(model.key_strides),
      padding_q=every(1), stride_q=every(1), attention_drop_rate=every(0.0),
      drop_rate=every(0.0), drop_path_rate=every(0.0))
  # torch counts the batches that statistics are of; nothing reads that.
  counted = {
      f'cvt.encoder.stages.{i}.layers.{j}.attention.attention.'
      f'convolution_projection_{name}.convolution_projection.normalization.'
      'num_batches_tracked': np.zeros((), np.int64)
      for i in stages for j in range(model.num_layers[i])
      for name in ('query', 'key', 'value')}
  return Standard('Cvt', 'ForImageClassification', 'hf_cvt', config,
                  extra=counted)


def _pvt(model):
  _check(model.eps == model.reduction_eps, 'pvt',
         f'has eps={model.eps} in layers and reduction_eps='
         f'{model.reduction_eps} behind convolutions, where theirs has one')
  ratios = []
  for i, (width, heads, mlp, reduced, size, padding) in enumerate(zip(
      model.width, model.heads, model.mlp, model.reduced, model.kernels,
      model.paddings)):
    channels = model.head_dim and model.head_dim[i] or width // heads
    _check(channels * heads == width, 'pvt', f'has {heads} heads of {channels} '
           f'channels in a width of {width}')
    _check(reduced == width, 'pvt', f'has {reduced} channels in the coarser '
           f'grid of stage {i}, whose width is {width}')
    _check(padding == size // 2, 'pvt', f'pads windows of {size} by {padding}')
    _check(mlp % width == 0, 'pvt', f'has {mlp} hidden units in a width of '
           f'{width}, which is no whole ratio, as theirs has it')
    ratios.append(mlp // width)
  size = model.image_size
  config = dict(
      model_type='pvt_v2', num_channels=3, num_encoder_blocks=len(model.width),
      image_size=size if isinstance(size, int) else list(size),
      hidden_sizes=list(model.width), depths=list(model.num_layers),
      num_attention_heads=list(model.heads), mlp_ratios=ratios,
      sr_ratios=list(model.reductions), patch_sizes=list(model.kernels),
      strides=list(model.strides), linear_attention=model.linear,
      qkv_bias=model.qkv_bias, hidden_act=_ACTIVATIONS[model.activation],
      layer_norm_eps=model.eps)
  return Standard('PvtV2', 'ForImageClassification', 'hf_pvt_v2', config)


def ratio(hidden: int, width: int) -> float:
  """The ratio of which the whole part, times the width, is `hidden`."""
  ratio = hidden / width
  while int(width * ratio) < hidden:  # Rounding may fall short.
    ratio = math.nextafter(ratio, math.inf)
  return ratio


def _timesformer(model):
  frames, height, width = model.clip_size
  _check(height == width, 'timesformer', f'reads frames of {height} x {width}, '
         'where theirs reads squares')
  config = _transformer(model, 'timesformer', False) | dict(
      model_type='timesformer', intermediate_size=model.mlp,
      image_size=height, num_frames=frames,
      attention_type='divided_space_time')
  return Standard('Timesformer', 'ForVideoClassification', 'hf_timesformer',
                  config)


_MODELS: dict[str, Callable] = {
    'vit': _vit, 'cvt': _cvt, 'pvt': _pvt, 'timesformer': _timesformer}
