"""What models built on BERT share: embeddings, layers, adapter, answer head.

Reference: Devlin et al., "BERT: Pre-training of Deep Bidirectional
  Transformers for Language Understanding", NAACL 2019.
"""
from collections.abc import Callable
import functools
from typing import Any

from bst_jax.elastic import Axis, FULL, Submodel
from bst_jax.layers import linear
from bst_jax.layers.activations import gelu
from bst_jax.layers.blocks import EncoderLayer
from bst_jax.layers.dropout import Dropout
from bst_jax.layers.linear import Dense, Embed
from flax import linen as nn
import jax
import jax.numpy as jnp

NORMAL = nn.initializers.normal(0.02)
_INIT = dict(kernel_init=NORMAL, bias_init=nn.initializers.zeros)

Norm = functools.partial(linear.LayerNorm, eps=1e-12)
Linear = functools.partial(Dense, **_INIT)
Table = functools.partial(Embed, init=NORMAL)
# Normalised after each sum; no dropout between the feed-forward layers.
Layer = functools.partial(EncoderLayer, norm=Norm, activation=gelu, **_INIT)

# How a width reaches the embeddings: `slice` keeps a prefix of their channels,
# `adapter` leaves them whole and narrows what a linear layer makes of them.
EMBED_MODES = ('slice', 'adapter')


class TextEmbedding(nn.Module):
  """Word, place and kind of every token, summed and normalised."""

  vocab: Axis
  positions: Axis
  out: Axis
  dropout: float = 0.0
  dtype: Any = jnp.float32
  init: Callable = NORMAL

  @nn.compact
  def __call__(self, tokens: jax.Array, kind: jax.Array,
               places: jax.Array | None = None, *, sub: Submodel = FULL,
               seed: jax.Array | None = None) -> jax.Array:
    """Embeds a text.

    Args:
      tokens: int32[B, M].
      kind: float[d] or [M, d], the embedding of what is text, or of the kind of
        every token.
      places: int32[M] or [B, M] of the tokens; 0, 1, … if None.
      sub: the part to run.
      seed: of dropout, None for evaluation.

    Returns:
      float[B, M, d].
    """
    length, longest = tokens.shape[1], self.positions.size
    if places is None:
      places = jnp.arange(length)
    if length > longest:
      raise ValueError(
          f'the batch has {length} tokens a question, but the model knows only '
          f'{longest} positions; shorten max_tokens of the data or raise '
          'max_positions of the model.')
    table = functools.partial(Table, out=self.out, init=self.init)
    x = table(self.vocab, name='words')(tokens, sub=sub)
    x += table(self.positions, name='positions')(places, sub=sub)
    x = Norm(self.out, name='norm')(x + kind, sub=sub)
    return Dropout(self.dropout)(x.astype(self.dtype), seed)


class Adapter(nn.Module):
  """A linear layer and a normalisation that lead into a submodel's width."""

  inp: Axis
  out: Axis
  dtype: Any = jnp.float32
  init: Callable = NORMAL

  @nn.compact
  def __call__(self, x: jax.Array, *, sub: Submodel = FULL) -> jax.Array:
    """Maps float[..., D] to float[..., d]."""
    x = Linear((self.inp,), (self.out,), kernel_init=self.init,
               dtype=self.dtype, name='linear')(x, sub=sub)
    return Norm(self.out, name='norm')(x, sub=sub)


class AnswerHead(nn.Module):
  """Logits of the answers from the pooled first token."""

  inp: Axis
  hidden: Axis
  answers: Axis
  dtype: Any = jnp.float32
  init: Callable = NORMAL

  @nn.compact
  def __call__(self, x: jax.Array, *, sub: Submodel = FULL) -> jax.Array:
    """Maps float[B, d] to float[B, A]."""
    linear = lambda name, inp, out: Linear(
        (inp,), (out,), kernel_init=self.init, dtype=self.dtype, name=name)
    x = linear('fc1', self.inp, self.hidden)(x, sub=sub)
    x = Norm(self.hidden, name='norm')(gelu(x), sub=sub)
    return linear('fc2', self.hidden, self.answers)(x, sub=sub)
