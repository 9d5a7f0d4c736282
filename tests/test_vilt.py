"""ViLT's pictures of any shape, and METER's encoders that must be the same."""
import functools

from bst_jax import elastic
from bst_jax.interop import core
from bst_jax.interop import meter as meter_table
from bst_jax.layers.extra import Extra
from bst_jax.models import vilt
import jax
import models
import numpy as np
import pytest

SIZES = dict(vocab_size=11, num_answers=7, patch=32, grid=(3, 3), width=16,
             heads=4, mlp=32, fused=32, num_layers=2, max_positions=8)


@functools.cache
def picture():
  rng = np.random.default_rng(0)
  return (rng.standard_normal((96, 64, 3)).astype(np.float32),
          rng.integers(1, 11, (1, 5)).astype(np.int32))


def answers(image, extent=None, row=0):
  """Of a picture on a canvas of whatever size, and maybe of others beside it."""
  _, tokens = picture()
  model = vilt.Model(**SIZES, image_size=image.shape[1:3])
  batch = {'tokens': np.repeat(tokens, len(image), 0), 'image': image}
  if extent is not None:
    batch['extent'] = np.array(extent, np.int32)
  params, _ = models.prepare(model, batch)
  run = jax.jit(lambda params, batch: model.apply({'params': params}, batch))
  return np.asarray(run(params, batch)['answers'][row])


def test_a_picture_is_the_same_whatever_canvas_and_neighbours_it_has():
  image, _ = picture()
  alone = answers(image[None])
  np.testing.assert_array_equal(alone, answers(image[None]))
  canvas = np.full((2, 96, 128, 3), 7.0, np.float32)  # What is padding counts not.
  canvas[0, :, :64] = image
  beside = answers(canvas, [(96, 64), (96, 128)])
  np.testing.assert_allclose(beside, alone, atol=2e-6)
  assert np.abs(answers(canvas, [(96, 128)] * 2) - alone).max() > 1e-2


def test_where_patches_are_sampled_padding_of_a_text_stays_out():
  """And sampling, at half of the patches, changes what is answered."""
  image, tokens = picture()
  found = {}
  for blocks in ((0, 1), ()):
    model = vilt.Model(**SIZES, image_size=(96, 64), ats=dict(
        blocks=blocks, num_points=3, capacity=(4, 4)[:len(blocks)] or None))
    for padding in (0, 3):
      batch = {'image': image[None], 'tokens': np.pad(
          tokens, ((0, 0), (0, padding)))}
      params, _ = models.prepare(model, batch)
      found[blocks, padding] = models.run(model, params, batch)
  for blocks in ((0, 1), ()):
    np.testing.assert_allclose(found[blocks, 0], found[blocks, 3], atol=2e-6)
  assert np.abs(found[(0, 1), 0] - found[(), 0]).max() > 1e-3


def test_corners_of_places_lie_on_the_corners_of_a_picture():
  table = np.arange(9.0).reshape(3, 3, 1).astype(np.float32)
  places = np.asarray(vilt.stretched(
      table, np.array([[3, 3], [2, 5], [1, 1]]), (4, 6)))[..., 0]
  np.testing.assert_allclose(places[0, :3, :3], table[..., 0])
  np.testing.assert_allclose(places[1, 0, :5], [0, 0.5, 1, 1.5, 2])
  np.testing.assert_allclose(places[1, 1, :5], [6, 6.5, 7, 7.5, 8])
  assert places[2, 0, 0] == 0


def test_more_words_than_places_are_refused():
  model = vilt.Model(**SIZES, image_size=32)
  batch = {'tokens': np.ones((1, 9), np.int32),
           'image': np.zeros((1, 32, 32, 3), np.uint8)}
  with pytest.raises(ValueError, match='raise max_positions'):
    model.init(jax.random.key(0), batch)


@functools.cache
def meter():
  model, batch, params, _ = models.build('meter')
  return model, batch, params


def test_too_long_a_text_for_meter_is_refused():
  model, batch, params = meter()
  with pytest.raises(ValueError, match='knows only 7 places'):
    model.apply({'params': params}, batch | {
        'tokens': np.ones((4, 8), np.int32)})


def published(params):
  """The names and sizes of METER's files."""
  return core.write(meter_table.TABLE, params)


