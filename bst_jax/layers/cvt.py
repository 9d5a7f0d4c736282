"""Convolutional vision transformers: layers that read a grid of cells.

Reference: Wu et al., "CvT: Introducing Convolutions to Vision Transformers",
  ICCV 2021; tokens are sampled as in Fayyaz et al., "Adaptive Token Sampling
  for Efficient Vision Transformers", ECCV 2022.
Differs: the authors of the sampling have not said how CvT goes on without the
  cells of tokens that are gone. Here convolutions read a whole grid, in which
  such a cell stands still, so that keys and values are never masked.
"""
from collections.abc import Callable, Sequence
import functools
from typing import Any

from bst_jax.elastic import Axis, FULL, Size, Submodel
from bst_jax.layers import looks, products, vit
from bst_jax.layers.attention import head_axes
from bst_jax.layers.batch_norm import BatchNorm
from bst_jax.layers.convolution import Conv
from bst_jax.layers.linear import Dense
from bst_jax.layers.sampler import Stage
from bst_jax.layers.tokens import gather_tokens, masked_softmax
from bst_jax.layers.vit import Tokens
from flax import linen as nn
import jax
import jax.numpy as jnp

# Cells of the queries' grid, along a side, for one of the keys', as published.
STRIDE = 2
DROPPED = ('stale', 'zero')


