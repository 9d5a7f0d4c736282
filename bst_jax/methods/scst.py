"""Captions rewarded as wholes, by what people wrote of the same picture.

A model writes some captions of a picture by chance, and one that it finds best.
Each of the former earns its CIDEr-D less that of the latter: better ones become
more probable, worse ones less.

The closing word counts as a word on both sides of the reward, and its
probability is learnt as that of any other; nothing behind it counts. Without it
"a man with a" would earn as much as "a man.", and captions would end so.
"""
from collections.abc import Mapping
import dataclasses
import functools
from typing import Any

from bst_jax import decoding
from bst_jax.decoding import Rules
from bst_jax.elastic import FULL
from bst_jax.learn import paths
from bst_jax.learn import state as states
from bst_jax.learn.state import Method, Pass
from bst_jax.scores import captions, cider
from bst_jax.tasks import captioning
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True)
class Critic:
  """Who writes captions, and what they earn.

  Attributes:
    model: writes them.
    tx: the optimiser, which says what is trained.
    sizes: of the data, which tell the words that open, close and mask.
    samples: captions of a picture that are drawn.
    frequencies: of a corpus, by which words weigh; None where the data are not
      there, as where a step is compiled only.
    open_words: numbers of the words that end no sentence, as "a" or "with".
  """

  model: nn.Module
  tx: Any
  sizes: Mapping[str, Any]
  samples: int
  frequencies: cider.Frequencies | None
  open_words: tuple[int, ...]


def make(model, task, tx, *, axes, space, micro_batches, samples=5,
         frequencies='', data=None, sizes=None) -> Method:
  """Trains the full model on rewards of the captions that it writes.

  It makes little of random parameters: start from a model that was trained on
  masked words. Dropout would let other captions be learnt than were drawn: set
  config.model.dropout to 0.

  Args:
    model: with `context`, `step` and `each_word`, as `models.minivlm`.
    task: of captioning.
    tx: an optax transformation.
    axes: axis names, unused here.
    space: submodels, unused here.
    micro_batches: parts of a batch that are worked on one after the other.
    samples: captions of a picture that are drawn.
    frequencies: file of `cider.Frequencies.save`, of the same tokens and with
      the closing one; '' takes them from the captions of the training split.
    data: what is trained on; None where nothing is run.
    sizes: of the data.

  Raises:
    ValueError: the model or the task writes no captions, or the frequencies
      are of something else.

  Reference: Rennie et al., "Self-critical Sequence Training for Image
    Captioning", CVPR 2017; five samples as OSCAR's released settings have them.
  """
  del axes, space
  _check(model, task, samples)
  critic = Critic(model, tx, sizes or {}, samples,
                  _frequencies(frequencies, data, sizes or {}),
                  _open_words(data))

  def init(rng, params):
    return states.start(rng, params, tx)

  def step(state, batches):
    grads, metrics, written = states.accumulate(
        functools.partial(critic_grads, critic), state, batches['train'],
        micro_batches, mean=True)
    return states.update(state, grads, tx, metrics, written)

  return Method(init, step, (
      Pass(FULL, samples), Pass(FULL, samples + 1, learns=False)))


def critic_grads(critic: Critic, state: states.TrainState,
                 batch: Mapping[str, jax.Array], key: jax.Array
                 ) -> tuple[Any, dict[str, jax.Array], Any]:
  """Gradients of what is trained, metrics and the batch statistics that were
  written, from one part of a batch.
  """
  drawing, dropping = jax.random.split(key)
  rules = captioning.rules(critic.sizes, batch['whole'].shape[1],
                           rows=critic.model.vocab_size)
  mask = captioning.special(critic.sizes)[2]
  pictures = _of_pictures(batch)
  write = dict(model=critic.model, params=state.params, batch=pictures,
               rules=rules, mask_token=mask)
  said = decoding.draw(**write, key=drawing, each=critic.samples).tokens
  best = decoding.decode(**write).tokens                    # [P, T]
  count = len(best)
  references = batch['whole'].reshape(count, -1, rules.length)
  earned = reward(critic.frequencies, jnp.concatenate(
      [said, best[:, None]], 1), references,
      batch['mask'].reshape(count, -1))                     # [P, S + 1]
  real = batch['mask'].reshape(count, -1).any(1)
  advantage = earned[:, :-1] - earned[:, -1:]

  trained, rest = states.trained(state.params, critic.tx)

  def loss(trained):
    logits, written = states.forward(
        critic.model, paths.join(trained, rest),
        pictures | {'tokens': said.reshape(-1, rules.length)}, dropping,
        method='each_word', mask_token=mask)
    found = said_log_probs(logits, said.reshape(-1, rules.length), rules)
    return loss_of(found.reshape(*said.shape[:2], -1), said, advantage,
                   real), written

  (loss, written), grads = jax.value_and_grad(loss, has_aux=True)(trained)
  mean = lambda x: (x * real).sum() / jnp.maximum(real.sum(), 1)
  metrics = {'loss/full': loss, 'reward/sampled': mean(earned[:, :-1].mean(1)),
             'reward/greedy': mean(earned[:, -1])}
  ends = endings(best, rules, critic.open_words)
  return grads, metrics | {
      f'captions/{name}': mean(is_so) for name, is_so in ends.items()}, written


