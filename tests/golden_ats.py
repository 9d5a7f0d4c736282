"""Reads the golden files of adaptive token sampling."""
import functools

from bst_jax import elastic
from bst_jax.interop import core, timm_vit
from bst_jax.models.vit import Model
import golden_bert
import jax


def model_of(meta, **ats):
  """The model of `ats_vit`; the plain one without arguments of an `Ats`."""
  return Model(
      num_answers=meta['classes'], image_size=meta['image'],
      patch=meta['patch'], width=meta['width'], heads=meta['heads'],
      mlp=int(meta['width'] * meta['mlp_ratio']), num_layers=meta['depth'],
      ats=ats)


@functools.cache
def vit():
  """Arrays, sizes, pictures and parameters of `ats_vit`."""
  arrays, meta = golden_bert.read('ats_vit')
  batch = {'image': arrays['in/image'].transpose(0, 2, 3, 1)}
  boxed = jax.eval_shape(
      model_of(meta).init, jax.random.key(0), batch)['params']
  params = core.read(
      timm_vit.TABLE, golden_bert.foreign_of(arrays), elastic.unbox(boxed),
      timm_vit.IGNORED, timm_vit.RENAMES)
  return arrays, meta, batch, params
