"""Classifiers whose workdirs have parameters and names of classes, and no data."""
import json
import pathlib

from bst_jax import export, predict, profile
from bst_jax.data import class_names, vocabularies
from bst_jax.host import cli, config_flag
from bst_jax.report import cards, latency, portable
from bst_jax.run import experiment, other_data
from bst_jax.store import checkpoint
import jax
import models
import numpy as np
from PIL import Image
import pytest

CLASSES = 'tabby cat', 'dog, domestic dog', 'owl'


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  """What `convert` writes of a classifier of three classes."""
  folder = tmp_path_factory.mktemp('converted') / 'w'
  config = config_flag.load_config('configs/converted.py')
  config.unlock()
  config.model = dict(name='vit', patch=4, width=16, heads=4, mlp=32,
                      num_layers=1)
  config.data.sizes = dict(num_answers=3, image_size=16)
  config.data.image_size, config.data.image_fit = 16, 'stretch'
  exp = experiment.build(config, experiment.sizes_of(config))
  checkpoint.save_params(folder, models.random_params(exp.shapes))
  vocabularies.Vocabularies(answers=CLASSES).save(folder / experiment.VOCAB)
  experiment.save(folder, config, exp.sizes)
  return folder


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
  """Class folders in another order than the classifier's classes."""
  folder = tmp_path_factory.mktemp('pictures')
  rng = np.random.default_rng(0)
  for name in ('Owl', 'domestic_dog', 'tabby_cat'):
    for i in range(2):
      path = folder / 'mine' / name / f'{i}.png'
      path.parent.mkdir(parents=True, exist_ok=True)
      Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(path)
  return folder


def logits(workdir, image):
  exp = experiment.load(workdir)
  params = checkpoint.load_params(workdir, exp.shapes)
  return np.asarray(exp.model.apply(
      {'params': params}, {'image': image})['classes'])


def opened(workdir, home, *given, split='mine'):
  exp = experiment.load(workdir)
  other_data.put(exp.config, [f'data_dir={home}', *given], split)
  return exp, experiment.load_data(exp.config, workdir)


def test_a_picture_is_named_with_probabilities(workdir, pictures):
  path = pictures / 'mine' / 'Owl' / '1.png'
  told, _ = predict.predict(workdir, str(path), None, '1x1', 3)
  want = jax.nn.softmax(logits(workdir, np.asarray(Image.open(path))[None])[0])
  assert dict(told) == pytest.approx(dict(zip(CLASSES, want.tolist())), rel=1e-4)


def test_classes_of_other_data_are_found_by_name(workdir, pictures, tmp_path):
  _, data = opened(workdir, tmp_path, 'class_folders',
                   f'manual_dir={pictures}')
  batch = next(iter(data.evaluation('mine')))
  names = dict(zip(('Owl', 'domestic_dog', 'tabby_cat'), (2, 1, 0)))
  assert sorted(batch['label'][batch['mask']]) == [0, 0, 1, 1, 2, 2]
  for image, label in zip(batch['image'], batch['label'][batch['mask']]):
    same = [names[path.parent.name] for path in pictures.rglob('*.png')
            if (np.asarray(Image.open(path)) == image).all()]
    assert same == [label]
  assert data.prior('mine')['overall'] == pytest.approx(100 / 3)
  assert data.answers == CLASSES


def test_classes_that_differ_are_listed(workdir, pictures, tmp_path):
  (pictures / 'mine' / 'Owl').rename(pictures / 'mine' / 'owls')
  try:
    with pytest.raises(ValueError, match=(
        "3 classes of .* not the 3 of class_folders.* one class each for 'owls'"
        "; the data have none for 'owl'. .*'owls' may be 'owl'.*--from")):
      opened(workdir, tmp_path, 'class_folders', f'manual_dir={pictures}')
  finally:
    (pictures / 'mine' / 'owls').rename(pictures / 'mine' / 'Owl')


@pytest.mark.parametrize('names, known, want', [
    (('b', 'a'), ('a', 'b'), [1, 0]),
    (('b',), ('a', 'b', 'c'), [1]),
    (('Great_Grey',), ('owl', 'great  grey'), [1]),
    # A whole name goes before a synonym of another.
    (('crane',), ('crane, bird', 'crane'), [1]),
    (('crane',), ('crane, bird', 'crane, machine'), None),
    (('cat', 'tabby'), ('cat, tabby',), None),
    (('a', 'd'), ('a', 'b'), None)])
