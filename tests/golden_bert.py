"""Reads the golden UNITER and CLIP-ViL files; the checks that both share."""
import ast
import pathlib

from bst_jax import elastic
from bst_jax.elastic import Submodel
from bst_jax.interop import core
from bst_jax.tasks import losses
import jax
import models
import numpy as np

HERE = pathlib.Path(__file__).parent / 'golden'
PAIRS = [Submodel(w, d) for w in ('1/4', '1/2', '3/4', '1')
         for d in ('1/6', '1/3', '2/3', '1')]


def read(name):
  """Arrays and sizes of a file."""
  arrays = dict(np.load(HERE / f'{name}.npz'))
  return arrays, ast.literal_eval(str(arrays['meta']))


def sizes(meta):
  """Arguments that both models take."""
  return dict(vocab_size=meta['vocab'], num_answers=meta['answers'],
              width=meta['width'], heads=meta['heads'], mlp=meta['mlp'],
              fused=2 * meta['width'], num_layers=meta['layers'],
              max_positions=meta['positions'])


def foreign_of(arrays):
  """The published tensors of a file."""
  return {k.removeprefix('param/'): v for k, v in arrays.items()
          if k.startswith('param/')}


def params_of(model, batch, table, arrays):
  """The file's parameters in our tree."""
  boxed = jax.eval_shape(model.init, jax.random.key(0), batch)['params']
  return core.read(table.TABLE, foreign_of(arrays), elastic.unbox(boxed),
                   table.IGNORED, table.RENAMES)


def close(got, want, tolerance):
  got = np.asarray(got)
  assert got.shape == want.shape
  return np.abs(got - want).max() <= tolerance * np.abs(want).max()


def loss_of(logits, arrays, reduction):
  """The original's loss, by the name of its reduction."""
  each = losses.binary_cross_entropy(logits, arrays['in/targets'])
  return losses.reduce(each, np.ones(len(each)), logits.shape[1], reduction)


def outputs_of(model, params, batch, *names):
  """Logits, and the outputs of the named modules."""
  logits, kept = model.apply(
      {'params': params}, batch, mutable=['intermediates'],
      capture_intermediates=lambda module, _: module.name in names)
  return models.only(logits), {name: kept['intermediates'][name]['__call__'][0]
                  for name in names}


def gradients_of(arrays):
  """The gradients of published tensors that a file holds."""
  return {k.removeprefix('grad/param/'): v for k, v in arrays.items()
          if k.startswith('grad/param/')}
