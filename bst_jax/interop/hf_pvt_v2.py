"""Hugging Face's PVTv2 <-> models/pvt.py, with reduction_eps=eps.

Its code gives all normalisations one eps, where the official one gives two.
"""
from bst_jax.interop.core import linear_rows
from bst_jax.interop.pvt_v2 import stage_rows

_NAMES = {
    'norm1': 'layer_norm_1', 'norm2': 'layer_norm_2',
    'query': 'attention.query', 'key': 'attention.key',
    'value': 'attention.value', 'out': 'attention.proj',
    'reduction': 'attention.spatial_reduction',
    'reduction_norm': 'attention.layer_norm', 'fc1': 'mlp.dense1',
    'fc2': 'mlp.dense2', 'conv': 'mlp.dwconv.dwconv'}


def _stage(stage):
  foreign = f'pvt_v2.encoder.layers.{stage}'
  embed = f'{foreign}.patch_embedding'
  return stage_rows(
      stage, (f'{embed}.proj', f'{embed}.layer_norm'),
      f'{foreign}.blocks.{{i}}', f'{foreign}.layer_norm', _NAMES)


# As many stages as any of its files has.
TABLE = (*(row for stage in range(8) for row in _stage(stage)),
         *linear_rows('classifier', 'head'))
# Files of the encoder alone lack the prefix.
RENAMES = ((r'^encoder\.', 'pvt_v2.encoder.'),)
PARTIAL = False
