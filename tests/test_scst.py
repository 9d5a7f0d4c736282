"""Rewards of whole captions: what they are, and where their slope leads."""
import functools
import types

from bst_jax import tasks
from bst_jax.decoding import Rules
from bst_jax.layers import cached
from bst_jax.learn import state as states
from bst_jax.methods import scst
from bst_jax.scores import cider
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

# Words: 0 fills up, 1 opens, 2 closes, 3 masks; "a" is 4 and "with" 5.
SIZES = dict(special=(1, 2, 3))
RULES = Rules(start=1, end=2, length=7, never=(0, 1, 3))
CORPUS = [[[6, 7, 8, 9]], [[6, 5, 4, 10]], [[11, 8, 7]]]
FREQUENCIES = cider.frequencies(CORPUS, closing=2)


def row(*words):
  return [1, *words, *[0] * (6 - len(words))]


# --- the reward ---------------------------------------------------------------

def test_the_closing_word_counts_on_both_sides():
  """Two captions that differ in a final "with a", and what never closes."""
  whole, cut, open_, unclosed = (
      row(6, 7, 8, 9, 2), row(6, 7, 8, 9, 5, 2), row(6, 7, 8, 9, 5, 4),
      row(6, 7, 8, 9))
  earned = scst.rewards(
      FREQUENCIES, np.array([[whole, cut, open_, unclosed]]),
      np.array([[row(6, 7, 8, 9, 2)]]), np.ones((1, 1), bool))[0]
  assert earned[0] == pytest.approx(10, abs=1e-5)
  assert earned[0] > earned[3] > earned[2] and earned[0] > earned[1]
  # Nothing behind the first closing word counts.
  behind = scst.rewards(FREQUENCIES, np.array([[row(6, 7, 8, 9, 2, 5)]]),
                        np.array([[row(6, 7, 8, 9, 2)]]), np.ones((1, 1), bool))
  assert behind == pytest.approx(10, abs=1e-5)


def test_references_of_a_picture():
  said = np.array([[row(6, 7, 8, 9, 2)]] * 2)
  references = np.array([[row(6, 7, 8, 9, 2), row(6, 5, 4, 10, 2),
                          row(6, 5, 4, 10, 2)], [row()] * 3])
  real = np.array([[True] * 3, [False] * 3])
  earned = scst.rewards(FREQUENCIES, said, references, real)
  # The second stands twice, as training fills up, and counts once.
  want = cider.cider_d([[6, 7, 8, 9, 2]], [CORPUS[0] + CORPUS[1]], FREQUENCIES)
  np.testing.assert_allclose(earned, [[want[0]], [0]], rtol=1e-6)
  assert want[0] == pytest.approx(5 + cider.cider_d(
      [[6, 7, 8, 9, 2]], [CORPUS[1]], FREQUENCIES)[0] / 2)


def test_which_captions_stop_in_the_middle():
  texts = jnp.array([row(6, 7, 2), row(6, 5, 4, 2), row(6, 7, 8, 9, 5, 4),
                     row(2), row(4, 6, 7, 8, 9, 10)])
  found = scst.endings(texts, RULES, (4, 5))
  np.testing.assert_array_equal(found['open_ends'], [0, 1, 1, 0, 0])
  np.testing.assert_array_equal(found['unclosed'], [0, 0, 1, 0, 1])


# --- the loss -----------------------------------------------------------------

def test_the_loss_by_hand():
  said = jnp.array([[row(6, 2), row(6, 7, 8, 9, 10, 11)]])
  found = jnp.log(jnp.array([[[.5, .25, 9, 9, 9, 9], [.5] * 6]]))
  # Means of the logarithms are log(1/8) / 2 and log(1/2).
  want = -(2 * np.log(.125) / 2 - 1 * np.log(.5)) / 2
  loss = functools.partial(scst.loss_of, found, said, jnp.array([[2., -1.]]))
  assert loss(jnp.ones(1, bool)) == pytest.approx(want, rel=1e-6)
  assert loss(jnp.zeros(1, bool)) == 0


def test_the_closing_word_learns_and_nothing_behind_it():
  said = jnp.array([row(6, 2), row(6, 7, 8, 9, 10, 11)])

  def loss(logits):
    found = scst.said_log_probs(logits, said, RULES)
    return scst.loss_of(found[None], said[None], jnp.ones((1, 2)),
                        jnp.ones(1, bool))

  slope = np.asarray(jax.grad(loss)(jnp.zeros((2, 6, 12))))
  assert np.isfinite(slope).all()
  assert slope[0, 1, 2] < 0 and not slope[0, 2:].any()
  assert (slope[1, range(6), said[1, 1:]] < 0).all()
  # What is never drawn has no part in the probabilities.
  assert not slope[..., list(RULES.never)].any()
  np.testing.assert_allclose(
      scst.said_log_probs(jnp.zeros((2, 6, 12)), said, RULES), -np.log(9),
      rtol=1e-6)