def strided(size: int, stride: int = STRIDE) -> int:
  """Cells along a side of the keys' grid."""
  return -(-size // stride)


def grids_of(sides: tuple[int, int], kernels: Sequence[int],
             strides: Sequence[int], paddings: Sequence[int]
             ) -> tuple[tuple[int, int], ...]:
  """Height and width of every stage's grid.

  Args:
    sides: of the pictures.
    kernels, strides, paddings: of the convolution in front of every stage.

  Raises:
    ValueError: nothing is left for the last stage.
  """
  result, size = [], sides
  for kernel, stride, padding in zip(kernels, strides, paddings, strict=True):
    size = tuple((side + 2 * padding - kernel) // stride + 1 for side in size)
    result.append(size)
  if min(size) < 1:
    raise ValueError(
        f'pictures of {sides[0]} x {sides[1]} pixels leave no cell to the last '
        f'of {len(result)} stages; choose larger ones, or smaller strides.')
  return tuple(result)


def upsampled(x: jax.Array, grid: tuple[int, int]) -> jax.Array:
  """float[B, ceil(h / 2), ceil(w / 2)] at the cells of a grid of h x w.

  Cell (2 i, 2 j) has the value of (i, j), for which a strided convolution is
  centred there; the others have the mean of their neighbours, the last cell
  its only neighbour's.
  """
  for axis, size in enumerate(grid, 1):
    last = jax.lax.slice_in_dim(x, x.shape[axis] - 1, None, axis=axis)
    after = jnp.concatenate(
        [jax.lax.slice_in_dim(x, 1, None, axis=axis), last], axis)
    pairs = jnp.stack([x, (x + after) / 2], axis + 1)
    shape = (*x.shape[:axis], -1, *x.shape[axis + 1:])
    x = jax.lax.slice_in_dim(pairs.reshape(shape), 0, size, axis=axis)
  return x


def settled(tokens: Tokens, lead: int, dropped: str) -> jax.Array:
  """The grid float[B, h * w, d] that the next layer reads.

  Args:
    tokens: of which some are gone.
    lead: tokens in front that have no cell.
    dropped: cells without a token are `stale`: as they were when it went; or
      `zero`.
  """
  grid = tokens.grid if dropped == 'stale' else jnp.zeros_like(tokens.grid)
  outside = grid.shape[1]
  cells = jnp.where(tokens.valid[:, lead:], tokens.ids, outside)
  rows = jnp.arange(grid.shape[0])[:, None]
  return grid.at[rows, cells].set(tokens.x[:, lead:], mode='drop')


class ConvEmbed(nn.Module):
  """Windows of a picture or a grid, each a cell of the next grid."""

  inp: Axis
  out: Axis
  size: int
  stride: int
  padding: int
  norm: Callable[..., nn.Module]
  dtype: Any = jnp.float32
  kernel_init: Callable | None = None

  @nn.compact
  def __call__(self, x: jax.Array, *, sub: Submodel = FULL) -> jax.Array:
    """float[B, H, W, c] -> float[B, h, w, f]."""
    x = Conv(self.inp, self.out, self.dtype, self.size, self.stride,
             self.padding, kernel_init=self.kernel_init, name='proj')(
                 x, sub=sub)
    return self.norm(self.out, name='norm')(x, sub=sub)


class ConvAttention(nn.Module):
  """Attention whose queries, keys and values are convolved over a grid.

  The scale is that of all channels, not of a head's: a submodel has that of
  the smaller model that it is.

  Attributes:
    grid: height and width.
    score_stride1: tokens are scored at every cell, with keys and values of
      stride 1, rather than at the strided ones and upsampled.
    batch_norm: makes the normalisation behind a convolution.
    head_dim, qkv_bias: see `Attention`.
    stride: cells of the grid, along a side, for one of the keys'.
  """

  embed: Axis
  heads: Axis
  grid: tuple[int, int]
  score_stride1: bool = False
  batch_norm: Callable[..., nn.Module] = BatchNorm
  dtype: Any = jnp.float32
  kernel_init: Callable | None = None
  bias_init: Callable | None = None
  head_dim: Size | None = None
  qkv_bias: bool = True
  stride: int = STRIDE

  @nn.compact
  def __call__(self, front: jax.Array, cells: jax.Array,
               ids: jax.Array | None = None, *,
               valid: jax.Array | None = None, stage: Stage | None = None,
               sub: Submodel = FULL, train: bool = False):
    """Attends from tokens to the tokens in front and the strided cells.

    Args:
      front: float[B, lead, d], which no convolution reads.
      cells: float[B, h * w, d], every cell of the grid.
      ids: int32[B, n], cells that attend, -1 for padding; None for all.
      valid: bool[B, lead + n], false for padding.
      stage: samples among those that attend.
      sub: the part to run.
      train: normalises as in training.

    Returns:
      float[B, lead + n', d], and the stage's selection or None.
    """
    lead, width = front.shape[1:]
    split = head_axes(self, self.embed, self.heads, self.head_dim)
    linear = lambda name, inp, out, bias=True: functools.partial(Dense(
        inp, out, self.kernel_init, self.bias_init, self.dtype, bias,
        name=name), sub=sub)
    query, key, value = (linear(name, (self.embed,), split, self.qkv_bias)
                         for name in ('query', 'key', 'value'))
    convolved = functools.partial(self._convolved, front, cells, sub, train)

    x = convolved('query', 1)                               # [B, 1 + h w, d]
    if ids is not None:
      x = jnp.concatenate([x[:, :lead], gather_tokens(
          x[:, lead:], jnp.maximum(ids, 0))], 1)            # [B, 1 + n, d]
    dense = self.score_stride1 and stage is not None
    stride = 1 if dense else self.stride
    k = key(convolved('key', stride))                       # [B, M, h, K]
    v = value(convolved('value', stride))

    attend = functools.partial(_probabilities, width ** -0.5)
    judge = None
    if dense:
      judge = functools.partial(attend, k), v
      # A strided convolution is some of the values of the one without stride.
      some = _strided_places(self.grid, lead, self.stride)
      k, v = k[:, some], v[:, some]

    if stage is None:
      probs, picked = attend(k, query(x)), None
    else:
      spread = functools.partial(_spread, grid=self.grid, ids=ids,
                                 dense=stride == 1)
      probs, picked = stage(x, valid, query, functools.partial(attend, k), v,
                            spread, judge)
    looks.sow(self, probs)
    z = products.einsum('bhnm,bmhk->bnhk', probs, v)        # [B, n, h, K]
    return linear('out', split, (self.embed,))(z), picked

  def _convolved(self, front, cells, sub, train, name, stride):
    """What the queries, keys or values are projected from: float[B, M, d]."""
    batch, _, width = front.shape
    x = Conv(self.embed, self.embed, self.dtype, 3, stride, 1, use_bias=False,
             depthwise=True, kernel_init=self.kernel_init,
             name=f'{name}_conv')(
                 cells.reshape(batch, *self.grid, width), sub=sub)
    x = self.batch_norm(self.embed, name=f'{name}_norm')(
        x, sub=sub, train=train)
    return jnp.concatenate([front, x.reshape(batch, -1, width)], 1)


def _strided_places(grid, lead, stride):
  """int32[M], the tokens in front and the cells that a stride leaves."""
  cells = jnp.arange(grid[0] * grid[1]).reshape(grid)[::stride, ::stride]
  return jnp.concatenate([jnp.arange(lead), lead + cells.reshape(-1)])


def _probabilities(scale, keys, queries, dtype=None):
  """float[B, h, n, M] of float[B, M, h, K] and float[B, n, h, K]."""
  scores = products.einsum('bnhk,bmhk->bhnm', queries * scale, keys,
                           preferred_element_type=dtype)
  return masked_softmax(scores, None)


def _spread(scores, grid, ids, dense):
  """Scores of the cells that attend, of those of all cells or strided ones."""
  if not dense:
    scores = scores.reshape(-1, *map(strided, grid))
    scores = upsampled(scores, grid).reshape(scores.shape[0], -1)
  if ids is None:
    return scores
  return jnp.take_along_axis(scores, jnp.maximum(ids, 0), 1)


class Layer(vit.Layer):
  """The layer of a vision transformer, with convolved attention.

  Attributes:
    grid: height and width of the grid that tokens behind the lead are cells of.
    lead: tokens in front.
    dropped: see `settled`.
    score_stride1, batch_norm, stride: see `ConvAttention`.
  """

  grid: tuple[int, int] = (1, 1)
  lead: int = 0
  dropped: str = 'stale'
  score_stride1: bool = False
  batch_norm: Callable[..., nn.Module] = BatchNorm
  stride: int = STRIDE

  def _attend(self, tokens, part, run):
    """What attention adds to the tokens that live, and these."""
    sub, gone = run['sub'], tokens.valid is not None
    cells = (settled(tokens, self.lead, self.dropped) if gone
             else tokens.x[:, self.lead:])
    h = jnp.concatenate([tokens.x[:, :self.lead], cells], 1)
    h = self.norm(self.embed, name='norm1')(h, sub=sub)
    z, picked = ConvAttention(
        self.embed, self.heads, self.grid, self.score_stride1,
        self.batch_norm, **part, head_dim=self.head_dim, qkv_bias=self.qkv_bias,
        stride=self.stride, name='attention')(
            h[:, :self.lead], h[:, self.lead:], tokens.ids if gone else None,
            valid=tokens.valid, stage=self.stage, sub=sub,
            train=run['seed'] is not None)
    if picked is not None:
      tokens = self._sampled(tokens, picked)
    return z, tokens if tokens.valid is None else tokens._replace(grid=cells)
