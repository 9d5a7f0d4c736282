"""MiniVLM: sizes, who sees whom, outputs, and what grows word by word."""
import functools
import re

from bst_jax import decoding, elastic
from bst_jax import models as backbones
from bst_jax.decoding import Rules
from bst_jax.elastic import Submodel
from bst_jax.layers import cached
from bst_jax.models import minivlm
import chex
import jax
import jax.numpy as jnp
import models
import numpy as np
import pytest

MASK = 9
SIZES = models.TINY['minivlm'][0] | dict(num_layers=2)
CAPTIONER = SIZES | dict(mask='caption', outputs=('words',))


def batch_of(seed=0, words=6, tags=3, pictures=2, texts=4):
  """A text, tags and regions, some of them padding."""
  rng = np.random.default_rng(seed)
  batch = models.batch_of('regions', 'boxes', pictures=pictures)
  some = {'tokens': rng.integers(1, 9, (texts, words)),
          'tags': rng.integers(1, 9, (pictures, tags)),
          'places': rng.integers(0, words, (texts, 2))}
  some['tags'][0, -1] = 0
  return batch | {k: jnp.asarray(v, jnp.int32) for k, v in some.items()}


@functools.cache
def build(**changes):
  """A model, its parameters and a batch."""
  model = backbones.create(SIZES | changes)
  batch = batch_of()
  params, axes = models.prepare(model, batch)
  return model, params, batch, axes


def captioner(**changes):
  return build(mask='caption', outputs=('words',), **changes)


@functools.partial(jax.jit, static_argnums=0)
def encoded(model, params, batch):
  """float[B, T, d] behind the last layer."""
  _, kept = model.apply(
      {'params': params}, batch, mutable=['intermediates'],
      capture_intermediates=lambda module, _: module.name == 'encoder')
  return kept['intermediates']['encoder']['__call__'][0]


# --- sizes --------------------------------------------------------------------

@pytest.mark.parametrize('name, tied, norm, wanted', [
    ('minilm_l12_h384', True, True, 33_936_572),
    ('minilm_l12_h384', False, True, 45_657_020),
    ('oscar_base', True, True, 111_686_204),
    ('oscar_base', False, True, 135_127_100),
    ('oscar_base', True, False, 111_686_204 - 1_536),
    ('oscar_base', False, False, 135_127_100 - 1_536)])
def test_parameters_of_the_published_sizes(name, tied, norm, wanted):
  """With heads of words and of matches."""
  model = minivlm.Model(**minivlm.sizes(name) | dict(
      tied=tied, image_norm=norm, outputs=('words', 'match')))
  batch = dict(tokens=jnp.ones((1, 20), int), tags=jnp.ones((1, 15), int),
               regions=jnp.ones((1, 50, model.feature_size)),
               boxes=jnp.ones((1, 50, 4)), places=jnp.zeros((1, 5), int))
  shapes = jax.eval_shape(model.init, jax.random.key(0), batch)['params']
  assert elastic.size(elastic.unbox(shapes)) == wanted


def test_the_large_one_has_no_normalisation_of_regions():
  assert minivlm.sizes('oscar_base')['image_norm'] is False
  with pytest.raises(ValueError, match="no size of MiniVLM 'tiny'"):
    minivlm.sizes('tiny')


# --- who sees whom ------------------------------------------------------------

def test_the_mask_of_captions_by_hand():
  real = jnp.array([[True, True, False, True, True],
                    [True, True, True, False, True]])
  first, second = np.asarray(cached.captioning(real, 3)).astype(int)
  np.testing.assert_array_equal(first[[0, 1, 3, 4]], [
      [1, 0, 0, 1, 1], [1, 1, 0, 1, 1], [0, 0, 0, 1, 1], [0, 0, 0, 1, 1]])
  np.testing.assert_array_equal(second[[0, 1, 2, 4]], [
      [1, 0, 0, 0, 1], [1, 1, 0, 0, 1], [1, 1, 1, 0, 1], [0, 0, 0, 0, 1]])


@pytest.mark.parametrize('place', [0, 2, 5])
def test_a_word_of_a_caption_changes_nothing_before_it(place):
  model, params, batch, _ = captioner()
  changed = batch['tokens'].at[:, place].set(batch['tokens'][:, place] % 9 + 1)
  before, after = (np.asarray(encoded(model, params, batch | {'tokens': tokens}))
                   for tokens in (batch['tokens'], changed))
  # Words before it, tags and regions are the same to the last bit.
  np.testing.assert_array_equal(before[:, :place], after[:, :place])
  np.testing.assert_array_equal(before[:, 6:], after[:, 6:])
  assert (np.abs(before[:, place:6] - after[:, place:6]).max(-1) > 1e-3).all()


