"""Positions behind region features, and numbers of another type or size."""
import base64

from bst_jax.data import records, source
from bst_jax.data.builders import regions
from bst_jax.data.builders.problems import Problems
from bst_jax.run import experiment
from configs import minivlm_vqa
import made_up
import numpy as np
import pytest

PIXELS = np.float32([100, 50, 100, 50])


def rows(layout, seed=0, size=8):
  """Features of three regions with a position behind them, and the boxes."""
  features, boxes, *_ = made_up.region_arrays(seed, 3, size)
  position = boxes if layout.endswith('pixels') else boxes / PIXELS
  if 'sides' in layout:
    position = np.concatenate([position, position[:, 2:] - position[:, :2]], 1)
  return np.concatenate([features, position], 1), features, boxes


def read(folder, size=8, **options):
  return dict(regions.read(folder, ['1'], Problems(), size, **options))


@pytest.mark.parametrize('layout', regions.POSITIONS)
def test_what_is_named_is_split_off(tmp_path, layout):
  whole, features, boxes = rows(layout)
  made_up.npz(tmp_path / '1.npz', size=8, x=whole)
  found = read(tmp_path, position=layout)['1']
  np.testing.assert_array_equal(found['regions'], features)
  np.testing.assert_allclose(found['boxes'], boxes / PIXELS, atol=1e-6)


@pytest.mark.parametrize('layout, count, asked', [
    ('corners', 12, 'corners or corners_in_pixels'),
    ('corners_and_sides', 14,
     'corners_and_sides or corners_and_sides_in_pixels')])
def test_twelve_numbers_where_eight_and_a_box_are_wanted(
    tmp_path, layout, count, asked):
  """The refusal names both layouts, and the option that reads this one."""
  made_up.npz(tmp_path / '1.npz', size=8, x=rows(layout)[0])
  with pytest.raises(ValueError, match=(
      f'regions have {count} features, not 8: each row is {count} numbers, '
      'where 8 features and a box beside them are wanted, of which models make '
      f'6.*config.data.position to {asked}')):
    read(tmp_path)


@pytest.mark.parametrize('there, said', [
    ('corners', 'corners_in_pixels'), ('corners_in_pixels', 'corners'),
    ('corners_and_sides', 'corners_and_sides_in_pixels')])
def test_shares_and_pixels_are_not_guessed(tmp_path, there, said):
  made_up.npz(tmp_path / '1.npz', size=8, x=rows(there)[0])
  with pytest.raises(ValueError, match=(
      f"config.data.position is '{said}', but behind the features of region 0 "
      'stands .* where its box is .* as shares of the picture')):
    read(tmp_path, position=said)


def test_half_floats_that_are_read_as_floats(tmp_path):
  """Their bytes are half as many numbers, which are no features."""
  features, boxes, width, height = made_up.region_arrays(0, 3, 16)
  encode = lambda array, kind: base64.b64encode(
      array.astype(kind).tobytes()).decode()
  (tmp_path / 'a.tsv').write_text('\t'.join(map(str, (
      1, width, height, 3, encode(boxes, '<f4'),
      encode(features, '<f2')))) + '\n')
  with pytest.raises(ValueError, match=(
      'regions have 8 features, not 16; half as many: a .tsv file holds '
      'float32, and these bytes may be float16')):
    read(tmp_path, 16)


def test_a_folder_of_questions_is_made_so_and_stays_so(tmp_path):
  made_up.folder(tmp_path / 'mine', size=8)
  for path in (tmp_path / 'mine' / 'features').glob('*.npz'):
    arrays = dict(np.load(path))
    arrays['x'] = np.concatenate([arrays['x'], arrays['bbox'] / PIXELS], 1)
    np.savez(path, **arrays)
  config = dict(name='folder', manual_dir=str(tmp_path / 'mine'), train='train',
                eval='val', batch=4, data_dir=str(tmp_path / 'data'),
                position='corners')
  data = source.load(config)
  assert data.sizes['feature_size'] == 8
  found = records.read(data.builder, 'val', ['regions', 'boxes'])
  assert {one['regions'].shape[1] for one in found} == {8}
  # As it is on disk, whether or not the option is said again.
  del config['position']
  assert source.load(config).sizes['feature_size'] == 8
  with pytest.raises(ValueError, match=(
      "position is 'corners_in_pixels', but its regions were made with "
      "'corners'")):
    source.load(config | dict(position='corners_in_pixels'))
  with pytest.raises(ValueError, match="no config.data.position 'corner'"):
    source.load(config | dict(position='corner'))


def test_a_model_that_wants_other_numbers_says_what_it_makes_itself():
  config = minivlm_vqa.get_config('tiny')
  config.model.feature_size = 8
  with pytest.raises(ValueError, match=(
      'feature_size is 8, but regions of these data have 12 features; .* '
      'makes the 6 numbers of a position of each box itself; .* '
      'config.data.position')):
    experiment.build(config, dict(vocab_size=9, num_answers=3, max_tokens=5,
                                  num_regions=3, feature_size=12))
