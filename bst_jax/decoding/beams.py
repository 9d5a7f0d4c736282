"""Beam search: several hypotheses of every text grow side by side."""
from typing import Any, NamedTuple

from bst_jax.decoding.rules import log_probs, NEVER, Rules, Texts
from bst_jax.decoding.single import Step
import jax
import jax.numpy as jnp


class _State(NamedTuple):
  """A search on its way.

  Attributes:
    place: int32[], of the next word.
    tokens, total: int32[B, W, length] and float[B, W], of the hypotheses that
      grow and the sums of their log-probabilities.
    ended: `Texts` of the best ones that have ended, the best first.
    done: bool[B], whether nothing that grows can enter them any more.
    kept: what `step` keeps.
  """

  place: jax.Array
  tokens: jax.Array
  total: jax.Array
  ended: Texts
  done: jax.Array
  kept: Any


def beam(step: Step, kept: Any, pictures: int, rules: Rules, beams: int
         ) -> Texts:
  """The best texts of a search that keeps `beams` hypotheses of each picture.

  A hypothesis ends with the end, if it is among the best `beams` then, or at
  the greatest length. It scores the mean of its log-probabilities. A search is
  over when none that grows scores more, at its present length, than the worst
  of `beams` that have ended.

  With one beam it is `single.greedy`.

  Args:
    step: see `single.Step`; rows of a picture stand together.
    kept: before the first word; arrays of B W rows.
    pictures: B.
    rules: of texts.
    beams: W.

  Returns:
    Texts: tokens int32[B, W, length] and score float[B, W], the best first; a
    score of minus infinity where fewer were found.

  Raises:
    ValueError: no beam was asked for.

  Reference: MiniVLM and OSCAR decode captions so; an end among the best only,
    and the rule that stops, are those of the transformers library.
  """
  if beams < 1:
    raise ValueError(
        f'{beams} beams were asked for, but a search keeps at least one '
        'hypothesis; give 1, which is greedy, or more.')
  shape = pictures, beams
  tokens = jnp.zeros((*shape, rules.length), jnp.int32)
  state = _State(
      jnp.int32(1), tokens.at[:, :, 0].set(rules.start),
      # All are alike before the first word: one of them grows.
      jnp.broadcast_to(jnp.where(jnp.arange(beams), NEVER, 0.0), shape),
      Texts(tokens, jnp.full(shape, NEVER)), jnp.zeros(pictures, bool), kept)
  state = jax.lax.while_loop(
      lambda state: (state.place < rules.length) & ~state.done.all(),
      lambda state: _said(step, state, rules), state)
  # At the greatest length what still grows has ended too.
  total = jnp.where(state.done[:, None], NEVER, state.total)
  return _best(state.ended, state.tokens, total / (rules.length - 1))


def _said(step, state, rules):
  """The search one word on."""
  pictures, beams, length = state.tokens.shape
  place, flat = state.place, state.tokens.reshape(-1, length)
  logits, kept = step(state.kept, flat[:, place - 1], place)
  found = log_probs(logits, flat, place, rules)
  total, parents, words = _candidates(
      found.reshape(pictures, beams, -1) + state.total[..., None])
  take = lambda x, index: jnp.take_along_axis(
      x, index.reshape(*index.shape, *[1] * (x.ndim - 2)), 1)
  tokens = take(state.tokens, parents).at[:, :, place].set(words)

  # At most one of each parent's candidates is the end: `beams` others are left.
  ends = words == rules.end
  good = ends & (jnp.arange(words.shape[1]) < beams) & ~state.done[:, None]
  ended = _best(state.ended, tokens, jnp.where(good, total, NEVER) / place)
  _, rest = jax.lax.top_k(jnp.where(ends, NEVER, total), beams)
  total = take(jnp.where(ends, NEVER, total), rest)
  done = state.done | (ended.score[:, -1] >= total[:, 0] / place)
  done &= ended.score[:, -1] > NEVER
  rows = jnp.arange(pictures)[:, None] * beams + take(parents, rest)
  rows = rows.reshape(-1)
  return _State(place + 1, take(tokens, rest), total, ended, done,
                jax.tree.map(lambda x: x[rows], kept))


def _candidates(total):
  """The best 2 W of float[B, W, V]: their sums, parents and words."""
  pictures, beams, vocab = total.shape
  count = min(2 * beams, vocab)
  # Of every parent first: a row of its own is sorted faster than all in one.
  best, words = jax.lax.top_k(total, count)                 # [B, W, count]
  flat = lambda x: x.reshape(pictures, -1)
  best, index = jax.lax.top_k(flat(best), min(2 * beams, beams * count))
  return best, index // count, jnp.take_along_axis(flat(words), index, 1)


def _best(ended, tokens, score):
  """The best `Texts` of those that have ended and of more of them."""
  score, index = jax.lax.top_k(
      jnp.concatenate([ended.score, score], 1), ended.score.shape[1])
  tokens = jnp.concatenate([ended.tokens, tokens], 1)
  return Texts(jnp.take_along_axis(tokens, index[..., None], 1), score)
