"""Texts that grow one word at a time, each for itself: greedy, and sampled."""
from collections.abc import Callable
from typing import Any

from bst_jax.decoding.rules import log_probs, Rules, Texts
from bst_jax.layers.dropout import keys_of_rows
import jax
import jax.numpy as jnp

# (what is kept of the texts, their last words int32[R], place int32[] of the
# next) -> logits float[R, V] of the next, what is kept.
Step = Callable[[Any, jax.Array, jax.Array], tuple[jax.Array, Any]]


def greedy(step: Step, kept: Any, rows: int, rules: Rules) -> Texts:
  """The most probable word, again and again.

  Args:
    step: see `Step`.
    kept: before the first word.
    rows: R texts.
    rules: of texts.

  Returns:
    Texts: tokens int32[R, length], score float[R].
  """
  return _grown(step, kept, rows, rules,
                lambda found, place: found.argmax(-1))


def sampled(step: Step, kept: Any, rows: int, rules: Rules, key: jax.Array, *,
            temperature: float = 1.0, top: int = 0) -> Texts:
  """Words drawn by their probabilities.

  A row's draws depend on the key and on the number of the row alone.

  Args:
    step, kept, rows, rules: as of `greedy`.
    key: of jax.random.
    temperature: logits are divided by it.
    top: so many of the most probable words are drawn from; 0 for all.

  Returns:
    Texts: tokens int32[R, length], score float[R], of the probabilities at
    temperature 1.

  Raises:
    ValueError: the temperature is not above 0, or `top` below it.
  """
  if not temperature > 0 or top < 0:
    raise ValueError(
        f'words were to be drawn at temperature {temperature} from the top '
        f'{top}; a temperature is above 0 and top is 0, for all words, or '
        'more. `greedy` takes the most probable one.')

  def pick(found, place):
    if 0 < top < found.shape[-1]:
      least = jax.lax.top_k(found, top)[0][:, -1:]
      found = jnp.where(found >= least, found, -jnp.inf)
    keys = keys_of_rows(jax.random.fold_in(key, place), rows)
    return jax.vmap(jax.random.categorical)(keys, found / temperature)

  return _grown(step, kept, rows, rules, pick)


def _grown(step, kept, rows, rules, pick):
  """Texts whose next words `pick` takes from their log-probabilities."""
  def goes_on(state):
    place, _, _, _, alive, _ = state
    return (place < rules.length) & alive.any()

  def say(state):
    place, tokens, total, said, alive, kept = state
    logits, kept = step(kept, tokens[:, place - 1], place)
    found = log_probs(logits, tokens, place, rules)
    word = pick(found, place).astype(tokens.dtype)
    gain = jnp.take_along_axis(found, word[:, None], 1)[:, 0]
    tokens = tokens.at[:, place].set(jnp.where(alive, word, 0))
    total, said = total + jnp.where(alive, gain, 0.0), said + alive
    return place + 1, tokens, total, said, alive & (word != rules.end), kept

  tokens = jnp.zeros((rows, rules.length), jnp.int32).at[:, 0].set(rules.start)
  _, tokens, total, said, _, _ = jax.lax.while_loop(goes_on, say, (
      jnp.int32(1), tokens, jnp.zeros(rows), jnp.zeros(rows, jnp.int32),
      jnp.ones(rows, bool), kept))
  return Texts(tokens, total / said)
