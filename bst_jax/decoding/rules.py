"""What a growing text may say next, and when it ends."""
import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

NEVER = -jnp.inf  # The logarithm of the probability of what is not allowed.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rules:
  """How long texts are, and what they may not say.

  Attributes:
    start: number of the first word, as [CLS], which is given.
    end: number of the word that ends a text, as [SEP].
    length: words of the longest text, the first one and the end included.
    least: words between the first one and the end, at least.
    block: words in a row that no text says twice; 0 for any.
    never: numbers of words that are never said, as that of padding.

  Raises:
    ValueError: the sizes fit no text.
  """

  start: int
  end: int
  length: int = 20
  least: int = 0
  block: int = 0
  never: tuple[int, ...] = (0,)

  def __post_init__(self):
    if self.length < 2:
      raise ValueError(
          f'texts of length {self.length} were asked for, but the first word '
          'is given and one more has to be said; give 2 or more.')
    if not 0 <= self.least <= self.length - 2:
      raise ValueError(
          f'at least {self.least} words were asked for between the first and '
          f'the end of texts of {self.length}; give 0 to {self.length - 2}, or '
          'a greater length.')
    if not 0 <= self.block <= self.length:
      raise ValueError(
          f'block {self.block} is no number of words in a row of texts of '
          f'{self.length}; give 2 or 3, or 0 to let texts repeat themselves.')
    if self.end in self.never:
      raise ValueError(
          f'word {self.end} ends texts and is among those never said, '
          f'{self.never}; leave it out there.')


class Texts(NamedTuple):
  """Texts that were decoded.

  Attributes:
    tokens: int32[..., length], the first word and the end included, 0 behind.
    score: float[...], the mean of the logarithms of the probabilities of the
      words that were said, the end included.
  """

  tokens: jax.Array
  score: jax.Array


def log_probs(logits: jax.Array, tokens: jax.Array, place: jax.Array,
              rules: Rules) -> jax.Array:
  """Logarithms of the probabilities of the next word, `NEVER` for some.

  What is not allowed takes its probability along: the rest do not sum to one.

  Args:
    logits: float[R, V].
    tokens: int32[R, length], of which those before `place` are there.
    place: int32[], of the next word.
    rules: say what is not allowed.

  Returns:
    float[R, V].
  """
  found = jax.nn.log_softmax(logits, -1)
  words = jnp.arange(logits.shape[-1])
  barred = jnp.zeros(logits.shape[-1], bool)
  for word in rules.never:
    barred |= words == word
  if rules.least:
    barred |= (words == rules.end) & (place <= rules.least)
  found = jnp.where(barred, NEVER, found)
  if not rules.block:
    return found
  return _unrepeated(found, tokens, place, rules.block)


def _unrepeated(found, tokens, place, block):
  """Without the words that would say `block` words in a row again.

  Of 5 7 5 7 5 and two in a row, 7 has followed 5 before: it is barred.
  """
  windows = jnp.stack([tokens[:, i:tokens.shape[1] - block + 1 + i]
                       for i in range(block)], -1)          # [R, W, block]
  first = jnp.maximum(place - block + 1, 0)
  last = jax.lax.dynamic_slice_in_dim(tokens, first, block - 1, 1)
  there = jnp.arange(windows.shape[1]) + block <= place
  again = there & (windows[..., :-1] == last[:, None]).all(-1)
  # What is no repetition writes beyond the last word, which nobody keeps.
  target = jnp.where(again, windows[..., -1], found.shape[-1])
  rows = jnp.arange(len(found))[:, None]
  return found.at[rows, target].set(NEVER, mode='drop')
