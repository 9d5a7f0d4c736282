"""Multi-head attention whose width is a number of heads."""
from collections.abc import Callable
import functools
from typing import Any

from bst_jax.elastic import Axis, FULL, Size, Submodel
from bst_jax.layers import cached, looks, products
from bst_jax.layers.dropout import Dropout
from bst_jax.layers.extra import Extra, LowRank, prompted
from bst_jax.layers.linear import Dense
from bst_jax.layers.tokens import gated_softmax, masked_softmax
from flax import linen as nn
import jax
import jax.numpy as jnp


def head_axes(owner: nn.Module, embed: Axis, heads: Axis,
              head_dim: Size | None) -> tuple[Axis, Axis]:
  """The heads of an attention and their channels, as `owner` owns them."""
  heads = heads.here(owner)
  if head_dim is None:
    head_dim = embed.size // heads.size
  return heads, Axis('head_dim', head_dim).here(owner)


class Attention(nn.Module):
  """Multi-head attention of x over y; a submodel keeps the first h heads.

  It owns its heads and their channels.

  Attributes:
    kernel_init, bias_init: as of `Dense`.
    out_init: of kernel and bias of the last projection, where it differs.
    qkv_bias: whether queries, keys and values have biases.
    head_dim: channels of a head; what the heads share evenly if None.
    source: channels of what it attends to, where they are not `embed`.
    extra: what is trained beside it, of which kinds `lora` and `prompt` are its.
  """

  embed: Axis
  heads: Axis
  dropout: float = 0.0
  dtype: Any = jnp.float32
  kernel_init: Callable | None = None
  bias_init: Callable | None = None
  out_init: Callable | None = None
  qkv_bias: bool = True
  head_dim: Size | None = None
  source: Axis | None = None
  extra: Extra | None = None

  @nn.compact
  def __call__(self, x: jax.Array, y: jax.Array | None = None, *,
               mask: jax.Array | None = None, gate: jax.Array | None = None,
               gate_eps: float = 0.0, select: Callable | None = None,
               mix: Callable | None = None,
               sub: Submodel = FULL, seed: jax.Array | None = None):
    """Attends from float[B, N, d] to float[B, M, d].

    Args:
      x: what attends.
      y: what it attends to; x if None.
      mask: bool[B, M], true = attend; or bool[B, N, M], of every row its own;
        or a `cached.Growing`: x are the last words of a text, of which those
        before, and what else they see, are kept.
      gate, gate_eps: float[B, M] in place of a mask, see `gated_softmax`.
      select: lets some rows of x attend: called as select(x, query, attend,
        values), see `sampler.Stage`; it returns probabilities and what else it
        has to say.
      mix: changes keys and values float[B, M, h, K] before they are used.
      sub: the part to run.
      seed: of dropout, None for evaluation.

    Returns:
      float[B, N, d]; with select a pair of float[B, n, d] and its other word.
    """
    y = x if y is None else y
    heads, head_dim = split = head_axes(
        self, self.embed, self.heads, self.head_dim)
    # What asks has a name of its own: its size is in the scale of the scores.
    query = self._project('query', self.embed, (
        heads, head_dim._replace(name='query_dim')), sub)
    key, value = (self._project(name, self.source or self.embed, split, sub)
                  for name in ('key', 'value'))
    if self.extra and self.extra.kind == 'prompt':
      if gate is not None or select is not None or mix is not None:
        raise ValueError('an attention that samples or mixes tokens takes no '
                         'extra of kind prompt; choose another kind.')
      y, mask = prompted(self, self.extra, self.source or self.embed, y, mask)
    k, v = key(y), value(y)                                 # [B, M, h, K]
    if mix is not None:
      k, v = mix(k), mix(v)
    cached.keep(self, k, v)
    back = Dense(split, (self.embed,), self.out_init or self.kernel_init,
                 self.out_init or self.bias_init, dtype=self.dtype, name='out')
    if isinstance(mask, cached.Growing):
      return back(cached.attend(self, query(x), k, v, mask), sub=sub)

    # On CPUs products over leading heads take half the time.
    first = lambda z: z.swapaxes(1, 2)                      # [B, h, ., K]

    def attend(q, dtype=None):
      scores = products.einsum(
          'bhnk,bhmk->bhnm', first(q * q.shape[-1] ** -0.5), first(k),
          preferred_element_type=dtype)
      across = lambda z: None if z is None else (
          z[:, None] if z.ndim == 3 else z[:, None, None, :])
      if gate is not None:
        return gated_softmax(scores, across(gate), gate_eps)
      return masked_softmax(scores, across(mask))           # [B, h, N, M]

    picked = None
    if select is None:
      probs = attend(query(x))
    else:
      probs, picked = select(x, query, attend, v)
    looks.sow(self, probs)
    probs = Dropout(self.dropout)(probs, seed)
    z = first(products.einsum('bhnm,bhmk->bhnk', probs, first(v)))
    z = back(z, sub=sub)
    return z if select is None else (z, picked)

  def _project(self, name, inp, out, sub):
    """The projection of queries, keys or values, with a low rank beside it."""
    dense = functools.partial(Dense(
        (inp,), out, self.kernel_init, self.bias_init, dtype=self.dtype,
        use_bias=self.qkv_bias, name=name), sub=sub)
    if not self.extra or self.extra.kind != 'lora' or name == 'key':
      return dense
    low = LowRank(inp, self.extra.axis, out, self.extra.scale, self.dtype,
                  name=f'lora_{name}')
    return lambda z: dense(z) + low(z, sub=sub)
