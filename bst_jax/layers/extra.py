"""What layers have besides, so that it alone need be trained."""
from collections.abc import Callable, Mapping
import dataclasses
from typing import Any

from bst_jax.elastic import Axis, check_name, FULL, Submodel
from bst_jax.layers.linear import Dense, named
from flax import linen as nn
import jax
import jax.numpy as jnp

NORMAL: Callable = nn.initializers.normal(0.02)
# What `Extra.kind` can be.
KINDS = {
    'parallel': 'an adapter beside every branch, on what goes into it (DAS)',
    'scaled': 'an adapter beside every attention, times `scale`',
    'sequential': 'a residual adapter behind every branch, without a '
                  'normalisation',
    'lora': 'a product of two narrow matrices beside queries and values',
    'prompt': 'learnt tokens in front of the keys and values of an attention',
}


@dataclasses.dataclass(frozen=True)
class Extra:
  """What every layer has besides, so that it alone need be trained.

  Attributes:
    kind: of `KINDS`.
    size: hidden units of an adapter, the rank of `lora`, tokens of a `prompt`.
    scale: what an adapter's or a low rank's output is multiplied by.

  Reference: He et al., "Towards a Unified View of Parameter-Efficient Transfer
    Learning", ICLR 2022, for all kinds; DAS (NeurIPS 2023) for `parallel`.
  """

  kind: str
  size: int
  scale: float = 1.0

  def __post_init__(self):
    check_name(self.kind, KINDS, 'kind of extra')
    if self.size < 1:
      raise ValueError(f'extra of kind {self.kind!r} has size {self.size}, but '
                       'it must be at least 1; set extra to None for none.')

  @classmethod
  def of(cls, value: 'Extra | Mapping[str, Any] | None') -> 'Extra | None':
    """What a config gives: None, or the fields by name."""
    if value is None or isinstance(value, cls):
      return value
    for key in value:
      check_name(key, cls.__dataclass_fields__, 'option of extra')
    return cls(**dict(value))

  @property
  def axis(self) -> Axis:
    """Of its hidden units, rank or tokens."""
    return Axis('extra', self.size)


class LowRank(nn.Module):
  """A product of two narrow matrices, the second of which starts at zero.

  Reference: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models",
    ICLR 2022.
  """

  inp: Axis
  rank: Axis
  out: tuple[Axis, ...]
  scale: float = 1.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, *, sub: Submodel = FULL) -> jax.Array:
    """float[..., d] -> float[..., *out]."""
    rank = self.rank.here(self)
    part = dict(use_bias=False, dtype=self.dtype)
    h = Dense((self.inp,), (rank,), NORMAL, **part, name='down')(x, sub=sub)
    h = Dense((rank,), self.out, nn.initializers.zeros, **part, name='up')(
        h, sub=sub)
    return h if self.scale == 1.0 else self.scale * h


def prompted(owner: nn.Module, extra: Extra, embed: Axis, y: jax.Array,
             mask: jax.Array | None) -> tuple[jax.Array, jax.Array | None]:
  """What is attended to with learnt tokens in front, and its mask.

  Args:
    owner: the attention, in a compact method.
    extra: of kind `prompt`.
    embed: axis of the channels.
    y: float[B, M, d].
    mask: bool[B, M], bool[B, N, M] or None.

  Reference: Li & Liang, "Prefix-Tuning", ACL 2021. Differs: tokens go through
    the frozen projections of keys and values, and are not made by a network.
  """
  tokens = owner.param('prompt', named(NORMAL, extra.axis.here(owner), embed))
  tokens = tokens[:, :y.shape[-1]].astype(y.dtype)
  front = jnp.broadcast_to(tokens, (y.shape[0], *tokens.shape))
  if mask is not None:
    mask = jnp.concatenate(
        [jnp.ones((*mask.shape[:-1], extra.size), bool), mask], -1)
  return jnp.concatenate([front, y], 1), mask
