"""Keys and values that an attention keeps while a text grows word by word.

What a word sees is of two sorts. The context, as tags and regions of a picture,
never sees the text: its keys and values are computed once for all hypotheses
about the picture. Those of a hypothesis's own words are written at their
places, into room for the longest text, so that shapes never change.
"""
from typing import NamedTuple

from bst_jax.layers import products
from bst_jax.layers.tokens import masked_softmax
from flax import linen as nn
import jax
import jax.numpy as jnp

# Collections of variables: what is kept of the context, and of growing texts.
CONTEXT, TEXTS = 'context', 'texts'
_KEY, _VALUE = 'key', 'value'


class Growing(NamedTuple):
  """What the last words of growing texts see; it takes the place of a mask.

  Attributes:
    place: int32[], of the first of them in its text.
    context: bool[P, C], true for what is real of the context of P pictures;
      their texts stand together, as many for each.
  """

  place: jax.Array
  context: jax.Array


def keep(owner: nn.Module, key: jax.Array, value: jax.Array) -> None:
  """Keeps keys and values float[P, C, h, K] as the context's, if asked to.

  Asked to is an attention whose collection `CONTEXT` is mutable.
  """
  if owner.is_mutable_collection(CONTEXT) and not owner.is_initializing():
    owner.put_variable(CONTEXT, _KEY, key.swapaxes(1, 2))   # [P, h, C, K]
    owner.put_variable(CONTEXT, _VALUE, value.swapaxes(1, 2))


def room(context: dict, each: int, length: int) -> dict:
  """Zeros for what `attend` keeps of growing texts: the collection `TEXTS`.

  Args:
    context: the collection `CONTEXT`.
    each: texts of a picture.
    length: words of the longest text.

  Returns:
    For every attention a key and a value float[P each, h, length, K].
  """
  return jax.tree.map(lambda x: jnp.zeros(
      (x.shape[0] * each, x.shape[1], length, x.shape[3]), x.dtype), context)


def attend(owner: nn.Module, query: jax.Array, key: jax.Array,
           value: jax.Array, growing: Growing) -> jax.Array:
  """What the last words of texts attend to: context, words before, themselves.

  Each also sees those of the last words that stand before it. Their keys and
  values are written at their places, where those of the next call may lie over
  them.

  Args:
    owner: the attention, whose collection `TEXTS` is mutable.
    query, key, value: float[R, n, h, K], of the last n words of R texts.
    growing: where they stand, and what is real of the context.

  Returns:
    float[R, n, h, K].
  """
  keys, values = (_written(owner, name, new, growing.place)
                  for name, new in ((_KEY, key), (_VALUE, value)))
  rows, count, heads, size = query.shape
  pictures, context = growing.context.shape
  # Texts of a picture are rows of one product with its context.
  query = query * size ** -0.5
  beside = query.reshape(pictures, -1, heads, size).swapaxes(1, 2)
  scores = products.einsum('phnk,phck->phnc', beside,
                           owner.get_variable(CONTEXT, _KEY))
  scores = scores.reshape(pictures, heads, -1, count, context).swapaxes(1, 2)
  scores = jnp.concatenate([
      scores.reshape(rows, heads, count, context),
      products.einsum('rhnk,rhlk->rhnl', query.swapaxes(1, 2), keys)], -1)
  written = jnp.arange(keys.shape[2])
  before = written <= growing.place + jnp.arange(count)[:, None]  # [n, L]
  real = jnp.repeat(growing.context, rows // pictures, 0)[:, None]
  probs = masked_softmax(scores, jnp.concatenate([
      jnp.broadcast_to(real, (rows, count, context)),
      jnp.broadcast_to(before, (rows, *before.shape))], -1)[:, None])

  far = probs[..., :context].reshape(pictures, -1, heads, count, context)
  far = far.swapaxes(1, 2).reshape(pictures, heads, -1, context)
  far = products.einsum('phnc,phck->phnk', far,
                        owner.get_variable(CONTEXT, _VALUE))
  far = far.reshape(pictures, heads, -1, count, size).swapaxes(1, 2)
  near = products.einsum('rhnl,rhlk->rhnk', probs[..., context:], values)
  return (far.reshape(near.shape) + near).swapaxes(1, 2)


def _written(owner, name, new, place):
  """float[R, h, L, K], all that is kept, with what is new at its place."""
  kept = owner.get_variable(TEXTS, name)
  kept = put(kept, new.swapaxes(1, 2).astype(kept.dtype), place)
  owner.put_variable(TEXTS, name, kept)
  return kept


def put(kept: jax.Array, new: jax.Array, place: jax.Array) -> jax.Array:
  """float[R, h, L, K] with float[R, h, n, K] in it from a place int32[] on."""
  return jax.lax.dynamic_update_slice(kept, new, (0, 0, place, 0))


def captioning(real: jax.Array, words: int) -> jax.Array:
  """Who sees whom where a caption is written.

  A word sees itself, the words before it and what stands behind the text, which
  does not see the text.

  Args:
    real: bool[B, T], false for padding, which nobody sees.
    words: M of the T tokens that are text, the first.

  Returns:
    bool[B, T, T]: the first sees the second.

  Reference: MiniVLM's pre-training and captioning; Zhou et al., "Unified
    Vision-Language Pre-Training for Image Captioning and VQA", AAAI 2020,
    section 3, name it sequence to sequence.
  """
  place = jnp.arange(real.shape[1])
  sees = place <= jnp.where(place < words, place, -1)[:, None]
  return real[:, None] & (sees | (place >= words))


def asking(real: jax.Array, words: int) -> jax.Array:
  """Who sees whom where every word of a caption is asked for at once.

  Behind M words of a text stand M that mask them, one each. A mask sees the
  words before its own, itself and what stands behind the masks, as the last
  word does where a caption grows; nobody else sees it.

  Args:
    real: bool[B, 2 M + C], false for padding.
    words: M.

  Returns:
    bool[B, 2 M + C, 2 M + C]: the first sees the second.
  """
  place = jnp.arange(real.shape[1])
  is_word, is_mask = place < words, (place >= words) & (place < 2 * words)
  # Of a mask, the last word that it sees.
  last = jnp.where(is_word, place, jnp.where(is_mask, place - words - 1, -1))
  sees = (place <= last[:, None]) & is_word
  sees |= (place >= 2 * words) | (is_mask & (place == place[:, None]))
  return real[:, None] & sees
