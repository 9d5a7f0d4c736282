"""PVTv2: a transformer in stages, whose tokens are all there at every one.

Reference: Wang et al., "PVT v2: Improved Baselines with Pyramid Vision
  Transformer", Computational Visual Media 2022, and its released code.
"""
import functools
from typing import Any

from bst_jax.elastic import Axis, check_name, FULL, Size, Submodel
from bst_jax.layers import cvt, heads, linear, pixels, pvt
from bst_jax.layers.activations import ACTIVATIONS
from bst_jax.layers.backbone import Staged
from bst_jax.layers.dropout import seed_of
from bst_jax.layers.linear import TRUNCATED
from bst_jax.layers.stack import Stack
from bst_jax.layers.vit import rising
from flax import linen as nn
import jax
import jax.numpy as jnp


class Model(Staged):
  """Names what a picture shows.

  The sizes of every stage stand in tuples; those of PVTv2-B0 are the defaults.
  There is no class token and there are no places: the mean over the cells of
  the last stage goes to the head.

  A submodel narrows every stage by the same ratio and keeps the same share of
  each. The published models have a stage of 1 head, which nothing less than the
  whole fits: give it more heads for narrower submodels.

  Attributes:
    num_answers: classes.
    image_size: side of the pictures, or height and width; any, as long as every
      stage has a cell.
    width, heads, mlp, num_layers: of every stage; a submodel keeps a prefix of
      the first three.
    reductions: cells along a side of every stage's grid for one of its keys';
      1 reduces nothing.
    reduced: channels of every stage's coarser grid; the width if None.
    linear: every stage attends to the means of 7 x 7 windows (B2-Linear).
    kernels, strides, paddings: of the convolution in front of every stage.
    qkv_bias: whether queries, keys and values have biases.
    activation: of `activations.ACTIVATIONS`.
    eps: of the normalisations of layers and behind stages.
    reduction_eps: of those behind the convolutions, in front of every stage and
      of the coarser grids.
    mean, std: that uint8 pictures are brought to.
    strategy, strategy_seed: which layers a depth keeps, see `elastic.Order`.
    dropout: of branches.
    depth_dropout: chance to skip a branch in the last layer of all; it grows
      from zero in the first.
    remat: recompute layers in the backward pass, to save memory.
    head_dim: channels of a head, of every stage; width / heads if None.
  """

  num_answers: int
  image_size: int | tuple[int, int] = 224
  width: tuple[int, ...] = (32, 64, 160, 256)
  heads: tuple[Size, ...] = (1, 2, 5, 8)
  mlp: tuple[Size, ...] = (256, 512, 640, 1024)
  num_layers: tuple[int, ...] = (2, 2, 2, 2)
  reductions: tuple[int, ...] = (8, 4, 2, 1)
  linear: bool = False
  kernels: tuple[int, ...] = (7, 3, 3, 3)
  strides: tuple[int, ...] = (4, 2, 2, 2)
  paddings: tuple[int, ...] = (3, 1, 1, 1)
  qkv_bias: bool = True
  activation: str = 'gelu'
  eps: float = 1e-6
  reduction_eps: float = 1e-5
  mean: tuple[float, ...] = pixels.MEAN
  std: tuple[float, ...] = pixels.STD
  strategy: str = 'middle'
  strategy_seed: int = 0
  dropout: float = 0.0
  depth_dropout: float = 0.0
  dtype: Any = jnp.float32
  remat: bool = False
  head_dim: tuple[Size | None, ...] | None = None
  reduced: tuple[Size, ...] | None = None

  def __post_init__(self):
    check_name(self.activation, ACTIVATIONS, 'activation')
    self.check_stages('heads', 'mlp', 'num_layers', 'reductions', 'kernels',
                      'strides', 'paddings', 'head_dim', 'reduced')
    # Written out, so that who reads a model finds one for every stage.
    object.__setattr__(self, 'reduced', tuple(
        one if self.linear or ratio > 1 else width for one, ratio, width in zip(
            self.reduced or self.width, self.reductions, self.width)))
    super().__post_init__()

  @property
  def sides(self) -> tuple[int, int]:
    """Height and width of the pictures."""
    return pixels.sides(self.image_size)

  @property
  def grids(self) -> tuple[tuple[int, int], ...]:
    """Rows and columns of every stage's cells."""
    grids = cvt.grids_of(self.sides, self.kernels, self.strides, self.paddings)
    for i, (grid, ratio) in enumerate(zip(grids, self.reductions)):
      if not self.linear and min(grid) < ratio:
        raise ValueError(
            f'pictures of {self.sides[0]} x {self.sides[1]} pixels have '
            f'{grid[0]} x {grid[1]} cells in stage {i}, of which reductions '
            f'{ratio} leaves none; choose larger pictures or a smaller one.')
    return grids

  @nn.compact
  def __call__(self, batch: dict[str, jax.Array], *, sub: Submodel = FULL,
               train: bool = False) -> dict[str, jax.Array]:
    """Logits of the classes.

    Args:
      batch: image uint8[B, H, W, 3], or float, which is taken to have the
        model's mean and deviation already.
      sub: the part to run.
      train: dropout, which needs an rng named 'dropout'.

    Returns:
      classes float[B, A].
    """
    check_name('image', batch, 'key of the batch')
    x = self.pyramid(batch['image'], sub, train)[-1]
    embed = Axis('embed', self.width[-1], f'stage_{len(self.width) - 1}')
    x = x.mean((1, 2))                                      # [B, d]
    return heads.classes(self, x, embed, sub=sub)

  @nn.nowrap  # Else its name would stand before those of all modules.
  def pyramid(self, image: jax.Array, sub: Submodel, train: bool
              ) -> tuple[jax.Array, ...]:
    """The normalised grid float[B, h, w, d] of every stage, fine to coarse.

    Called by `__call__`, of which it makes the modules.

    Args:
      image, sub, train: see there.
    """
    seed = seed_of(self.make_rng('dropout')) if train else None
    norm = functools.partial(linear.LayerNorm, eps=self.eps)
    edge = functools.partial(linear.LayerNorm, eps=self.reduction_eps)
    grids = self.grids
    kept = [sub.layers(order) for order in self.stacks.values()]
    rates = iter(rising(self.depth_dropout, sum(map(len, kept))))

    x = pixels.normalised(image, self.sides, self.mean, self.std)
    x, inp, result = x.astype(self.dtype), Axis('pixel', 3), []
    for i, width in enumerate(self.width):
      embed = Axis('embed', width, f'stage_{i}')
      x = cvt.ConvEmbed(
          inp, embed, self.kernels[i], self.strides[i], self.paddings[i], edge,
          self.dtype, pvt.CONV_INIT, name=f'embed_{i}')(x, sub=sub)
      layer = functools.partial(
          pvt.Layer, embed, Axis('heads', self.heads[i]),
          Axis('mlp', self.mlp[i]), Axis('reduced', self.reduced[i]), grids[i],
          self.reductions[i], self.linear, norm, edge,
          ACTIVATIONS[self.activation], self.dropout, dtype=self.dtype,
          qkv_bias=self.qkv_bias, head_dim=self.head_dim and self.head_dim[i],
          **TRUNCATED)
      options = {f'layer_{n}': dict(depth_dropout=next(rates))
                 for n in kept[i]}
      shape = x.shape
      x = Stack(layer, self.stacks[f'stage_{i}'], self.remat, options,
                name=f'stage_{i}')(
                    x.reshape(shape[0], -1, shape[-1]), sub=sub, seed=seed)
      x = norm(embed, name=f'norm_{i}')(x, sub=sub).reshape(shape)
      inp = embed
      result.append(x)
    return tuple(result)
