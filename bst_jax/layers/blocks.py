"""Blocks that several backbones share."""
from collections.abc import Callable
from typing import Any

from bst_jax.elastic import Axis, FULL, Submodel
from bst_jax.layers.dropout import Dropout
from bst_jax.layers.linear import Dense
from bst_jax.layers.tokens import masked_softmax
from flax import linen as nn
import jax
import jax.numpy as jnp


class FeedForward(nn.Module):
  """Two linear layers with an activation and dropout between them."""

  inp: Axis
  hidden: Axis
  out: Axis
  activation: Callable = nn.relu
  dropout: float = 0.0
  dtype: Any = jnp.float32
  out_init: Callable | None = None

  @nn.compact
  def __call__(self, x: jax.Array, *, sub: Submodel = FULL,
               seed: jax.Array | None = None) -> jax.Array:
    """Maps float[..., d] to float[..., out]."""
    x = Dense((self.inp,), (self.hidden,), dtype=self.dtype, name='fc1')(
        x, sub=sub)
    x = self.activation(x)
    x = Dropout(self.dropout)(x, seed)
    return Dense((self.hidden,), (self.out,), self.out_init, self.out_init,
                 dtype=self.dtype, name='fc2')(x, sub=sub)


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
    probs = masked_softmax(scores[..., 0], mask)            # [B, N]
    pooled = jnp.einsum('bn,bnd->bd', probs, x)
    return Dense((self.inp,), (self.out,), dtype=self.dtype, name='merge')(
        pooled, sub=sub)
