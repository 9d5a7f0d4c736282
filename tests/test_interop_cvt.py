"""Checkpoint families of CvT: strict, and there and back."""
from bst_jax import convert, elastic
from bst_jax.interop import core
import models
import numpy as np
import pytest


@pytest.mark.parametrize('name', ['cvt', 'hf_cvt'])
def test_there_and_back(name):
  model = models.backbones.create(models.TINY['cvt'][0] | dict(
      width=(4, 8, 12), heads=(1, 2, 3), mlp=(8, 16, 24), num_layers=(1, 2, 3),
      kernels=(7, 3, 3), strides=(4, 2, 1), paddings=(2, 1, 1)))
  params, _ = models.prepare(model, models.batch_of('image'))
  table = convert.table(name)
  foreign = core.write(table.TABLE, params)
  # 4 in front of each stage, 31 in each layer, and 5 around the last stage.
  assert len(foreign) == 3 * 4 + 6 * 31 + 5
  counters = {name.replace('running_var', 'num_batches_tracked'): np.int64(7)
              for name in foreign if name.endswith('running_var')}
  assert len(counters) == 6 * 3
  back = core.read(table.TABLE, foreign | counters, params, table.IGNORED,
                   table.RENAMES)
  for path, value in elastic.flatten(params).items():
    np.testing.assert_array_equal(
        elastic.flatten(back)[path], value, err_msg=path)
  del foreign[next(iter(foreign))]
  with pytest.raises(ValueError, match='1 missing'):
    core.read(table.TABLE, foreign, params, table.IGNORED, table.RENAMES)
