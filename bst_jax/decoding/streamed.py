"""A caption whose words are handed on as they are found."""
from collections.abc import Iterator, Mapping
import functools
from typing import Any

from bst_jax.decoding import captions
from bst_jax.decoding.rules import log_probs, Rules
from bst_jax.elastic import FULL, Submodel
from bst_jax.layers import cached
import jax
import jax.numpy as jnp


def streamed(model: Any, params: Any, batch: Mapping[str, jax.Array],
             rules: Rules, mask_token: int, *, sub: Submodel = FULL
             ) -> Iterator[int]:
  """Yields the words of the greedy caption of one picture, the end included.

  They are those of `decode` with one beam, which says them all at once and in
  less time.

  Args:
    model, params, rules, mask_token, sub: as of `captions.decode`.
    batch: of one picture.
  """
  begin, step = _programs(captions.unrolled(model), rules, mask_token, sub)
  context, kept = begin(params, batch)
  tokens = jnp.zeros((1, rules.length), jnp.int32).at[:, 0].set(rules.start)
  for place in range(1, rules.length):
    tokens, kept = step(params, context, kept, tokens, jnp.int32(place))
    yield (word := int(tokens[0, place]))
    if word == rules.end:
      return


@functools.lru_cache(maxsize=4)
def _programs(model, rules, mask_token, sub):
  """What reads a picture, and what says one word more."""
  def begin(params, batch):
    real, fixed = model.apply({'params': params}, batch, sub=sub,
                              method='context', mutable=[cached.CONTEXT])
    return (real, fixed), cached.room(fixed[cached.CONTEXT], 1, rules.length)

  def step(params, context, kept, tokens, place):
    real, fixed = context
    last = jax.lax.dynamic_index_in_dim(tokens, place - 1, 1, keepdims=False)
    logits, new = model.apply(
        {'params': params, cached.TEXTS: kept, **fixed}, last, place, real,
        mask_token, sub=sub, method='step', mutable=[cached.TEXTS])
    word = log_probs(logits, tokens, place, rules).argmax(-1)
    return tokens.at[:, place].set(word), new[cached.TEXTS]

  return jax.jit(begin), jax.jit(step)
