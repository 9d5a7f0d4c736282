"""Captions that grow word by word, by a tiny MiniVLM."""
import re

from bst_jax import decoding, elastic
from bst_jax import models as backbones
from bst_jax.decoding import Rules
from bst_jax.elastic import Submodel
from captioners import build, CAPTIONER, captioner, MASK
import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest


@pytest.mark.parametrize('changes, sub, tags', [
    ({}, '1x1', True), ({}, '1/2x1/2', False), (dict(scan=True), '1x1', True),
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


def test_captions_of_regions_are_learnt():
  """Two regions of five kinds: their kinds in order, as many words as regions.
  """
  kinds, first, end = 5, 6, 7
  rng = np.random.default_rng(0)
  seen = rng.integers(1, kinds + 1, (16, 2))
  seen[::4, 1] = 0  # One region alone.
  features = np.eye(kinds + 1, 8, dtype=np.float32)[seen] * (seen > 0)[..., None]
  boxes = np.tile(np.array([[0, 0, .5, .5], [.5, .5, 1, 1]], np.float32),
                  (16, 1, 1))
  texts = np.zeros((16, 4), np.int32)
  for text, (left, right) in zip(texts, seen):
    said = [first, left, right, end] if right else [first, left, end]
    text[:len(said)] = said
  batch = {k: jnp.asarray(v) for k, v in dict(
      tokens=texts, regions=features, boxes=boxes,
      places=np.zeros((16, 1), int)).items()}
  model = backbones.create(CAPTIONER | dict(
      width=32, mlp=64, init_std=0.2, dropout=0.0))
  params = elastic.unbox(jax.jit(model.init)(
      jax.random.key(0), batch)['params'])
  tx = optax.adam(5e-3)

  def loss(params):
    logits = model.apply({'params': params}, batch, MASK, method='each_word')
    told = batch['tokens'][:, 1:]
    each = optax.softmax_cross_entropy_with_integer_labels(logits, told)
    return (each * (told > 0)).sum() / (told > 0).sum()

  def step(carry, _):
    params, state = carry
    value, grads = jax.value_and_grad(loss)(params)
    updates, state = tx.update(grads, state)
    return (optax.apply_updates(params, updates), state), value

  (params, _), values = jax.jit(lambda params: jax.lax.scan(
      step, (params, tx.init(params)), length=100))(params)
  assert values[0] > 1.5 and values[-1] < 0.05
  rules = Rules(start=first, end=end, length=4)
  for beams in (1, 2):
    found = jax.jit(lambda params, beams=beams: decoding.decode(
        model, params, batch, rules, MASK, beams=beams))(params)
    np.testing.assert_array_equal(found.tokens, texts)
  # Of regions in the other order it says the other words.
  turned = batch | {'regions': batch['regions'][:, ::-1]}
  found = decoding.decode(model, params, turned, rules, MASK)
  both = (seen > 0).all(1) & (seen[:, 0] != seen[:, 1])
  assert (np.asarray(found.tokens) != texts)[both].any(1).mean() > 0.8