# --- what is learnt -----------------------------------------------------------

class Table(nn.Module):
  """Logits of the words at each place, whatever the picture and the text."""

  outputs = ('words',)
  max_positions = 7
  vocab_size = 12
  dropout: float = 0.0

  def setup(self):
    self.table = self.param('table', nn.initializers.zeros, (6, 12))

  def context(self, batch, *, sub=None):
    count = len(batch['regions'])
    self.put_variable(cached.CONTEXT, 'key', jnp.zeros((count, 1, 1, 1)))
    return jnp.ones((count, 1), bool)

  def step(self, last, place, context, mask_token, *, sub=None):
    self.put_variable(cached.TEXTS, 'key', self.get_variable(
        cached.TEXTS, 'key'))
    return jnp.broadcast_to(self.table[place - 1], (len(last), 12))

  def each_word(self, batch, mask_token, *, train=False):
    return jnp.broadcast_to(self.table, (len(batch['tokens']), 6, 12))


BATCH = dict(
    regions=jnp.ones((4, 1, 1)), boxes=jnp.ones((4, 1, 4)),
    whole=jnp.array([row(6, 7, 8, 9, 2)] * 4), mask=jnp.arange(4) != 3)
TASK = types.SimpleNamespace(form='captioning')


def method(tx=None, **options):
  """Of the toy, with the corpus above as its training split."""
  flat = [text for texts in CORPUS for text in texts]
  rows = types.SimpleNamespace(
      tokens=np.array([row(*text, 2) for text in flat]), start=np.arange(4))
  data = types.SimpleNamespace(
      numbers=lambda: rows,
      vocab=types.SimpleNamespace(words='_ _ _ _ a with 6 7 8 9 10 11'.split()))
  return scst.make(Table(), TASK, tx or optax.adam(0.05), axes=None, space=None,
                   micro_batches=1, data=data, sizes=SIZES, **options)


def start(made, table=None):
  table = np.zeros((6, 12), np.float32) if table is None else table
  return made.init(jax.random.key(0), {'table': jnp.array(table)})


def test_rewards_teach_a_whole_caption_and_its_end():
  """From a model that knows a little, as rewards are used."""
  table = np.zeros((6, 12), np.float32)
  table[range(5), [6, 7, 8, 9, 2]] = 1.5
  made = method()
  state, step = start(made, table), jax.jit(made.step)
  for _ in range(150):
    state, metrics = step(state, {'train': BATCH})
  assert metrics['reward/greedy'] == pytest.approx(10, abs=1e-4)
  assert metrics['captions/open_ends'] == metrics['captions/unclosed'] == 0
  # They began at 0.29.
  probs = jax.nn.softmax(state.params['table'])
  assert (np.asarray(probs)[range(5), [6, 7, 8, 9, 2]] > 0.5).all()


def test_equal_captions_teach_nothing():
  """Where a word is certain all samples are the best one."""
  table = np.full((6, 12), -40, np.float32)
  table[range(6), [6, 7, 5, 4, 2, 2]] = 40
  made = method(optax.sgd(1.0))
  state, metrics = jax.jit(made.step)(start(made, table), {'train': BATCH})
  assert metrics['grad_norm'] == 0 and metrics['reward/greedy'] > 0
  assert metrics['captions/open_ends'] == 1  # "… with a"
  np.testing.assert_array_equal(state.params['table'], table)


def test_a_reward_that_is_not_finite_is_seen(monkeypatch):
  """By its name: training stops at what is not finite."""
  monkeypatch.setattr(cider, 'cider_d', lambda said, *_: np.full(
      len(said), np.nan))
  made = method(samples=2)
  _, metrics = jax.jit(made.step)(start(made), {'train': BATCH})
  assert np.isnan(metrics['reward/sampled']) and np.isnan(metrics['loss/full'])


def test_frequencies_of_a_file(tmp_path):
  FREQUENCIES.save(tmp_path / 'f.npz')
  assert method(frequencies=str(tmp_path / 'f.npz'))
  cider.frequencies(CORPUS).save(tmp_path / 'f.npz')
  with pytest.raises(ValueError, match='whose closing token is None'):
    method(frequencies=str(tmp_path / 'f.npz'))


def test_what_cannot_be_rewarded():
  with pytest.raises(ValueError, match='samples is 0'):
    method(samples=0)
  with pytest.raises(ValueError, match='rewards captions that a model writes'):
    scst.make(Table(), tasks.create(dict(name='vqa')), None, axes=None,
              space=None, micro_batches=1)
  with pytest.raises(ValueError, match='nothing tells which words begin'):
    scst.critic_grads(
        scst.Critic(Table(), None, {}, 1, None, ()),
        states.start(jax.random.key(0), {}, optax.sgd(1.0)), BATCH,
        jax.random.key(0))
