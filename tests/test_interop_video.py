"""Checkpoint families of video networks: strict, and there and back."""
from bst_jax import convert, elastic
from bst_jax.interop import core, timesformer
from bst_jax.run import experiment
from configs import ats_timesformer
import models
import numpy as np
import pytest

# Table -> its model, and the place table of its times.
TABLES = {'timesformer': ('timesformer', 'model.time_embed'),
          'hf_timesformer': ('timesformer',
                             'timesformer.embeddings.time_embeddings'),
          'xvit': ('xvit', 'base_model.temp_embed')}


@pytest.mark.parametrize('name', TABLES)
def test_there_and_back(name):
  backbone, times = TABLES[name]
  _, _, params, _ = models.build(backbone, num_layers=2)
  table = convert.table(name)
  foreign = core.write(table.TABLE, params)
  read = lambda foreign: core.read(table.TABLE, foreign, params, table.IGNORED,
                                   table.RENAMES)
  back = elastic.flatten(read(foreign))
  for path, value in elastic.flatten(params).items():
    np.testing.assert_array_equal(back[path], value, err_msg=path)
  # Places of other clips do not fit, and nobody guesses.
  with pytest.raises(ValueError, match=f'1 misshapen .{times} .1, 9,'):
    read(foreign | {times: np.zeros((1, 9, *foreign[times].shape[2:]))})
  del foreign[next(iter(foreign))]
  with pytest.raises(ValueError, match='1 missing'):
    read(foreign)


def test_every_tensor_of_the_published_timesformer_has_a_row():
  config = ats_timesformer.get_config('base')
  exp = experiment.build(config, dict(config.data.sizes))
  names = {name for name, _, _ in core.rows_for(
      timesformer.TABLE, list(elastic.flatten(exp.shapes)))}
  # 5 around the layers, 2 + 2 of norm and head; in each of 12 layers three
  # norms, two attentions of two, and three linear layers, of two each.
  assert len(names) == 9 + 12 * 20
  assert not core.unsourced(timesformer.TABLE, exp.shapes)
