"""MiniVLM: sizes, who sees whom, outputs, and bad input."""
import functools

from bst_jax import elastic
from bst_jax import models as backbones
from bst_jax.elastic import Submodel
from bst_jax.layers import cached
from bst_jax.models import minivlm
from captioners import build, captioner, SIZES
import jax
import jax.numpy as jnp
import numpy as np
import pytest


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
