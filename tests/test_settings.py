"""Settings of another type than they must be end in a sentence."""
import dataclasses
from typing import Any

from bst_jax import elastic, models, tasks
from bst_jax.data import augment, kinds, source
from bst_jax.elastic import typed
from bst_jax.run import experiment
from configs import quickstart
import ml_collections
import numpy as np
import pytest


@pytest.mark.parametrize('value, kind, fits', [
    (3, int, True), (np.int64(3), int, True), (True, int, False),
    (3.0, int, False), ('3', int, False), (10 ** 30, int, False),
    (3, float, True), (float('nan'), float, False), (None, float | None, True),
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
    ('model', dict(mlp=0), 'model mcan cannot be built'),
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
    ('{"keep": "1/2"}', 'keep = 1/2; that must be lists by axis'),
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
