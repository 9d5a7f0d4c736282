"""Blocks that several backbones share."""
from collections.abc import Callable
from typing import Any

from bst_jax.elastic import Axis, FULL, Size, Submodel
from bst_jax.layers import looks
from bst_jax.layers.attention import Attention
from bst_jax.layers.dropout import Dropout
from bst_jax.layers.linear import Dense
from bst_jax.layers.tokens import masked_softmax
from flax import linen as nn
import jax
import jax.numpy as jnp


class FeedForward(nn.Module):
  """Two linear layers with an activation and dropout between them.

  Attributes:
    hidden: its hidden units, of which it is the owner.
    kernel_init, bias_init: as of `Dense`.
    out_init: of kernel and bias of the last layer, where it differs.
  """

  inp: Axis
  hidden: Axis
  out: Axis
  activation: Callable = nn.relu
  dropout: float = 0.0
  dtype: Any = jnp.float32
  kernel_init: Callable | None = None
  bias_init: Callable | None = None
  out_init: Callable | None = None

  @nn.compact
  def __call__(self, x: jax.Array, *, sub: Submodel = FULL,
               seed: jax.Array | None = None) -> jax.Array:
    """Maps float[..., d] to float[..., out]."""
    hidden = self.hidden.here(self)
    x = Dense((self.inp,), (hidden,), self.kernel_init, self.bias_init,
              dtype=self.dtype, name='fc1')(x, sub=sub)
    x = self.activation(x)
    x = Dropout(self.dropout)(x, seed)
    return Dense((hidden,), (self.out,), self.out_init or self.kernel_init,
                 self.out_init or self.bias_init, dtype=self.dtype,
                 name='fc2')(x, sub=sub)


class EncoderLayer(nn.Module):
  """Self-attention and feed-forward, each normalised after its sum.

  Attributes:
    norm: makes a normalisation from its axis and name.
    dropout: of the attention's weights and of both branches' outputs.
    hidden_dropout: between the two layers of the feed-forward part.
    kernel_init, bias_init: of every linear layer, as of `Dense`.
    out_init: of the last layer of both branches, where it differs.
    head_dim: see `Attention`.
  """

  embed: Axis
  heads: Axis
  mlp: Axis
  norm: Callable[..., nn.Module]
  activation: Callable = nn.relu
  dropout: float = 0.0
  hidden_dropout: float = 0.0
  dtype: Any = jnp.float32
  kernel_init: Callable | None = None
  bias_init: Callable | None = None
  out_init: Callable | None = None
  head_dim: Size | None = None

  @nn.compact
  def __call__(self, x: jax.Array, mask: jax.Array | None = None, *,
               sub: Submodel = FULL, seed: jax.Array | None = None
               ) -> jax.Array:
    """float[B, N, d], bool[B, N] -> float[B, N, d]."""
    part = dict(dtype=self.dtype, kernel_init=self.kernel_init,
                bias_init=self.bias_init, out_init=self.out_init)
    drop = lambda z: Dropout(self.dropout)(z, seed)
    run = dict(sub=sub, seed=seed)

    z = Attention(self.embed, self.heads, self.dropout, **part,
                  head_dim=self.head_dim, name='attention')(
                      x, mask=mask, **run)
    x = self.norm(self.embed, name='norm1')(x + drop(z), sub=sub)
    z = FeedForward(self.embed, self.mlp, self.embed, self.activation,
                    self.hidden_dropout, **part, name='ffn')(x, **run)
    return self.norm(self.embed, name='norm2')(x + drop(z), sub=sub)


class AttentionPool(nn.Module):
  """One vector from a sequence, by a learned softmax over its tokens.

  Reference: MCAN (Yu et al., CVPR 2019), the attentional reduction model.
  """

  inp: Axis
  hidden: Axis
  out: Axis
  dropout: float = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, mask: jax.Array, *, sub: Submodel = FULL,
               seed: jax.Array | None = None) -> jax.Array:
    """Maps float[B, N, d], bool[B, N] to float[B, out]."""
    scores = FeedForward(
        self.inp, self.hidden, Axis('score', 1), dropout=self.dropout,
        dtype=self.dtype, name='scores')(x, sub=sub, seed=seed)
    probs = masked_softmax(scores.squeeze(-1), mask)        # [B, N]
    looks.sow(self, probs)
    pooled = jnp.einsum('bn,bnd->bd', probs, x)
    return Dense((self.inp,), (self.out,), dtype=self.dtype, name='merge')(
        pooled, sub=sub)
