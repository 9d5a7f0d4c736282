"""Reads the golden MCAN-BST files: model, parameters, batch, arrays."""
import ast
import pathlib

from bst_jax import elastic
from bst_jax.interop import core, mcan_bst
from bst_jax.models import mcan
import jax
import numpy as np

HERE = pathlib.Path(__file__).parent / 'golden'


def load(form):
  """Model, parameters, axis names, batch and raw arrays of one file."""
  arrays = dict(np.load(HERE / f'mcan_bst_{form}.npz'))
  meta = ast.literal_eval(str(arrays['meta']))
  model = mcan.Model(
      vocab_size=meta['vocab'], num_answers=meta['answers'],
      feature_size=meta['feat'], width=meta['width'], heads=meta['heads'],
      mlp=meta['mlp'], fused=meta['fused'], num_layers=meta['layers'],
      word=meta['word'], box_size=meta['box_embed'],
      recurrent=arrays['param/lstm.weight_hh_l0'].shape[1],
      image_norm=form == 'vqa')
  batch = {k: arrays[f'in/{k}'] for k in ('tokens', 'regions', 'boxes')}
  boxed = jax.eval_shape(model.init, jax.random.key(0), batch)['params']
  foreign = {k.removeprefix('param/'): v for k, v in arrays.items()
             if k.startswith('param/')}
  params = core.read(mcan_bst.TABLE, foreign, elastic.unbox(boxed))
  return model, params, elastic.names(boxed), batch, arrays