def test_all_see_all_in_the_other_mask():
  model, params, batch, _ = build()
  changed = batch | {'tokens': batch['tokens'].at[:, 4].set(
      batch['tokens'][:, 4] % 9 + 1)}
  before, after = (encoded(model, params, b) for b in (batch, changed))
  real = np.ones(before.shape[:2], bool)
  real[:2, 8] = real[:2, 12] = False  # Of one picture the last tag and region.
  assert (np.abs(before - after).max(-1) > 1e-4)[real].all()


@pytest.mark.parametrize('mask', minivlm.MASKS)
def test_padding_is_seen_by_nobody(mask):
  model, params, batch, _ = build(mask=mask)
  more = batch | {
      'tokens': jnp.pad(batch['tokens'], ((0, 0), (0, 2))),
      'tags': jnp.pad(batch['tags'], ((0, 0), (0, 1))),
      'regions': jnp.pad(batch['regions'], ((0, 0), (0, 2), (0, 0))),
      'boxes': jnp.pad(batch['boxes'], ((0, 0), (0, 2), (0, 0)))}
  answers = jax.jit(lambda batch: model.apply(
      {'params': params}, batch)['answers'])
  np.testing.assert_allclose(answers(more), answers(batch), atol=1e-5)
  # A picture without any region, and without tags, is no NaN.
  bare = {k: v for k, v in batch.items() if k != 'tags'}
  bare['regions'] = jnp.zeros_like(bare['regions'])
  assert np.isfinite(answers(bare)).all()


def test_tags_stand_where_they_stand_whatever_the_text():
  model, params, batch, _ = build()
  short = batch | {'tokens': batch['tokens'].at[:, 4:].set(0)}
  fewer = short | {'tokens': short['tokens'][:, :4]}
  answers = jax.jit(lambda model, batch: model.apply(
      {'params': params}, batch)['answers'], static_argnums=0)
  np.testing.assert_allclose(answers(model, short), answers(model, fewer),
                             atol=1e-5)
  # Behind the last word they begin at place 4, as with that start.
  behind = answers(model.clone(tag_start=None), short)
  np.testing.assert_allclose(
      behind, answers(model.clone(tag_start=4), fewer), atol=1e-5)
  assert np.abs(behind - answers(model, short)).max() > 1e-3


# --- outputs ------------------------------------------------------------------

def test_each_output_is_its_own():
  outputs = ('answers', 'match', 'pair')
  model, params, batch, _ = build(outputs=outputs)
  batch = batch | {'regions': jnp.tile(batch['regions'], (4, 1, 1)),
            'boxes': jnp.tile(batch['boxes'], (4, 1, 1)),
            'tags': jnp.tile(batch['tags'], (4, 1))}
  run = jax.jit(lambda batch: model.apply({'params': params}, batch))
  said = run(batch)
  assert {k: v.shape for k, v in said.items()} == {
      'answers': (8, 7), 'match': (8,), 'pair': (4, 2)}
  assert all(v.dtype == jnp.float32 for v in said.values())
  assert {'head', 'match_head', 'pair_head'} <= set(params)
  # Each statement's pictures stand left and right.
  swapped = batch | {k: batch[k].reshape(4, 2, *batch[k].shape[1:])[
      :, ::-1].reshape(batch[k].shape) for k in ('regions', 'boxes', 'tags')}
  assert np.abs(run(swapped)['pair'] - said['pair']).max() > 1e-3


def test_one_output_has_one_head_and_answers_begin_unlikely():
  model, _, batch, _ = build()
  params = elastic.unbox(model.init(jax.random.key(0), batch)['params'])
  assert not set(params) & {'words_head', 'match_head', 'pair_head'}
  np.testing.assert_allclose(jax.nn.sigmoid(params['head']['bias']), 0.01,
                             rtol=1e-5)


@pytest.mark.parametrize('tied', [True, False])
def test_words_that_come_out_are_those_that_go_in(tied):
  model, params, batch, _ = captioner(tied=tied)
  assert (params['words_head'].keys() >= {'decoder'}) == (not tied)

  def loss(table):
    text = params['text'] | {'words': {'table': table}}
    said = model.apply({'params': params | {'text': text}}, batch)['words']
    return jax.nn.log_softmax(said)[..., 10].sum()

  # Number 10 is in no text: only as a word that comes out it has a slope.
  slope = jax.jit(jax.grad(loss))(params['text']['words']['table'])[10]
  assert (np.abs(slope).max() > 1e-3) == tied


