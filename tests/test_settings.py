"""Settings of another type than they must be end in a sentence."""
import dataclasses
from typing import Any

from bst_jax import elastic, models, tasks
from bst_jax.data import augment, kinds, source
from bst_jax.elastic import typed
from bst_jax.host import memory
from bst_jax.report import latency
from bst_jax.run import experiment, settings, validation
from configs import quickstart
import ml_collections
import models as tiny
import numpy as np
import pytest


@pytest.mark.parametrize('value, kind, fits', [
    (3, int, True), (np.int64(3), int, True), (True, int, False),
    (3.0, int, False), ('3', int, False), (10 ** 30, int, False),
    (3, float, True), (float('nan'), float, False), (None, float | None, True),
    (10 ** 400, float, False),
    (True, bool, True), (1, bool, True), (2, bool, False), ('yes', bool, False),
    ((1, 2), tuple[int, ...], True), ((1, 'a'), tuple[int, ...], False),
    ((1,), tuple[int, int], False), ([1], tuple, False), ('a', str, True),
    (5, str, False), (object(), Any, True), (5, int | elastic.Sizes, True),
    ('5', int | elastic.Sizes, False), ({'': 5}, int | elastic.Sizes, True)])
def test_types_are_those_of_annotations(value, kind, fits):
  assert typed.fits(value, kind) == fits


def test_a_field_of_another_type_is_named():
  @dataclasses.dataclass
  class Options:
    size: int | None = 3

  typed.check(Options(None), 'config.x')
  with pytest.raises(ValueError, match="config.x.size is '3', but it must be a "
                     'whole number or None, as 3'):
    typed.check(Options('3'), 'config.x')


@pytest.mark.parametrize('changed, message', [
    (dict(batch='8'), "batch is '8'.*whole number"),
    (dict(limit=None), 'limit is None'), (dict(name=7), 'name is 7'),
    (dict(cache='no'), "cache is 'no'; it is True"),
    (dict(image_size='16'), 'Pictures of size 16'),
    (dict(train=['train']), r"train is \('train',\).*text"),
    (dict(inputs='image'), "inputs is 'image'.*list of text"),
    (dict(num_regions=1.5), 'num_regions is 1.5')])
def test_options_of_data_of_another_type(changed, message):
  with pytest.raises(ValueError, match=message):
    source.check(dict(name='digit_scenes/tiny') | changed)


@pytest.mark.parametrize('recipe, message', [
    (dict(flip='x'), "augment.flip is 'x'"), ([1], r'augment is \[1\]'),
    (dict(crop=('a', 'b')), 'augment.crop is'), (dict(repeats=None), 'repeats')])
def test_recipes_of_another_type(recipe, message):
  with pytest.raises(ValueError, match=message):
    augment.Recipe.of(recipe)


@pytest.mark.parametrize('part, changed, message', [
    ('model', dict(heads='2'), "heads is '2', but model mcan takes a whole"),
    ('model', dict(num_layers=[None]), 'num_layers is'),
    ('model', dict(mlp=0), 'mlp of model mcan is 0, but it is a whole number'),
    ('model', dict(width=10 ** 30), 'width is 1000'),
    ('task', dict(name=[1]), 'config.task is'),
    ('space', dict(widths=1), 'config.space.widths is 1'),
])
def test_parts_of_a_config_of_another_type(part, changed, message):
  config = quickstart.get_config('tiny').unlock()
  with config.ignore_type():
    for key, value in changed.items():
      config[part][key] = value
  sizes = dict(vocab_size=9, num_answers=3, max_tokens=4, num_regions=2,
               feature_size=128)
  with pytest.raises(ValueError, match=message):
    experiment.build(config, sizes)
  del config[part]
  with pytest.raises(ValueError, match=f'config.{part} is None; it must be a '):
    experiment.build(config, sizes)


@pytest.mark.parametrize('sizes, message', [
    (dict(vocab_size='9'), "vocab_size = '9'"), (dict(num_answers=0), '= 0'),
    (dict(image_size=(4, 4, 4)), r'1 or 2 positive'),
    (dict(clip_size=3), 'it must be 3 positive'),
    (dict(num_regions=True), 'num_regions = True'),
    (dict(feature_size=float('inf')), 'feature_size = inf')])
def test_sizes_that_are_none(sizes, message):
  with pytest.raises(ValueError, match=message):
    kinds.check_sizes(sizes)
  kinds.check_sizes(dict(image_size=[4, 4], clip_size=(1, 2, 3), mine='any'))


@pytest.mark.parametrize('text, message', [
    ('[1]', r'a choice is \[1\]'), ('{"submodel": 1.5}', 'submodel = 1.5'),
    ('{"keep": "1/2"}', "keep = '1/2'; that must be lists by axis"),
    ('{"keep": {"a": 1}}', 'that must be lists'), ('{"skip": [1]}', 'skip = '),
    ('{"layers": {"a": null}}', 'lists by stack'), ('{"tokens": 3}', 'settings')])
