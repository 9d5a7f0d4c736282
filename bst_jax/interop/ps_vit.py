"""The official PS-ViT <-> models/ps_vit.py.

One linear layer tells where tokens are. Files hold it as `pos_layer` and again
in every sampling layer; it is read once and written once, and torch, whose
modules share it, fills all of them (with strict=False, as the grid of points,
which is no weight, is not written either).
"""
from bst_jax.interop.core import (
  conv_norm_rows,
  LINEAR,
  LINEAR_FROM_HEADS,
  linear_rows,
  lone,
  norm_rows,
)
import numpy as np


def _block(foreign, ours):
  """A bottleneck of the stem."""
  pairs = [((f'{foreign}.conv{i}', f'{foreign}.bn{i}'),
            (f'{ours}/conv{i}', f'{ours}/norm{i}')) for i in (1, 2, 3)]
  pairs.append(((f'{foreign}.downsample.0', f'{foreign}.downsample.1'),
                (f'{ours}/shortcut', f'{ours}/shortcut_norm')))
  return tuple(row for pair in pairs for row in conv_norm_rows(*pair))


def _layer(foreign, ours):
  """A layer of a transformer; queries, keys and values have no biases."""
  fused = tuple(f'{ours}/attention/{name}/kernel'
                for name in ('query', 'key', 'value'))
  return (*norm_rows(f'{foreign}.norm1', f'{ours}/norm1'),
          (f'{foreign}.attn.qkv.weight', fused, LINEAR),
          *linear_rows(f'{foreign}.attn.proj', f'{ours}/attention/out',
                       LINEAR_FROM_HEADS),
          *norm_rows(f'{foreign}.norm2', f'{ours}/norm2'),
          *linear_rows(f'{foreign}.mlp.fc1', f'{ours}/ffn/fc1'),
          *linear_rows(f'{foreign}.mlp.fc2', f'{ours}/ffn/fc2'))


def adapt(foreign, target):
  """Checks that what layers share is the same, and names it once."""
  del target
  new = dict(foreign)
  for leaf in ('weight', 'bias'):
    name = f'pos_layer.{leaf}'
    copies = [key for key in foreign if key.startswith('ps_layers.')
              and key.endswith(f'.position_layer.{leaf}')]
    if copies:
      new.setdefault(name, foreign[copies[0]])
    for key in copies:
      if not np.array_equal(foreign[key], new[name]):
        raise ValueError(
            f'{key} differs from {name}: layers of this checkpoint have places '
            'of their own, and PS-ViT shares them. No table reads such a file.')
  return new


TABLE = (
    *conv_norm_rows(('stem.0', 'stem.1'), ('stem/conv', 'stem/norm')),
    *_block('stem.4', 'stem/block_0'),
    *_block('stem.5', 'stem/block_1'),
    *linear_rows('pos_layer', 'places'),
    *_layer('ps_layers.{i}.transformer_layer', 'sampling/layer_{i}/transformer'),
    *linear_rows('ps_layers.{i}.offset_layer', 'sampling/layer_{i}/offset'),
    *_layer('trans_layers.{i}', 'encoder/layer_{i}'),
    ('cls_token', 'class_token', lone(2)),
    *norm_rows('norm', 'norm'),
    *linear_rows('head', 'head'),
)
IGNORED = (r'.*\.num_batches_tracked', 'point_coord',
           r'ps_layers\.\d+\.position_layer\..*')
RENAMES = ((r'^module\.', ''),)
ADAPT = adapt
PARTIAL = False