def said_log_probs(logits: jax.Array, said: jax.Array, rules: Rules
                   ) -> jax.Array:
  """float[R, T - 1], logarithms of the probabilities of words that were drawn.

  Args:
    logits: float[R, T - 1, V], of the second word to the last.
    said: int32[R, T].
    rules: say what is never drawn, which takes no part in the probabilities.
  """
  never = jnp.isin(jnp.arange(logits.shape[-1]), jnp.array(rules.never, int))
  found = jax.nn.log_softmax(jnp.where(never, -jnp.inf, logits))
  # Padding is never drawn; what would stand for it is left out by `loss_of`.
  word = jnp.where(said[:, 1:] == 0, rules.end, said[:, 1:])
  return jnp.take_along_axis(found, word[..., None], -1)[..., 0]


def loss_of(found: jax.Array, said: jax.Array, advantage: jax.Array,
            real: jax.Array) -> jax.Array:
  """float[], the loss whose slope makes better captions more probable.

  Args:
    found: float[P, S, T - 1], logarithms of the probabilities of the words
      said, the closing one among them.
    said: int32[P, S, T], zeros behind the closing word.
    advantage: float[P, S], what each earned above the caption found best.
    real: bool[P], false for padding.

  Reference: Rennie et al., CVPR 2017, equation 8, by the mean of a caption's
    words, as released code of OSCAR has it.
  """
  told = said[..., 1:] != 0
  mean = (found * told).sum(-1) / jnp.maximum(told.sum(-1), 1)
  gain = jax.lax.stop_gradient(advantage) * mean * real[:, None]
  return -gain.sum() / jnp.maximum(real.sum() * said.shape[1], 1)


def reward(frequencies: cider.Frequencies | None, said: jax.Array,
           references: jax.Array, real: jax.Array) -> jax.Array:
  """float[P, S], CIDEr-D from 0 to 10 of captions, computed on the host.

  Args:
    frequencies: of the training corpus.
    said: int32[P, S, T], captions behind an opening word.
    references: int32[P, Q, T], likewise.
    real: bool[P, Q], false for padding.
  """
  shape = jax.ShapeDtypeStruct(said.shape[:2], jnp.float32)
  return jax.pure_callback(
      functools.partial(rewards, frequencies), shape, said, references, real)


def rewards(frequencies: cider.Frequencies, said: np.ndarray,
            references: np.ndarray, real: np.ndarray) -> np.ndarray:
  """What `reward` gives; equal references of a picture count once."""
  said, references, real = map(np.asarray, (said, references, real))
  earned = np.zeros(said.shape[:2], np.float32)
  there = np.flatnonzero(real.any(1))
  if len(there):
    known = [[*dict.fromkeys(tuple(_words(row)) for row in rows[mask])]
             for rows, mask in zip(references[there], real[there])]
    each = [_words(row) for rows in said[there] for row in rows]
    earned[there] = cider.cider_d(each, known, frequencies).reshape(
        len(there), -1)
  return earned


def endings(captions_: jax.Array, rules: Rules,
            open_words: tuple[int, ...]) -> dict[str, jax.Array]:
  """Which captions stop in the middle.

  Args:
    captions_: int32[P, T], behind an opening word.
    rules: of captions.
    open_words: numbers of words that end no sentence.

  Returns:
    float[P] each: `open_ends`, whose last word is one of these, and `unclosed`,
    that have no closing word.
  """
  said = captions_[:, 1:]
  closed = (said == rules.end).any(1)
  last = (said != 0).sum(1) - 1 - closed
  word = jnp.take_along_axis(said, jnp.maximum(last, 0)[:, None], 1)[:, 0]
  open_ = jnp.isin(word, jnp.array(open_words, int)) & (last >= 0)
  return {'open_ends': open_.astype(jnp.float32),
          'unclosed': 1.0 - closed.astype(jnp.float32)}


def _of_pictures(batch):
  """What a model reads of pictures, with tags once a picture."""
  count = len(batch['regions'])
  rest = {key: batch[key] for key in ('regions', 'boxes')}
  if 'tags' in batch:
    rest['tags'] = batch['tags'][::len(batch['tags']) // count]
  return rest


def _words(row):
  """A caption as numbers, without its opening word and padding."""
  return row[1:][row[1:] != 0].tolist()


def _frequencies(path, data, sizes):
  """Document frequencies: of a file, or of the captions of the training split.

  Raises:
    ValueError: those of the file are of words, or of another closing token.
  """
  if data is None:
    return None
  end = captioning.special(sizes)[1]
  if not path:
    rows = data.numbers()
    each = [_words(row) for row in rows.tokens]
    return cider.frequencies(
        [each[a:b] for a, b in zip(rows.start, rows.start[1:]) if a < b], end)
  found = cider.Frequencies.load(path)
  if found.words is not None or found.closing != end:
    raise ValueError(
        f'config.method.frequencies is {path}, whose closing token is '
        f'{found.closing}, but captions here are tokens that end with {end}; '
        'leave it out, so that they are taken from the training split.')
  return found


def _open_words(data):
  """Numbers of the words that end no sentence."""
  if data is None:
    return ()
  return tuple(i for i, word in enumerate(data.vocab.words)
               if word in captions.OPEN)


def _check(model, task, samples):
  if task.form != 'captioning' or not hasattr(model, 'each_word'):
    raise ValueError(
        f'method scst rewards captions that a model writes, but task '
        f'{task.form} of {type(model).__module__} writes none; set config.task '
        "to dict(name='captioning') and config.model to minivlm with "
        "mask='caption'.")
  if samples < 1:
    raise ValueError(f'config.method.samples is {samples}; at least one caption '
                     'of a picture is drawn, five as published.')
