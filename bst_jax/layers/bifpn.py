"""BiFPN: grids of several sizes that look at each other, down and up again.

Reference: Tan et al., "EfficientDet: Scalable and Efficient Object Detection",
  CVPR 2020, section 3: fast normalised fusion, equation 3.
"""
from collections.abc import Callable, Sequence
from typing import Any

from bst_jax.elastic import Axis, check_name
from bst_jax.layers import resample
from bst_jax.layers.batch_norm import BatchNorm
from bst_jax.layers.convolution import Conv
from bst_jax.layers.linear import named
from flax import linen as nn
import jax
import jax.numpy as jnp

LEVELS = 5
STYLES = ('tee', 'effdet')
_EPS = 1e-4  # Of the sum of weights.


class Lateral(nn.Module):
  """A grid with another number of channels, normalised."""

  inp: Axis
  out: Axis
  use_bias: bool
  batch_norm: Callable[..., nn.Module]
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    """float[B, H, W, c] -> float[B, H, W, f]."""
    x = Conv(self.inp, self.out, self.dtype, 1, 1, 0, self.use_bias,
             name='conv')(x)
    return self.batch_norm(self.out, name='norm')(x, train=train)


class Node(nn.Module):
  """A weighted mean of grids of one size, which then looks around.

  Attributes:
    channels: of all grids.
    use_bias: of the convolution between channels.
    padding: of `resample.PADDINGS`.
  """

  channels: Axis
  use_bias: bool
  padding: str
  batch_norm: Callable[..., nn.Module]
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, *grids: jax.Array, train: bool = False) -> jax.Array:
    """float[B, H, W, c] each -> float[B, H, W, c]."""
    weights = nn.relu(self.param('weights', named(
        nn.initializers.ones, Axis('score', len(grids)))))
    weights = (weights / (weights.sum() + _EPS)).astype(self.dtype)
    x = nn.silu(sum(weights[i] * grid for i, grid in enumerate(grids)))
    x = Conv(self.channels, self.channels, self.dtype, 3, 1,
             resample.around(3, self.padding), use_bias=False, depthwise=True,
             kernel_init=nn.initializers.normal(2 ** 0.5 / 3), name='depthwise')(x)
    x = Conv(self.channels, self.channels, self.dtype, 1, 1, 0, self.use_bias,
             name='pointwise')(x)
    return self.batch_norm(self.channels, name='norm')(x, train=train)


class Cell(nn.Module):
  """Once from coarse to fine, and once back.

  Attributes:
    channels, use_bias, padding, batch_norm: see `Node`.
  """

  channels: Axis
  use_bias: bool
  padding: str
  batch_norm: Callable[..., nn.Module]
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, down: Sequence[jax.Array], up: Sequence[jax.Array],
               train: bool = False) -> list[jax.Array]:
    """The grids of all levels, fine to coarse.

    Args:
      down: float[B, h, w, c] of every level, fine to coarse, which the way down
        reads.
      up: what the way up reads, likewise; of the finest level nothing.
      train: normalises as in training.
    """
    node = lambda name, *grids: Node(
        self.channels, self.use_bias, self.padding, self.batch_norm, self.dtype,
        name=name)(*grids, train=train)
    last = len(down) - 1
    fine = {last: down[last]}
    for n in reversed(range(last)):
      fine[n] = node(f'down_{n}', down[n], resample.nearest(
          fine[n + 1], down[n].shape[1:3]))
    found = [fine[0]]
    for n in range(1, last + 1):
      coarse = resample.max_pool(found[-1], padding=self.padding)
      between = () if n == last else (fine[n],)
      found.append(node(f'up_{n}', up[n], *between, coarse))
    return found


class BiFpn(nn.Module):
  """Five grids of equal channels from the three or four that a trunk hands on.

  Nothing of it is narrowed by a width.

  Attributes:
    inp: channels of the trunk's grids, fine to coarse. The finest of the result
      is as fine as the first: cells of 4 pixels if there are 4 grids, of 8 if
      there are 3.
    width: channels of the result.
    cells: how often the grids look at each other.
    style: `tee` or `effdet`, which differ with four grids: effdet's coarsest
      grid has a lateral of its own on the way up, and the level above it is
      made by one more, where tee pools what the way down reads.
    use_bias: of laterals and of the convolutions between channels.
    padding: of `resample.PADDINGS`.
    batch_norm: makes a normalisation from its axis and name.

  Reference: as above; the detector of MiniVLM, arXiv 2012.06946, for `tee`.
  """

  inp: tuple[Axis, ...]
  width: int = 64
  cells: int = 3
  style: str = 'tee'
  use_bias: bool = True
  padding: str = 'symmetric'
  batch_norm: Callable[..., nn.Module] = BatchNorm
  dtype: Any = jnp.float32

  def __post_init__(self):
    check_name(self.style, STYLES, 'style of BiFPN')
    check_name(self.padding, resample.PADDINGS, 'padding')
    if len(self.inp) not in (LEVELS - 2, LEVELS - 1):
      raise ValueError(
          f'a BiFPN of {len(self.inp)} grids was asked for, but it adds one or '
          f'two coarser levels to make {LEVELS}; hand it 3 or 4 grids of the '
          'trunk.')
    super().__post_init__()

  @property
  def channels(self) -> Axis:
    """Of every grid of the result."""
    return Axis('pyramid', self.width)

  @nn.compact
  def __call__(self, grids: Sequence[jax.Array], train: bool = False
               ) -> tuple[jax.Array, ...]:
    """The grids of five levels, each half as fine as the one before.

    Args:
      grids: float[B, h, w, c] of the trunk, fine to coarse.
      train: normalises as in training.

    Returns:
      float[B, h, w, width] each.
    """
    channels, raw = self.channels.here(self), len(self.inp)
    if len(grids) != raw:
      raise ValueError(f'{len(grids)} grids were given, but the BiFPN is of '
                       f'{raw}; hand on as many as `inp` has.')
    lateral = lambda name, n: Lateral(
        self.inp[n], channels, self.use_bias, self.batch_norm, self.dtype,
        name=f'{name}_{n}')(grids[n].astype(self.dtype), train)

    down = [lateral('down', n) for n in range(raw)]
    own = self.style == 'effdet' or raw == LEVELS - 2
    above = lateral('above', raw - 1) if own else down[-1]
    while len(down) < LEVELS:
      above = resample.max_pool(above, padding=self.padding)
      down.append(above)
    up = list(down)
    for n in range(1, raw if own else raw - 1):
      up[n] = lateral('up', n)
    for i in range(self.cells):
      down = Cell(channels, self.use_bias, self.padding, self.batch_norm,
                  self.dtype, name=f'cell_{i}')(down, up, train)
      up = down
    return tuple(down)
