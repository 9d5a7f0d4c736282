"""METER as released, with the adapters of DAS or without <-> models/meter.py."""
from collections.abc import Mapping
import math
import re

from absl import logging
from bst_jax.elastic import flatten
from bst_jax.interop import bert
from bst_jax.interop.core import (
  CONV,
  COPY,
  LINEAR,
  linear,
  LINEAR_FROM_HEADS,
  linear_rows,
  lone,
  norm_rows,
  VECTOR,
)
from bst_jax.interop.vilt import (
  adapter_of,
  adapter_rows,
  head_rows,
  ITM,
  KINDS,
  RANK,
  words_rows,
)
from bst_jax.layers.tokens import resize_positions
import numpy as np

# A stream: in foreign layers, in the list of skip adapters, in ours.
_STREAMS = (('text', 'l', 'text_fusion'), ('image', 'v', 'image_fusion'))
IMAGE = 'image_tower'


def clip_rows(foreign):
  """CLIP's encoder of pictures as released, under a foreign prefix."""
  layer = f'{IMAGE}/encoder/layer_{{i}}'
  block = f'{foreign}transformer.resblocks.{{i}}'
  fused = lambda leaf: tuple(
      f'{layer}/attention/{name}/{leaf}' for name in ('query', 'key', 'value'))
  return (
      (f'{foreign}class_embedding', f'{IMAGE}/class_token', COPY),
      (f'{foreign}positional_embedding', f'{IMAGE}/positions', COPY),
      (f'{foreign}conv1.weight', f'{IMAGE}/patches/proj/kernel', CONV),
      *norm_rows(f'{foreign}ln_pre', f'{IMAGE}/norm_before'),
      *norm_rows(f'{foreign}ln_post', f'{IMAGE}/norm'),
      *norm_rows(f'{block}.ln_1', f'{layer}/norm1'),
      *norm_rows(f'{block}.ln_2', f'{layer}/norm2'),
      (f'{block}.attn.in_proj_weight', fused('kernel'), LINEAR),
      (f'{block}.attn.in_proj_bias', fused('bias'), VECTOR),
      *linear_rows(f'{block}.attn.out_proj', f'{layer}/attention/out',
                   LINEAR_FROM_HEADS),
      *linear_rows(f'{block}.mlp.c_fc', f'{layer}/ffn/fc1'),
      *linear_rows(f'{block}.mlp.c_proj', f'{layer}/ffn/fc2'))


def roberta_rows(foreign):
  """RoBERTa under a foreign prefix, without its pooler."""
  table = lambda name, ours: (
      f'{foreign}embeddings.{name}_embeddings.weight',
      f'text_tower/{ours}/table', COPY)
  return (table('word', 'words'), table('position', 'positions'),
          table('token_type', 'types'),
          *norm_rows(f'{foreign}embeddings.LayerNorm', 'text_tower/norm'),
          *bert.layer_rows(f'{foreign}encoder.layer.{{i}}',
                           'text_tower/encoder/layer_{i}'))


def resized(places: str, foreign: Mapping[str, np.ndarray],
            target) -> dict[str, np.ndarray]:
  """The tensors with places of our grid, by cubic convolution of -0.75.

  Args:
    places: foreign name of the table [1 + h w, d].
    foreign: tensors by name.
    target: our parameters or their shapes.
  """
  new, want = dict(foreign), target[IMAGE]['positions'].shape[0] - 1
  have = len(new.get(places, ())) - 1
  sides = math.isqrt(max(have, 0)), math.isqrt(want)
  if have != want and [n ** 2 for n in sides] == [have, want]:
    logging.info('The places of %d x %d patches are resized to %d x %d.',
                 sides[0], sides[0], sides[1], sides[1])
    new[places] = np.asarray(resize_positions(
        new[places], 1, *((side, side) for side in sides), 'bicubic'))
  return new


def shortened(places: str, layer: str):
  """An ADAPT of CLIP's encoder: places of our grid, and as many layers as ours.

  Args:
    places: foreign name of the table of places.
    layer: pattern of foreign names in a layer, whose group is its number.
  """
  pattern = re.compile(layer)

  def adapt(foreign: Mapping[str, np.ndarray], target) -> dict[str, np.ndarray]:
    layers = _layers_of(target, IMAGE)
    return {name: x for name, x in resized(places, foreign, target).items()
            if not (found := pattern.match(name)) or int(found[1]) < layers}

  return adapt


def _layers_of(target, tower):
  """How many layers an encoder of ours has."""
  return sum(name.startswith('layer_') for name in target[tower]['encoder'])


def _fusion_rows(stream, letter, ours):
  """The layers of a stream, and what may run in their places."""
  foreign = f'cross_modal_{stream}_layers.{{i}}'
  ours = f'{ours}/layer_{{i}}'
  rows = ()
  for theirs, branch, norm in (('attention', 'attention', 'norm1'),
                               ('crossattention', 'cross', 'norm2')):
    one = f'{foreign}.{theirs}'
    for name in ('query', 'key', 'value'):
      rows += linear_rows(f'{one}.self.{name}', f'{ours}/{branch}/{name}')
    rows += (*linear_rows(f'{one}.output.dense', f'{ours}/{branch}/out',
                          LINEAR_FROM_HEADS),
             *norm_rows(f'{one}.output.LayerNorm', f'{ours}/{norm}'),
             *adapter_rows(f'{one}.output.adapter',
                           f'{ours}/adapter_{branch}'))
  return (*rows, *linear_rows(f'{foreign}.intermediate.dense', f'{ours}/ffn/fc1'),
          *linear_rows(f'{foreign}.output.dense', f'{ours}/ffn/fc2'),
          *norm_rows(f'{foreign}.output.LayerNorm', f'{ours}/norm3'),
          *adapter_rows(f'{foreign}.adapter', f'{ours}/adapter_ffn'),
          *adapter_rows(f'adapter_list_{letter}.{{i}}.0',
                        ours.replace('layer_', 'skip_layer_')))


