"""Checkpoint families of vision transformers: strict, and there and back."""
from bst_jax import convert, elastic
from bst_jax.interop import core, files, timm_vit
from bst_jax.run import experiment
from bst_jax.store import checkpoint
from configs import ats_deit_s
import golden_ats
import golden_bert
import models
import numpy as np
import pytest

TABLES = {'hf_vit': 'plain', 'hf_vit_4': 'plain', 'timm_vit': 'both',
          'hf_deit': 'both', 'hf_deit_4': 'both', 'hf_deit_single': 'token',
          'hf_deit_single_4': 'token'}
VARIANTS = {'plain': {}, 'both': dict(distilled=True),
            'token': dict(distilled=True, distilled_head=False)}


@pytest.mark.parametrize('name', TABLES)
def test_there_and_back(name):
  changes = dict(ats=None, distilled=False) | VARIANTS[TABLES[name]]
  _, _, params, _ = models.build('vit_ats', num_layers=2, **changes)
  table = convert.table(name)
  foreign = core.write(table.TABLE, params)
  back = core.read(table.TABLE, foreign, params, table.IGNORED, table.RENAMES)
  for path, value in elastic.flatten(params).items():
    np.testing.assert_array_equal(
        elastic.flatten(back)[path], value, err_msg=path)
  del foreign[next(iter(foreign))]
  with pytest.raises(ValueError, match='1 missing'):
    core.read(table.TABLE, foreign, params, table.IGNORED, table.RENAMES)


@pytest.mark.parametrize('name', ['timm_vit', 'hf_deit_4'])
def test_weights_of_a_lower_resolution_fit_a_higher_one(name):
  options = dict(num_layers=1, ats=None)
  _, _, params, _ = models.build('vit_ats', **options)
  large = params | {'positions': np.zeros((2 + 36, 16), np.float32)}
  table = convert.table(name)
  foreign = core.write(table.TABLE, params)
  kernel = next(key for key, value in foreign.items() if value.ndim == 4)
  old = foreign | {kernel: foreign[kernel].reshape(16, -1)}
  got = core.read(table.TABLE, table.ADAPT(old, large), large)
  positions = got.pop('positions')
  places = np.asarray(params['positions'])
  np.testing.assert_array_equal(positions[:2], places[:2])
  # The corners' centres lie outside of the coarse grid's: theirs are its own.
  np.testing.assert_allclose(positions[[2, 7, -6, -1]],
                             places[[2, 5, -4, -1]], atol=1e-6)
  assert np.abs(positions[8] - places[2]).max() > 1e-3
  for path, value in elastic.flatten(got).items():
    np.testing.assert_array_equal(value, elastic.flatten(params)[path])
  same = table.ADAPT(foreign, params)
  assert all(same[key] is value for key, value in foreign.items())


def test_every_tensor_of_the_published_file_has_a_row():
  config = ats_deit_s.get_config()
  exp = experiment.build(config, dict(config.data.sizes))
  paths = list(elastic.flatten(exp.shapes))
  names = {name for name, _, _ in core.rows_for(timm_vit.TABLE, paths)}
  # 4 around the layers, 2 + 2 of norm and head, 12 in each of 12 layers.
  assert len(names) == 152
  assert not core.unsourced(timm_vit.TABLE, exp.shapes)


def test_the_released_network_becomes_a_workdir(tmp_path):
  """Its buffers of zeros are left out; whether it samples is ours to say."""
  arrays, meta, _, params = golden_ats.vit()
  foreign = golden_bert.foreign_of(arrays)
  assert any(name.endswith('out_zero_mask') for name in foreign)
  config = ats_deit_s.get_config('small')
  config.data.sizes.update(num_answers=meta['classes'],
                           image_size=meta['image'])
  config.model.update(patch=meta['patch'], width=meta['width'],
                      heads=meta['heads'], mlp=4 * meta['width'],
                      num_layers=meta['depth'])
  files.save(tmp_path / 'ats.safetensors', foreign)
  convert.read(config, 'timm_vit', tmp_path / 'ats.safetensors',
               tmp_path / 'work')
  exp = experiment.load(tmp_path / 'work')
  assert exp.model.ats.blocks == (1, 2, 3)
  got = checkpoint.load_params(tmp_path / 'work', exp.shapes)
  for path, value in elastic.flatten(params).items():
    np.testing.assert_array_equal(elastic.flatten(got)[path], value)

  written = tmp_path / 'back.safetensors'
  convert.write(tmp_path / 'work', 'timm_vit', written)
  there = files.load(written)
  assert there.keys() == {
      name for name in foreign if not name.endswith('out_zero_mask')}
  for name, value in there.items():
    np.testing.assert_array_equal(value, foreign[name], err_msg=name)
