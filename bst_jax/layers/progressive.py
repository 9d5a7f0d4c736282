"""Progressive sampling: tokens that look for their places in a map of features.

Reference: Yue et al., "Vision Transformer with Progressive Sampling", ICCV
  2021, and its released code.
Differs: where a point leaves the map, gradients are those of the values, which
  are zeros outside; the released kernel clamps there.
"""
from collections.abc import Callable
from typing import Any, NamedTuple

from bst_jax.elastic import Axis, FULL, Submodel
from bst_jax.layers import bilinear
from bst_jax.layers.batch_norm import BatchNorm
from bst_jax.layers.convolution import Conv
from bst_jax.layers.linear import Dense, named, wide
from bst_jax.layers.resnet import Bottleneck
from bst_jax.layers.vit import Tokens
from flax import linen as nn
import jax
import jax.numpy as jnp

_POINT = Axis('point', 2)


class Looking(NamedTuple):
  """What goes from one sampling layer to the next.

  Attributes:
    points: float32[B, n, 2], rows and columns in cells of the map, where
      tokens looked last; no gradient reaches them.
    offsets: float32[B, n, 2], how far they go before they look again.
    x: float[B, n, d], the tokens; None before the first look.
  """

  points: jax.Array
  offsets: jax.Array
  x: jax.Array | None = None

  @classmethod
  def start(cls, batch: int, points: tuple[int, int],
            shape: tuple[int, int]) -> 'Looking':
    """Points (rows, columns) spread evenly over a map, column by column."""
    rows, columns = ((jnp.arange(n) + 0.5) * (size / n)
                     for n, size in zip(points, shape))
    places = jnp.stack(jnp.meshgrid(rows, columns, indexing='ij'), -1)
    places = places.swapaxes(0, 1).reshape(-1, 2)
    places = jnp.broadcast_to(places, (batch, *places.shape))
    return cls(places, jnp.zeros_like(places))


class Stem(nn.Module):
  """A convolution, a pool and two bottlenecks: a map of a quarter's sides.

  Only the outputs that have the name of `out` are narrowed by a submodel.

  Attributes:
    hidden: channels of the convolution.
    between: channels between the bottlenecks; those of `out`, and no shortcut
      of the second, if None.
    batch_norm: makes the normalisation behind a convolution.
    bottleneck: channels inside of the bottlenecks; `hidden` if None.
  """

  hidden: int
  between: int | None
  out: Axis
  dtype: Any = jnp.float32
  batch_norm: Callable[..., nn.Module] = BatchNorm
  bottleneck: int | None = None

  @nn.compact
  def __call__(self, image: jax.Array, *, sub: Submodel = FULL,
               train: bool = False) -> jax.Array:
    """float[B, H, W, 3] -> float[B, ~H / 4, ~W / 4, d]."""
    hidden = Axis('pixel', self.hidden)
    inside = Axis('pixel', self.bottleneck or self.hidden)
    between = self.out if self.between is None else Axis('pixel', self.between)
    x = Conv(Axis('pixel', 3), hidden, self.dtype, 7, 2, 3, use_bias=False,
             name='conv')(image)
    x = nn.relu(self.batch_norm(hidden, name='norm')(x, train=train))
    x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
    for i, (inp, out) in enumerate(((hidden, between), (between, self.out))):
      x = Bottleneck(inp, inside, out, 1, self.dtype, self.batch_norm,
                     name=f'block_{i}')(x, sub=sub, train=train)
    return x


class Places(nn.Module):
  """The linear layer that tells all sampling layers where tokens are."""

  out: Axis
  kernel_init: Callable = nn.initializers.lecun_normal()

  @nn.compact
  def __call__(self, sub: Submodel = FULL) -> tuple[jax.Array, jax.Array]:
    """Its float[2, d] and float[d], for layers that are run one by one."""
    d = sub.units(self.out)
    kernel = self.param('kernel', named(self.kernel_init, _POINT, self.out))
    bias = self.param('bias', named(nn.initializers.zeros, self.out))
    return kernel[:, :d], bias[:d]


class SamplingLayer(nn.Module):
  """Tokens go on, look again, and pass a layer of a transformer.

  Attributes:
    layer: makes the layer of a transformer from its name.
    moves: it says how far they go next; the last layer does not.
  """

  layer: Callable[..., nn.Module]
  embed: Axis
  moves: bool = True

  @nn.compact
  def __call__(self, state: Looking, grid: jax.Array, kernel: jax.Array,
               bias: jax.Array, *, sub: Submodel = FULL,
               seed: jax.Array | None = None) -> Looking:
    """The next state.

    Args:
      state: where tokens are, and what they are.
      grid: float[B, h, w, d], the map.
      kernel, bias: of `Places`.
      sub: the part to run.
      seed: of dropout, None for evaluation.
    """
    seen = bilinear.sample(grid, state.points + state.offsets)  # [B, n, d]
    points = state.points + jax.lax.stop_gradient(state.offsets)
    # Places are told apart by less than half precision holds.
    place = jnp.matmul(points / jnp.array(grid.shape[1:3], points.dtype), kernel,
                       precision=jax.lax.Precision.HIGHEST)
    x = seen + (place + bias).astype(seen.dtype)
    x = x if state.x is None else x + state.x
    x = self.layer(name='transformer')(Tokens(x), sub=sub, seed=seed).x
    offsets = jnp.zeros_like(points)
    if self.moves:
      zeros = nn.initializers.zeros
      offsets = Dense((self.embed,), (_POINT,), zeros, zeros, wide(x).dtype,
                      name='offset')(x, sub=sub)
    return Looking(points, offsets, x)