def test_only_asked_words_are_decoded_of_tags_too():
  model, params, batch, _ = captioner()
  hidden = encoded(model, params, batch)
  places = jnp.array([[0, 7], [5, 8], [3, 3], [6, 1]])
  said = model.apply({'params': params}, batch | {'places': places})['words']
  head, table = params['words_head'], params['text']['words']['table']
  x = np.take_along_axis(hidden, places[..., None], 1)
  x = jax.nn.gelu(x @ head['transform']['kernel'] + head['transform']['bias'],
                  approximate=False)
  x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
  x = x * head['norm']['scale'] + head['norm']['bias']
  np.testing.assert_allclose(said, x @ table.T + head['bias'], atol=1e-5)


def test_a_narrow_one_reads_the_first_channels_of_the_table():
  model, params, batch, axes = captioner()
  half = Submodel('1/2', '1/2')
  small = elastic.Slices(axes, model.stacks).cut(params, half)
  assert small['text']['words']['table'].shape == (11, 8)
  np.testing.assert_allclose(
      model.at(half).apply({'params': small}, batch)['words'],
      model.apply({'params': params}, batch, sub=half)['words'], atol=1e-5)


def test_slopes_are_finite_and_the_loop_is_the_batch():
  model, params, batch, _ = captioner()
  batch = batch | {'tokens': batch['tokens'].at[0].set(0)}

  def loss(params, batch):
    each = jnp.square(model.apply({'params': params}, batch)['words']).sum((1, 2))
    return each.sum(), each

  (_, together), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(
      params, batch)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))
  rows = {k: jnp.repeat(v, 4 // len(v), 0)[:, None] for k, v in batch.items()}
  alone = jax.jit(jax.vmap(lambda row: loss(params, row)[0]))(rows)
  np.testing.assert_allclose(alone, together, rtol=1e-5)


# --- what grows word by word --------------------------------------------------

@pytest.mark.parametrize('changes, sub, tags', [
    ({}, '1x1', True), ({}, '1/2x1/2', False),
    (dict(adapter=6, skip=('encoder/layer_0',)), '1x1', True)])
def test_steps_are_the_whole_model(changes, sub, tags):
  """Each next word is what the full model says of a mask at its place."""
  model, params, batch, _ = captioner(**changes)
  sub, texts = Submodel.parse(sub), batch['tokens']
  batch = {k: v for k, v in batch.items() if tags or k != 'tags'}
  rules = Rules(start=1, end=2, length=6)
  step, kept = decoding.steps(model, params, batch, rules, MASK, each=2, sub=sub)
  step = jax.jit(step)

  @jax.jit
  def whole(tokens, place):
    return model.apply({'params': params}, batch | {
        'tokens': tokens, 'places': jnp.full((4, 1), place)}, sub=sub)['words']

  with jax.default_matmul_precision('highest'):
    for place in range(1, 6):
      got, kept = step(kept, texts[:, place - 1], jnp.int32(place))
      masked = texts.at[:, place].set(MASK).at[:, place + 1:].set(0)
      want = whole(masked, place)[:, 0]
      assert np.abs(got - want).max() < 1e-5 * np.abs(want).max()


def test_every_word_at_once_is_word_by_word():
  model, params, batch, _ = captioner()
  texts = batch['tokens'].at[0, 4:].set(0)  # The first caption is shorter.
  both = jax.jit(lambda tokens: model.apply(
      {'params': params}, batch | {'tokens': tokens}, MASK, method='each_word'))
  got = both(texts)
  assert got.shape == (4, 5, 11)
  step, kept = decoding.steps(model, params, batch, Rules(
      start=1, end=2, length=6), MASK, each=2)
  step = jax.jit(step)
  for place in range(1, 6):
    want, kept = step(kept, texts[:, place - 1], jnp.int32(place))
    real = np.asarray(texts[:, place] != 0)
    np.testing.assert_allclose(got[real, place - 1], want[real], atol=1e-5)
  # No word is told by itself, nor by those behind it.
  other = both(texts.at[:, 3].set(texts[:, 3] % 8 + 1))
  np.testing.assert_array_equal(other[:, :3], got[:, :3])
  assert np.abs(other[:, 3:] - got[:, 3:]).max() > 1e-3


def test_beams_take_what_is_kept_along():
  """Scores of the search are those of the full model, word for word."""
  model, params, batch, _ = captioner()
  rules = Rules(start=1, end=2, length=6, never=(0, MASK))
  step, kept = decoding.steps(model, params, batch, rules, MASK, each=3)
  found = jax.jit(lambda kept: decoding.beam(step, kept, 2, rules, 3))(kept)
  whole = jax.jit(lambda tokens, place: model.apply({'params': params}, batch | {
      'tokens': tokens, 'places': jnp.full((6, 1), place)})['words'][:, 0])
  texts = found.tokens.reshape(6, 6)
  total, said = np.zeros(6), np.zeros(6)
  for place in range(1, 6):
    masked = texts.at[:, place].set(MASK).at[:, place + 1:].set(0)
    logits = np.asarray(whole(masked, place), float)
    real = np.asarray(texts[:, place] != 0)
    total += real * (logits[np.arange(6), texts[:, place]]
                     - np.log(np.exp(logits).sum(-1)))
    said += real
  np.testing.assert_allclose(found.score.reshape(-1), total / said, atol=1e-5)
  for three in np.asarray(found.tokens):
    assert len(np.unique(three, axis=0)) == 3


def test_one_program_for_any_number_of_regions_and_words():
  model, params, batch, _ = captioner()
  rules = Rules(start=1, end=2, length=6, never=(0,))

  @jax.jit
  @chex.assert_max_traces(1)
  def run(params, batch):
    found = decoding.decode(model, params, batch, rules, MASK, beams=3)
    drawn = decoding.draw(model, params, batch, rules, MASK, jax.random.key(0),
                          each=2)
    return found, drawn

  found, drawn = run(params, batch)
  assert found.tokens.shape == (2, 6) and drawn.tokens.shape == (2, 2, 6)
  fewer = batch | {'regions': batch['regions'].at[:, 2:].set(0),
                   'tags': batch['tags'].at[:, 1:].set(0)}
  assert np.abs(run(params, fewer)[0].score - found.score).max() > 1e-3
  cut = {k: batch[k][:, :2] for k in ('regions', 'boxes')}
  alone = jax.jit(lambda batch: decoding.decode(
      model, params, batch, rules, MASK, beams=3))(
          cut | {'tags': batch['tags'][:, :1]})
  np.testing.assert_array_equal(alone.tokens, run(params, fewer)[0].tokens)
  np.testing.assert_allclose(alone.score, run(params, fewer)[0].score, atol=1e-5)


# --- bad input ----------------------------------------------------------------

@pytest.mark.parametrize('changes, change, said', [
    ({}, lambda b: {k: v for k, v in b.items() if k != 'boxes'},
     "no key of the batch 'boxes'"),
    (dict(outputs=('words',)),
     lambda b: {k: v for k, v in b.items() if k != 'places'},
     "no key of the batch 'places'"),
    ({}, lambda b: b | {'regions': b['regions'][..., :5]},
     'have 5 features, the model reads 8'),
    ({}, lambda b: b | {'tokens': jnp.ones((4, 9), jnp.int32)},
     'have 9 tokens, but tags stand from place 8 on'),
    ({}, lambda b: b | {'tags': jnp.ones((2, 5), jnp.int32)},
     '6 tokens of a text and 5 of tags do not fit into 12 places'),
    ({}, lambda b: b | {'tokens': b['tokens'][:3]},
     '3 texts, or pictures, do not split evenly over 2')])
def test_a_batch_that_cannot_be_says_so(changes, change, said):
  model, params, batch, _ = build(**changes)
  with pytest.raises(ValueError, match=said):
    jax.eval_shape(model.apply, {'params': params}, change(batch))


def test_a_model_that_cannot_be_says_so():
  with pytest.raises(ValueError, match="no mask of MiniVLM 'captions'.*caption"):
    backbones.create(SIZES | dict(mask='captions'))
  with pytest.raises(ValueError, match="'answers' needs num_answers"):
    backbones.create(SIZES | dict(num_answers=0))


@pytest.mark.parametrize('changes, rules, said', [
    (dict(mask='both', outputs=('words',)), {}, "set mask='caption'"),
    (dict(mask='caption', outputs=('words',), tag_start=None), {},
     'tags follow its last word and move with it; set tag_start of the model'),
    (dict(mask='caption', outputs=('words',)), dict(length=9),
     'captions of 9 words were asked for, but the model has 8 places'),
    (dict(mask='caption'), {}, "the output 'words', but the model returns answ")])
def test_captions_that_cannot_be_written(changes, rules, said):
  model, params, batch, _ = build(**changes)
  rules = Rules(**dict(start=1, end=2, length=6) | rules)
  with pytest.raises(ValueError, match=re.escape(said)):
    decoding.decode(model, params, batch, rules, MASK)
