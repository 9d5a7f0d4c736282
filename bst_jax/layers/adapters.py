"""Adapters: narrow branches beside a layer, or in its place."""
from collections.abc import Callable
from typing import Any

from bst_jax.elastic import Axis, FULL, Submodel
from bst_jax.layers.blocks import FeedForward
from bst_jax.layers.extra import Extra, NORMAL
from bst_jax.layers.linear import LayerNorm
from flax import linen as nn
import jax
import jax.numpy as jnp

ATTENTION, FFN = 'attention', 'ffn'  # The branches of a layer.


class Adapter(nn.Module):
  """A narrow branch: few hidden units with a ReLU between two linear layers.

  Attributes:
    hidden: its hidden units, which no width narrows.
    residual: what comes in is added.
    normalised: what comes in is normalised first.
    scale: what the branch is multiplied by.
    kernel_init: of both matrices.

  Reference: Houlsby et al., "Parameter-Efficient Transfer Learning for NLP",
    ICML 2019; normalised as in DAS, whose branch does not start at zero.
  """

  embed: Axis
  hidden: Axis
  dtype: Any = jnp.float32
  residual: bool = False
  normalised: bool = True
  scale: float = 1.0
  kernel_init: Callable = NORMAL

  @nn.compact
  def __call__(self, x: jax.Array, *, sub: Submodel = FULL,
               seed: jax.Array | None = None) -> jax.Array:
    """float[..., d] -> float[..., d]."""
    h = x
    if self.normalised:
      h = LayerNorm(self.embed, eps=1e-5, name='norm')(x, sub=sub)
    h = FeedForward(
        self.embed, self.hidden, self.embed, dtype=self.dtype,
        kernel_init=self.kernel_init, bias_init=nn.initializers.zeros,
        name='ffn')(
            h, sub=sub, seed=seed)
    h = h if self.scale == 1.0 else self.scale * h
    return x + h if self.residual else h


class SkipAdapter(Adapter):
  """What runs instead of a layer that is skipped: a narrow residual branch.

  Reference: DAS (Wu et al., "Parameter and Computation Efficient Transfer
    Learning for Vision-Language Pre-trained Models", NeurIPS 2023), the skip
    adapter. It does not start at zero, as there.
  """

  residual: bool = True


def beside(extra: Extra | None, branch: str, x: jax.Array, z: jax.Array,
           embed: Axis, dtype: Any, init: Callable = NORMAL, *,
           sub: Submodel = FULL) -> jax.Array:
  """A branch's output with what the extra adds to it before it is summed.

  Call it in a compact method: the adapter is called `adapter_attention`, or as
  the branch is.

  Args:
    extra: of the layer; None adds nothing.
    branch: its name.
    x: float[..., d], what goes into the branch, not normalised.
    z: float[..., d], what comes out.
    embed, dtype: of the layer.
    init: of the adapter's matrices.
    sub: the part to run.
  """
  if extra is None:
    return z
  attends = branch != FFN
  make = lambda **options: Adapter(
      embed, extra.axis, dtype, scale=extra.scale, kernel_init=init,
      name=f'adapter_{branch}', **options)
  if extra.kind == 'parallel' or extra.kind == 'scaled' and attends:
    return z + make()(x, sub=sub)
  if extra.kind == 'sequential':
    return make(residual=True, normalised=False)(z, sub=sub)
  return z