def test_a_checkpoint_of_other_encoders_is_refused_in_a_sentence():
  model, batch, params = meter()
  foreign = published(params)
  np.testing.assert_array_equal(
      elastic.flatten(core.read(meter_table.TABLE, meter_table.ADAPT(
          foreign, params), params))['text_tower/words/table'],
      params['text_tower']['words']['table'])
  other = model.clone(patch=8, vocab_size=13, image_layers=2)
  shapes = elastic.unbox(jax.eval_shape(
      other.init, jax.random.key(0), batch)['params'])
  with pytest.raises(ValueError) as error:
    meter_table.ADAPT(foreign, shapes)
  said = str(error.value)
  for part in ('4 pixels along a patch where the config has 8',
               '11 words where the config has 13',
               '1 layers of pictures where the config has 2',
               'Set config.model.patch=4, config.model.vocab_size=11, '
               'config.model.image_layers=1'):
    assert part in said, said


def test_places_of_another_size_of_pictures_are_resized():
  model, batch, params = meter()
  larger = model.clone(image_size=24)
  shapes = elastic.unbox(jax.eval_shape(larger.init, jax.random.key(0), {
      **batch, 'image': np.zeros((2, 24, 24, 3), np.uint8)})['params'])
  found = core.read(meter_table.TABLE, meter_table.ADAPT(
      published(params), shapes), shapes)
  assert found['image_tower']['positions'].shape == (37, 16)
  np.testing.assert_array_equal(found['image_tower']['positions'][0],
                                params['image_tower']['positions'][0])


def test_what_only_fine_tuned_files_have_is_made():
  model, batch, params = meter()
  foreign = published(params)
  del foreign['token4classifier']
  words = foreign['text_transformer.embeddings.word_embeddings.weight']
  new = meter_table.ADAPT(foreign, params)['token4classifier']
  assert new.shape == (1, 1, 16) and words.shape[1] == 16
  pair = model.clone(outputs=('pair', 'match'))
  shapes = elastic.unbox(jax.eval_shape(
      pair.init, jax.random.key(0), batch | {'tokens': batch['tokens'][:1]})[
          'params'])
  foreign['itm_score.fc.weight'] = np.stack([np.zeros(32), np.arange(32.0)])
  foreign['itm_score.fc.bias'] = np.array([1.0, 2.0])
  new = meter_table.ADAPT(foreign, shapes)
  np.testing.assert_array_equal(new['rank_output.weight'][0], np.arange(32.0))
  kinds = new['token_type_embeddings.weight']
  np.testing.assert_array_equal(kinds[2], kinds[1])


def test_streams_of_different_lengths_are_refused():
  model, _, _ = meter()
  with pytest.raises(ValueError, match='keep as many of both'):
    model.chosen(elastic.Choice(layers={'text_fusion': (0, 1)}))
  small = model.chosen(elastic.Choice(layers={
      'text_fusion': (0, 1), 'image_fusion': (2, 3)}))
  assert small.num_layers == 2


def test_all_kinds_of_choices_of_meter_at_once():
  """Layers skipped, channels removed, a width and a depth: cut = sliced."""
  model, batch, params, axes = models.build('meter', adapter=6, skip=None,
                                            extra=Extra('parallel', 3))
  heads = tuple(tuple(range(4 * h, 4 * h + 3)) for h in (0, 2))
  choice = elastic.Choice(
      skip=('text_fusion/layer_1', 'image_fusion/layer_3'),
      keep={'heads@text_fusion/layer_0/attention': heads,
            'mlp@image_fusion/layer_0/ffn': tuple(range(0, 32, 2))},
      submodel=elastic.Submodel('1/2', '1/2'))
  small = model.chosen(choice)
  cut = elastic.cut(params, axes, choice, model.stacks)
  got = models.run(small, cut, batch)
  # The same by other ways: first what is removed, then what is narrowed.
  first = elastic.Choice(skip=choice.skip, keep=choice.keep)
  middle = model.chosen(first)
  between = elastic.cut(params, axes, first, model.stacks)
  want = models.run(middle, between, batch, sub=choice.submodel)
  np.testing.assert_allclose(got, want, atol=1e-5)
  assert elastic.size(cut) < elastic.size(between) < elastic.size(params)