def test_choices_of_another_type(text, message):
  with pytest.raises(ValueError, match=message):
    elastic.Choice.from_json(text)
  with pytest.raises(ValueError, match='write the number of a layer'):
    elastic.choice.halves(1.5)


def test_what_a_model_needs_is_named():
  with pytest.raises(ValueError, match='nothing tells its vocab_size'):
    models.create(dict(name='mcan'), num_answers=3)
  with pytest.raises(ValueError, match='name of a task'):
    tasks.create(None)


@pytest.mark.parametrize('kind', [dict, ml_collections.ConfigDict])
def test_a_recipe_of_a_config_is_read(kind):
  assert augment.Recipe.of(kind(dict(flip=0.5))) == augment.Recipe(flip=0.5)


def _backbones():
  """The first row of each."""
  rows = {sizes['name']: sizes for sizes, _ in reversed(
      (tiny.TINY | tiny.DETECTORS).values())}
  return [pytest.param(sizes, id=name) for name, sizes in rows.items()]


@pytest.mark.parametrize('sizes', _backbones())
def test_no_backbone_is_built_that_could_not_be(sizes):
  known = models.arguments(sizes['name'])
  wrong = dict(num_layers=2_000_000_000, sampling_layers=10 ** 6,
               visual_blocks=(10 ** 9, 1), stem=(8,) * 2000, vocab_size=0,
               heads=-1, mlp={'': 32, 'encoder/layer_0/ffn': 0}, dropout=1.5,
               depth_dropout=-1.0, eps=0.0, std=(1, 0, 1), mean=(0.5,),
               patch=0, fused=-1, points=0, num_answers=-1)
  if isinstance(sizes['num_layers'], tuple):
    wrong |= dict(num_layers=(1, 10 ** 9), heads=(4, 0), mlp=(32, -32),
                  width=(16,) * 10 ** 5, kernels=(5, 0))
  for option in wrong.keys() & known.keys():
    with pytest.raises(ValueError, match=f'{option} (of model|is)'):
      models.create(sizes | {option: wrong[option]})
  with pytest.raises(ValueError, match='below 2..31'):
    models.create(sizes | dict(strategy_seed=10 ** 12))


@pytest.mark.parametrize('sizes', [
    dict(max_tokens=10 ** 9), dict(num_regions=10 ** 5, feature_size=10 ** 5),
    dict(image_size=10 ** 6), dict(clip_size=(4, 10 ** 6, 10 ** 6))])
def test_a_row_that_no_machine_holds(sizes):
  with pytest.raises(ValueError, match='the most'):
    kinds.check_sizes(sizes)


@pytest.mark.parametrize('changed, message', [
    (dict(batch=10 ** 9), 'batch is 1,000,000,000'),
    (dict(eval_batch=10 ** 8), 'eval_batch is 100,000,000'),
    (dict(threads=10 ** 7), 'threads is'),
    (dict(image_size=10 ** 6), 'the most')])
def test_data_of_sizes_that_cannot_be(changed, message):
  with pytest.raises(ValueError, match=message):
    source.check(dict(name='digit_scenes/tiny') | changed)


@pytest.mark.parametrize('changed', [
    dict(log_every=0), dict(keep=0), dict(steps=10 ** 30), dict(seed=-1),
    dict(eval_every=-5), dict(micro_batches=0), dict(save_every=1.5)])
def test_counts_that_no_run_can_have(changed):
  config = quickstart.get_config('tiny').unlock()
  settings.check_counts(config)
  with config.ignore_type():
    config.update(changed)
  with pytest.raises(ValueError, match=f'config.{[*changed][0]} is'):
    validation.check(config)


def test_a_model_that_does_not_fit_is_refused_before_it_is_made(monkeypatch):
  config = quickstart.get_config('tiny')
  validation.check(config)
  monkeypatch.setattr(memory, 'of_machine', lambda: 10_000)
  with pytest.raises(ValueError, match='parameters of this model, with what the '
                     'optimiser keeps of each, take'):
    validation.check(config)
  with pytest.raises(ValueError, match=r'Batches of \d+ rows take'):
    source.load(config.data)
  sizes = dict(vocab_size=9, num_answers=3, max_tokens=4, num_regions=2,
               feature_size=128)
  with pytest.raises(ValueError, match='parameters of this model take'):
    latency.random_params(experiment.build(config, sizes))


def test_memory_is_that_of_the_machine():
  assert memory.of_machine() > 1 << 28
  memory.check(2, None, 'These', '')
  with pytest.raises(ValueError, match='These take 3.0 GB, and there are 2.0'):
    memory.check(3 * 10 ** 9, 2 * 10 ** 9, 'These', '')
