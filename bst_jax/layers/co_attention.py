"""Two streams that attend to themselves and to each other, as in METER."""
from collections.abc import Callable, Mapping
from typing import Any

from bst_jax.elastic import Axis, FULL, Size, Submodel
from bst_jax.layers.adapters import ATTENTION, beside, FFN
from bst_jax.layers.attention import Attention
from bst_jax.layers.blocks import FeedForward
from bst_jax.layers.dropout import Dropout
from bst_jax.layers.extra import Extra
from bst_jax.layers.stack import Stack
from flax import linen as nn
import jax
import jax.numpy as jnp

CROSS = 'cross'  # The branch that attends to the other stream.


class CrossLayer(nn.Module):
  """Self-attention, attention to the other stream, and feed-forward.

  Each is normalised after its sum, as in BERT.

  Attributes:
    norm: makes a normalisation from its axis and name.
    dropout: of both attentions' weights and of all branches' outputs.
    kernel_init, bias_init: of every linear layer, as of `Dense`.
    head_dim: see `Attention`.
    extra: what is trained beside it; None for nothing.

  Reference: Dou et al., "An Empirical Study of Training End-to-End
    Vision-and-Language Transformers", CVPR 2022, the co-attention layer. Where
    adapters stand is as in DAS: before the normalisations of both attentions,
    and behind that of the feed-forward part.
  """

  embed: Axis
  heads: Axis
  mlp: Axis
  norm: Callable[..., nn.Module]
  activation: Callable
  dropout: float = 0.0
  dtype: Any = jnp.float32
  kernel_init: Callable | None = None
  bias_init: Callable | None = None
  head_dim: Size | None = None
  extra: Extra | None = None

  @nn.compact
  def __call__(self, x: jax.Array, y: jax.Array, mask: jax.Array | None,
               other_mask: jax.Array | None, *, sub: Submodel = FULL,
               seed: jax.Array | None = None) -> jax.Array:
    """float[B, N, d], of the other stream float[B, M, d] -> float[B, N, d].

    Args:
      x: this stream.
      y: the other one.
      mask: bool[B, N], true for tokens of x that are none of padding.
      other_mask: bool[B, M], likewise of y.
      sub: the part to run.
      seed: of dropout, None for evaluation.
    """
    part = dict(dtype=self.dtype, kernel_init=self.kernel_init,
                bias_init=self.bias_init)
    run = dict(sub=sub, seed=seed)
    attention = lambda name: Attention(
        self.embed, self.heads, self.dropout, **part, head_dim=self.head_dim,
        extra=self.extra, name=name)

    z = attention(ATTENTION)(x, mask=mask, **run)
    x = self._summed('norm1', ATTENTION, x, z, **run)
    z = attention(CROSS)(x, y, mask=other_mask, **run)
    x = self._summed('norm2', CROSS, x, z, **run)
    z = FeedForward(self.embed, self.mlp, self.embed, self.activation, **part,
                    name='ffn')(x, **run)
    return self._summed('norm3', FFN, x, z, **run)

  def _summed(self, norm, branch, x, z, *, sub, seed):
    """The sum of x and its branch z, normalised; with what stands beside."""
    extra = lambda z: beside(self.extra, branch, x, z, self.embed, self.dtype,
                             self.kernel_init, sub=sub)
    z = Dropout(self.dropout)(z, seed)
    kind = self.extra.kind if self.extra else None
    behind = kind == 'scaled' or kind == 'parallel' and branch == FFN
    if not behind:
      z = extra(z)
    x_new = self.norm(self.embed, name=norm)(x + z, sub=sub)
    return extra(x_new) if behind else x_new


def co_attend(stacks: tuple[Stack, Stack], x: jax.Array, y: jax.Array,
              mask: jax.Array | None, other_mask: jax.Array | None, *,
              sub: Submodel = FULL, seed: jax.Array | None = None,
              flags: tuple[jax.Array | None, jax.Array | None] = (None, None)
              ) -> tuple[jax.Array, jax.Array]:
  """Both streams, layer by layer, each from what the other was before it.

  Args:
    stacks: of as many layers, of x and of y.
    x, y: float[B, N, d] and float[B, M, d].
    mask, other_mask: bool[B, N] and bool[B, M].
    sub, seed: as of `Stack`.
    flags: as of `Stack`, of either.
  """
  first, second = stacks
  run = dict(sub=sub, seed=seed)
  for i in range(first.order.num_layers):
    layer = range(i, i + 1)
    x, y = (first(x, y, mask, other_mask, part=layer, flags=flags[0], **run),
            second(y, x, other_mask, mask, part=layer, flags=flags[1], **run))
  return x, y


def split_flags(flags: jax.Array | None, lengths: Mapping[str, int]
                ) -> dict[str, jax.Array | None]:
  """Flags bool[n] of all candidates by the stack whose layers they are of.

  Args:
    flags: None skips none.
    lengths: layers of every stack, in the order of the candidates.
  """
  if flags is None:
    return dict.fromkeys(lengths)
  total = sum(lengths.values())
  if flags.shape != (total,):
    raise ValueError(f'flags of shape {flags.shape} say nothing about the '
                     f'{total} candidates of this model; give one for each.')
  found, start = {}, 0
  for stack, count in lengths.items():
    found[stack] = flags[start:start + count]
    start += count
  return found
