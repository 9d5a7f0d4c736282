"""Commands of docs/data_at_scale.md: what they say can be said, and works."""
import pathlib
import re

from bst_jax.data import source
import made_up
import pytest

PAGE = (pathlib.Path(__file__).parents[1] / 'docs' / 'data_at_scale.md'
        ).read_text('utf-8')
PROGRAMS = re.findall(r'python -c "(.*?)"', PAGE, re.DOTALL)


def run_with(of):
  """Runs the page's programs with another `load`."""
  for program in PROGRAMS:
    name, load = re.search("name='([^']+)'", program)[1], source.load
    source.load = of
    try:
      exec(compile(program.replace('\n    ', '\n'), name, 'exec'), {})
    finally:
      source.load = load


def test_every_command_is_understood(tmp_path):
  understood = []

  def check(config):
    # As load does before it makes anything.
    opened = source.check(config | {'data_dir': str(tmp_path)})
    understood.append((config['name'], opened.options.train))

  run_with(check)
  assert understood == [
      ('vqa_v2/regions', 'train+nominival'), ('gqa/regions', 'train'),
      ('class_folders', 'train'), ('kinetics/400', 'train'),
      ('vqa_v2/regions', 'train+nominival')]


def test_a_command_makes_its_data_set(tmp_path):
  for split in ('train', 'val'):
    for i in range(4):
      place = tmp_path / 'raw' / split / f'n0{i % 2}' / f'{i}.JPEG'
      place.parent.mkdir(parents=True, exist_ok=True)
      place.write_bytes(made_up.picture(i))
  load, made = source.load, []

  def in_folder(config):
    if config['name'] == 'class_folders':
      made.append(load(config | {'data_dir': str(tmp_path / 'sets'),
                                 'manual_dir': str(tmp_path / 'raw'),
                                 'batch': 2}))

  run_with(in_folder)
  assert made[0].answers == ('n00', 'n01')
  left = {path.name for path in (tmp_path / 'sets').rglob('*')}
  assert {'train.label.npy', 'val.label.npy', 'shards.json'} <= left


@pytest.mark.parametrize('line', [
    '123,287 x 411,200 = 50.7', '123,287 x 820,800 = 101',
    '123,287 x 148,032 = 18.3', '81,434 x 411,200 = 33.5',
    '113,000 x 411,200 = 46.5'])
def test_sizes_are_what_they_are_said_to_be(line):
  count, size, total = (float(n) for n in re.findall(
      r'[\d.]+', line.replace(',', '')))
  assert f'{line} GB' in PAGE
  assert round(count * size / 1e9, 1 if total < 100 else 0) == total


def test_a_record_takes_what_is_said():
  for regions, dtype, size in ((100, 2, 411_200), (36, 2, 148_032),
                               (100, 4, 820_800)):
    assert regions * (2048 * dtype + 4 * 4) == size
