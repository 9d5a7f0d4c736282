"""Multi-head attention whose width is a number of heads."""
from collections.abc import Callable
from typing import Any

from bst_jax.elastic import Axis, FULL, Submodel
from bst_jax.layers.dropout import Dropout
from bst_jax.layers.linear import Dense
from bst_jax.layers.tokens import masked_softmax
from flax import linen as nn
import jax
import jax.numpy as jnp


class Attention(nn.Module):
  """Multi-head attention of x over y; a submodel keeps the first h heads.

  Attributes:
    kernel_init, bias_init: as of `Dense`.
    out_init: of kernel and bias of the last projection, where it differs.
  """

  embed: Axis
  heads: Axis
  dropout: float = 0.0
  dtype: Any = jnp.float32
  kernel_init: Callable | None = None
  bias_init: Callable | None = None
  out_init: Callable | None = None

  @nn.compact
  def __call__(self, x: jax.Array, y: jax.Array | None = None, *,
               mask: jax.Array | None = None, sub: Submodel = FULL,
               seed: jax.Array | None = None) -> jax.Array:
    """Attends from float[B, N, d] to float[B, M, d], mask bool[B, M]."""
    y = x if y is None else y
    split = (self.heads, Axis('head_dim', self.embed.size // self.heads.size))
    project = lambda name, z: Dense(
        (self.embed,), split, self.kernel_init, self.bias_init,
        dtype=self.dtype, name=name)(z, sub=sub)
    q = project('query', x)                                 # [B, N, h, K]
    k, v = project('key', y), project('value', y)           # [B, M, h, K]

    scores = jnp.einsum('bnhk,bmhk->bhnm', q * q.shape[-1] ** -0.5, k)
    mask = None if mask is None else mask[:, None, None, :]
    probs = masked_softmax(scores, mask)                    # [B, h, N, M]
    probs = Dropout(self.dropout)(probs, seed)
    z = jnp.einsum('bhnm,bmhk->bnhk', probs, v)             # [B, N, h, K]
    return Dense(split, (self.embed,), self.out_init or self.kernel_init,
                 self.out_init or self.bias_init, dtype=self.dtype,
                 name='out')(z, sub=sub)