FUSION = (
    *(row for stream in _STREAMS for row in _fusion_rows(*stream)),
    *linear_rows('cross_modal_text_pooler.dense', 'text_pooler'),
    *linear_rows('cross_modal_image_pooler.dense', 'image_pooler'),
    *head_rows('vqa_classifier', 'head', LINEAR_FROM_HEADS),
)
TABLE = (
    *clip_rows('vit_model.visual.'),
    *roberta_rows('text_transformer.'),
    *linear_rows('cross_modal_text_transform', 'text_transform'),
    *linear_rows('cross_modal_image_transform', 'image_transform'),
    (KINDS, 'types/table', COPY),
    ('token4classifier', 'class_prompt', lone(2)),
    *FUSION,
    *head_rows('nlvr2_classifier', 'pair_head', linear(3)),
    *linear_rows(RANK, 'match_head', LINEAR_FROM_HEADS),
    *words_rows('mlm_score.bias'),
)
# Heads of pre-training, RoBERTa's pooler, what is left of CLIP's text side,
# buffers, what a search keeps of its gates.
IGNORED = (r'mlm_score\..*', r'itm_score\..*', r'snli_classifier\..*',
           r'text_transformer\.pooler\..*', r'.*\.position_ids',
           r'vit_model\.(?!visual\.).*', r'skip_num', r'das_gate')
RENAMES = bert.OLD_SPELLINGS
PARTIAL = False
HEAD = 'head', 'pair_head', 'match_head', 'words_head'


_FILLED = adapter_of(KINDS, ITM, RANK, 'types')


def ADAPT(foreign: Mapping[str, np.ndarray], target) -> dict[str, np.ndarray]:
  """Places of our grid; and what only fine-tuned models have, see `vilt`.

  The learnt first token starts as RoBERTa embeds it, where the model has one.
  """
  check_encoders(foreign, target)
  new = resized('vit_model.visual.positional_embedding', foreign, target)
  new = _FILLED(new, target)
  words = 'text_transformer.embeddings.word_embeddings.weight'
  if 'class_prompt' in target and 'token4classifier' not in new and words in new:
    new['token4classifier'] = _first_token(new)[None, None]
  return new


# What tells encoders apart: in words, the option, foreign name and dimension, ours.
_TELLS = (
    ('pixels along a patch', 'patch', 'vit_model.visual.conv1.weight', 2,
     f'{IMAGE}/patches/proj/kernel', 0),
    ('channels of pictures', 'image_width', 'vit_model.visual.conv1.weight', 0,
     f'{IMAGE}/patches/proj/kernel', 3),
    ('words', 'vocab_size',
     'text_transformer.embeddings.word_embeddings.weight', 0,
     'text_tower/words/table', 0),
    ('channels of texts', 'text_width',
     'text_transformer.embeddings.word_embeddings.weight', 1,
     'text_tower/words/table', 1))
_LAYERS = (('layers of pictures', 'image_layers',
            r'vit_model\.visual\.transformer\.resblocks\.(\d+)\..*', IMAGE),
           ('layers of texts', 'text_layers',
            r'text_transformer\.encoder\.layer\.(\d+)\..*', 'text_tower'))


def check_encoders(foreign: Mapping[str, np.ndarray], target) -> None:
  """Raises where a checkpoint has other encoders than our model.

  Args:
    foreign: tensors by name.
    target: our parameters or their shapes.
  """
  ours, found = flatten(target), []
  for what, option, name, dimension, path, own in _TELLS:
    if name in foreign:
      found.append((what, option, foreign[name].shape[dimension],
                    ours[path].shape[own]))
  for what, option, pattern, tower in _LAYERS:
    numbers = {int(match[1]) for name in foreign
               if (match := re.fullmatch(pattern, name))}
    if numbers:
      found.append((what, option, len(numbers), _layers_of(target, tower)))
  apart = [one for one in found if one[2] != one[3]]
  if apart:
    raise ValueError(
        'the checkpoint has other encoders than the config: '
        + ', '.join(f'{there} {what} where the config has {here}'
                    for what, _, there, here in apart)
        + '. Set ' + ', '.join(f'config.model.{option}={there}'
                               for _, option, there, _ in apart)
        + (', and padding and max_positions to those of its text encoder'
           if any(option == 'vocab_size' for _, option, *_ in apart) else '')
        + '.')


def _first_token(tensors, padding=1):
  """RoBERTa's embedding of its first token, <s> = 0, normalised."""
  inner = 'text_transformer.embeddings.'
  x = (tensors[f'{inner}word_embeddings.weight'][0]
       + tensors[f'{inner}position_embeddings.weight'][padding + 1]
       + tensors[f'{inner}token_type_embeddings.weight'][0])
  x = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
  return (x * tensors[f'{inner}LayerNorm.weight']
          + tensors[f'{inner}LayerNorm.bias']).astype(np.float32)