def test_places_of_classes(names, known, want):
  if want is None:
    with pytest.raises(ValueError, match='not exactly one class'):
      class_names.places(names, known, 'data', 'model')
  else:
    assert class_names.places(names, known, 'data', 'model') == want


@pytest.mark.parametrize('given, message', [
    ('manual_dr=x', "no option 'manual_dr'.*manual_dir"),
    ('limit=many', '--data.limit.*many'),
    ('image_size=big', '--data.image_size=big')])
def test_options_of_other_data_that_cannot_be(workdir, given, message):
  with pytest.raises(cli.UsageError, match=message):
    other_data.put(experiment.load(workdir).config, [given])


def test_the_options_of_the_command_line():
  holder = other_data.define()
  argv = ['x', '--data=class_folders', '--data.manual_dir=a=b', '--data.limit=3']
  cli._parse(argv)
  assert holder.value == ['class_folders', 'manual_dir=a=b', 'limit=3']


def test_files_are_written_without_data(workdir, tmp_path, capsys):
  exp = experiment.load(workdir)
  assert other_data.load_if_there(exp, workdir) is None
  params = checkpoint.load_params(workdir, exp.shapes)
  card = export.export(exp, params, '1x1', ['stablehlo'], tmp_path, rows=3)
  cards.write(card, tmp_path, trained=True)
  text = ' '.join((tmp_path / 'card.md').read_text().split())
  for part in ('multiply-accumulates a picture', 'Inputs, for 3 pictures:',
               'uint8[3, 16, 16, 3]', 'in the order of the classes in',
               'the probabilities of the classes', 'median of 3 pictures',
               f'written by jax {jax.__version__} for 3 pictures'):
    assert part in text
  assert 'question' not in text and 'answers;' not in text
  # Of a fixed number of rows, and measured as such.
  image = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)
  run = portable.read_stablehlo((tmp_path / 'model.stablehlo').read_bytes())
  np.testing.assert_allclose(run({'image': image}), logits(workdir, image),
                             rtol=1e-4, atol=1e-4)
  assert ' 3 at a time' in profile.exported(tmp_path, batch=1, runs=1)


def test_a_program_of_another_jax_is_told_apart(tmp_path):
  """What jax 0.10 says of one that 0.12 wrote for any batch, made up."""
  (tmp_path / 'model.stablehlo').write_bytes(b'of another version')
  (tmp_path / 'card.json').write_text(json.dumps(
      {'inputs': {}, 'jax': '99.1', 'batch': 'any'}))
  with pytest.raises(ValueError, match=(
      f'written by jax 99.1 .* read by jax {jax.__version__}.*--batch N')):
    profile.exported(pathlib.Path(tmp_path), 1, 1)


def test_a_fixed_file_scores_a_split_in_parts(workdir, pictures, tmp_path):
  exp, data = opened(workdir, tmp_path / 'data', 'class_folders',
                     f'manual_dir={pictures}')
  params = checkpoint.load_params(workdir, exp.shapes)
  made = {rows: export.export(
      exp, params, '1x1', ['stablehlo'], tmp_path / f'{rows}', data, 'mine',
      rows=rows) for rows in (None, 4)}
  assert made[4]['accuracy'] == made[None]['accuracy']
  assert made[4]['inputs']['image']['shape'] == [4, 16, 16, 3]


@pytest.mark.parametrize('config', [
    'configs/ats_ps_vit.py:small_dense', 'configs/bst_clip_vil_scenes.py:tiny'])
def test_random_parameters_give_finite_logits(config):
  config = config_flag.load_config(config)
  config.data.sizes = dict(
      num_answers=3, image_size=64,
      **(dict(vocab_size=9, max_tokens=4) if 'clip' in config.model.name else {}))
  exp = experiment.build(config, experiment.sizes_of(config))
  outputs = exp.model.apply({'params': latency.random_params(exp)},
                            exp.example())
  assert np.isfinite(models.only(outputs)).all()


def test_files_that_give_nan_are_not_written(workdir, tmp_path):
  exp = experiment.load(workdir)
  params = jax.tree.map(lambda p: p * np.nan, checkpoint.load_params(
      workdir, exp.shapes))
  with pytest.raises(ArithmeticError, match='nothing was written'):
    export.export(exp, params, '1x1', ['stablehlo'], tmp_path / 'out')
  assert not (tmp_path / 'out').exists()
