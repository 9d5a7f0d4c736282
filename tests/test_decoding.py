"""Texts that grow word by word, against searches written in plain Python."""
import itertools
import re

from bst_jax import decoding
from bst_jax.decoding import Rules
from bst_jax.decoding import rules as rules_lib
import jax
import jax.numpy as jnp
import numpy as np
import pytest

WORDS, START, END = 5, 1, 2
RULES = Rules(start=START, end=END, length=5, never=())


def network(seed, rows, vocab=WORDS, each=1):
  """A step whose next word hangs on the last two and on the picture.

  What it keeps are the picture and the last word but one, so that beams that
  change their places without it would tell nonsense.
  """
  rng = np.random.default_rng(seed)
  table = 2 * rng.standard_normal((rows // each, vocab, vocab, vocab))

  def step(kept, last, place):
    picture, before = kept
    logits = jnp.asarray(table, jnp.float32)[picture, before, last]
    return logits + 0.1 * place, (picture, last)

  kept = jnp.repeat(jnp.arange(rows // each), each), jnp.zeros(rows, jnp.int32)
  return step, kept, table


def log_prob(table, before, last, word):
  logits = table[before, last]
  top = logits.max()
  return logits[word] - top - np.log(np.exp(logits - top).sum())


def every_text(table, length):
  """(mean log-probability, words) of all texts, in plain numpy."""
  found = []
  for count in range(1, length):
    for words in itertools.product(range(WORDS), repeat=count):
      closed = words[-1] == END
      if END in words[:-1] or not closed and count < length - 1:
        continue
      text, total = (0, START, *words), 0.0
      for before, last, word in zip(text, text[1:], text[2:]):
        total += log_prob(table, before, last, word)
      found.append((total / count, (START, *words)))
  return sorted(found, reverse=True)


def plain_beam(table, beams, rules):
  """Beam search with lists: (score, words) of what has ended."""
  alive, ended = [(0.0, (START,))], []
  for place in range(1, rules.length):
    found = []
    for total, text in alive:
      for word in range(WORDS):
        grown = (*text, word)
        runs = [grown[i:i + rules.block] for i in range(
            len(grown) - rules.block + 1)] if rules.block else []
        if word in rules.never or word == END and place - 1 < rules.least or (
            rules.block and runs[-1:] and runs[-1] in runs[:-1]):
          continue
        before = text[-2] if len(text) > 1 else 0
        found.append((total + log_prob(table, before, text[-1], word), grown))
    found.sort(reverse=True)
    ended += [(total / place, text) for total, text in found[:beams]
              if text[-1] == END]
    ended = sorted(ended, reverse=True)[:beams]
    alive = [one for one in found if one[1][-1] != END][:beams]
    if len(ended) == beams and (
        not alive or ended[-1][0] >= alive[0][0] / place):
      return ended
  ended += [(total / (rules.length - 1), text) for total, text in alive]
  return sorted(ended, reverse=True)[:beams]


def words_of(tokens, end=END):
  """The words of a decoded text, up to the end."""
  tokens = list(map(int, tokens))
  if end in tokens:
    assert not any(tokens[tokens.index(end) + 1:])
    tokens = tokens[:tokens.index(end) + 1]
  return tuple(tokens)


def test_a_beam_that_keeps_all_finds_what_trying_all_finds():
  beams, pictures = 256, 2
  step, kept, table = network(0, pictures * beams, each=beams)
  found = jax.jit(lambda kept: decoding.beam(
      step, kept, pictures, RULES, beams))(kept)
  for picture in range(pictures):
    want = every_text(table[picture], RULES.length)
    assert len(want) == 341
    for got, score, (best, text) in zip(
        found.tokens[picture], found.score[picture], want[:60]):
      assert words_of(got) == text
      np.testing.assert_allclose(score, best, atol=1e-5)


@pytest.mark.parametrize('rules', [
    RULES, Rules(start=START, end=END, length=7, never=(0, START)),
    Rules(start=START, end=END, length=7, never=(0,), least=3),
    Rules(start=START, end=END, length=7, never=(), block=2),
    Rules(start=START, end=END, length=6, never=(0,), block=1, least=1)],
                         ids=['all', 'never', 'least', 'block', 'once'])
@pytest.mark.parametrize('beams', [2, 3])
def test_few_beams_are_those_of_lists(rules, beams):
  pictures = 12
  step, kept, table = network(1, pictures * beams, each=beams)
  found = jax.jit(lambda kept: decoding.beam(
      step, kept, pictures, rules, beams))(kept)
  for picture in range(pictures):
    want = plain_beam(table[picture], beams, rules)
    assert [words_of(t) for t in found.tokens[picture][:len(want)]] == [
        text for _, text in want]
    np.testing.assert_allclose(found.score[picture][:len(want)],
                               [score for score, _ in want], atol=1e-5)


def test_one_beam_is_greedy_which_takes_the_best_word():
  rules = Rules(start=START, end=END, length=9, never=(0,))
  step, kept, table = network(2, 40)
  greedy = jax.jit(lambda kept: decoding.greedy(step, kept, 40, rules))(kept)
  one = jax.jit(lambda kept: decoding.beam(step, kept, 40, rules, 1))(kept)
  np.testing.assert_array_equal(greedy.tokens, one.tokens[:, 0])
  np.testing.assert_allclose(greedy.score, one.score[:, 0], atol=1e-6)
  lengths = set()
  for picture, tokens in enumerate(greedy.tokens):
    text = [0, START]
    while text[-1] != END and len(text) <= rules.length:
      choices = table[picture, text[-2], text[-1]].copy()
      choices[0] = -np.inf
      text.append(int(choices.argmax()))
    assert words_of(tokens) == tuple(text[1:])
    lengths.add(len(text))
  assert len(lengths) > 3  # Some end early, some not at all.


def test_drawn_words_have_their_probabilities():
  rules = Rules(start=START, end=END, length=2, never=())
  rows = 20_000
  logits = jnp.array([0.0, 1.0, -1.0, 2.0, 0.5])
  step = lambda kept, last, place: (jnp.tile(logits, (rows, 1)), kept)

  def shares(**options):
    drawn = decoding.sampled(step, (), rows, rules, jax.random.key(0), **options)
    return np.bincount(drawn.tokens[:, 1], minlength=5) / rows, drawn

  found, drawn = shares()
  np.testing.assert_allclose(found, jax.nn.softmax(logits), atol=0.012)
  np.testing.assert_allclose(
      drawn.score, jax.nn.log_softmax(logits)[drawn.tokens[:, 1]], atol=1e-6)
  np.testing.assert_allclose(shares(temperature=0.5)[0],
                             jax.nn.softmax(2 * logits), atol=0.012)
  best = jax.nn.softmax(logits[jnp.array([1, 3])])
  np.testing.assert_allclose(shares(top=2)[0], [0, best[0], 0, best[1], 0],
                             atol=0.012)


def test_a_draw_is_its_row_s_own():
  rules = Rules(start=START, end=END, length=9, never=())
  # The first pictures have the same networks.
  few, many = (decoding.sampled(*network(3, rows)[:2], rows, rules,
                                jax.random.key(1)).tokens for rows in (3, 6))
  other = decoding.sampled(*network(3, 3)[:2], 3, rules, jax.random.key(2))
  assert (other.tokens != few).any()
  np.testing.assert_array_equal(few, many[:3])


def test_a_search_stops_when_all_have_ended():
  """A step that counts its calls: the rest of the length is not run."""
  rules = Rules(start=START, end=END, length=50, never=())

  def step(calls, last, place):
    logits = jnp.where(jnp.arange(WORDS) == END, 9.0 * (place - 3), 0.0)
    return jnp.tile(logits, (len(last), 1)), calls + 1

  def calls_of(run, rows):
    seen = []
    def counted(kept, last, place):
      jax.debug.callback(lambda p: seen.append(int(p)), place)
      return step(kept, last, place)
    jax.block_until_ready(run(counted, jnp.zeros(rows)))
    jax.effects_barrier()
    return max(seen)

  assert calls_of(lambda step, kept: decoding.greedy(step, kept, 2, rules),
                  2) < 6
  assert calls_of(lambda step, kept: decoding.beam(step, kept, 2, rules, 3),
                  6) < 8


def test_words_in_a_row_once():
  """The worked example: after 5 7 5 7 5, another 7 would say 5 7 again."""
  tokens = jnp.array([[5, 7, 5, 7, 5, 0, 0, 0], [5, 7, 6, 4, 3, 0, 0, 0]])
  bars = jax.jit(lambda block, place: jnp.isneginf(rules_lib.log_probs(
      jnp.zeros((2, 9)), tokens, place, Rules(
          start=5, end=2, length=8, never=(), block=block))), static_argnums=0)
  which = lambda *args: [list(np.flatnonzero(row)) for row in bars(*args)]
  assert which(2, 5) == [[7], []]
  assert which(3, 5) == [[7], []]
  assert which(3, 4) == [[5], []]
  assert which(4, 5) == [[7], []]  # 5 7 5 7 is there.
  assert which(5, 5) == [[], []]
  assert which(1, 5) == [[5, 7], [3, 4, 5, 6, 7]]
  assert which(2, 1) == [[], []]


@pytest.mark.parametrize('options, said', [
    (dict(length=1), 'length 1 .* give 2 or more'),
    (dict(length=5, least=4), 'at least 4 words .* give 0 to 3'),
    (dict(block=-1), 'block -1 is no number'),
    (dict(never=(0, END)), 'word 2 ends texts and is among those never said')])
def test_rules_that_no_text_can_follow(options, said):
  with pytest.raises(ValueError, match=said):
    Rules(**dict(start=START, end=END) | options)


def test_searches_that_cannot_be():
  step, kept, _ = network(0, 2)
  with pytest.raises(ValueError, match='0 beams were asked for'):
    decoding.beam(step, kept, 2, RULES, 0)
  for options in (dict(temperature=0.0), dict(top=-1)):
    with pytest.raises(ValueError, match=re.escape('`greedy` takes')):
      decoding.sampled(step, kept, 2, RULES, jax.random.key(0), **options)
