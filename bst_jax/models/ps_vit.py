"""PS-ViT: a vision transformer whose tokens look for their places.

Reference: Yue et al., "Vision Transformer with Progressive Sampling", ICCV
  2021; Fayyaz et al., "Adaptive Token Sampling for Efficient Vision
  Transformers", ECCV 2022.
"""
from collections.abc import Mapping, Sequence
import functools
import math
from typing import Any

from bst_jax.elastic import Axis, check_name, FULL, Order, Size, Submodel
from bst_jax.layers import batch_norm, heads, linear, pixels, progressive
from bst_jax.layers.activations import gelu
from bst_jax.layers.backbone import Backbone
from bst_jax.layers.dropout import seed_of
from bst_jax.layers.linear import named, TRUNCATED
from bst_jax.layers.sampler import Ats
from bst_jax.layers.stack import Stack
from bst_jax.layers.vit import Layer, layer_options, rising, Tokens
from flax import linen as nn
import jax
import jax.numpy as jnp


class Model(Backbone):
  """Names what a picture shows.

  Four layers sample a map of features at points that move from layer to layer;
  then the token of the class joins, and plain layers follow. The defaults are
  those of PS-ViT-B/18; B/14 and B/10 have as many points along a side; Ti/14
  has width 192, heads 3, mlp 576, num_layers 8 and stem (64, None).

  A submodel keeps a prefix of width, heads and mlp, and the same share of the
  sampling layers and of those behind them; the last sampling layer, which moves
  no points, is always one of them. The stem's inside is nobody's to narrow, but
  for what has the channels of the width.

  Attributes:
    num_answers: classes.
    image_size: side of the pictures, or height and width.
    points: along a side, or down and across.
    width, heads, mlp: of all layers.
    head_dim: channels of a head; width / heads if None.
    sampling_layers: that look at the map.
    num_layers: behind them.
    stem: its `hidden` and `between`, see `progressive.Stem`.
    eps: of every layer normalisation.
    batch_stats: what training normalises by in the stem: the `stored`
      statistics, which then stay as they are and are to come from a checkpoint,
      or those of the `batch`, see `BatchNorm`.
    mean, std: that uint8 pictures are brought to.
    ats: an `Ats`, or its arguments, in the layers behind those that look: its
      `blocks` count from the first of these. None samples nothing. Sampling
      has no parameters: the same ones serve any.
    strategy, strategy_seed: which layers a depth keeps, see `elastic.Order`.
    dropout: of branches.
    depth_dropout: chance to skip a branch in the last layer; it grows from
      zero in the first of all.
    remat: recompute layers in the backward pass, to save memory.
    bottleneck: channels inside of the stem's bottlenecks; those of its first
      convolution if None.

  Every layer that samples tokens sows `count` and `overflow` int32[B] and
  `token_ids` int32[B, n], the point of each token or -1, as `intermediates`.
  Points are numbered column by column.
  """

  num_answers: int
  image_size: int | tuple[int, int] = 224
  points: int | tuple[int, int] = 18
  width: int = 384
  heads: Size = 6
  mlp: Size = 1152
  sampling_layers: int = 4
  num_layers: int = 10
  stem: tuple[int, int | None] = (64, 256)
  eps: float = 1e-5
  mean: tuple[float, ...] = pixels.MEAN
  std: tuple[float, ...] = pixels.STD
  ats: Ats | Mapping[str, Any] | None = None
  batch_stats: str | None = 'stored'
  strategy: str = 'middle'
  strategy_seed: int = 0
  dropout: float = 0.0
  depth_dropout: float = 0.0
  dtype: Any = jnp.float32
  remat: bool = False
  head_dim: Size | None = None
  bottleneck: int | None = None

  def __post_init__(self):
    batch_norm.of(self.batch_stats)
    if self.sampling_layers < 1:
      raise ValueError('sampling_layers 0 makes no tokens of a picture; choose '
                       'at least 1.')
    super().__post_init__()

  @property
  def sides(self) -> tuple[int, int]:
    """Height and width of the pictures."""
    return pixels.sides(self.image_size)

  @property
  def slots(self) -> int:
    """Points of a picture."""
    return math.prod(pixels.sides(self.points))

  @property
  def lead(self) -> int:
    """Tokens in front of the points."""
    return 1

  @property
  def stacks(self) -> dict[str, Order]:
    """The layers that look at the map, and those behind them."""
    order = functools.partial(Order, strategy=self.strategy,
                              seed=self.strategy_seed)
    return {'sampling': order(self.sampling_layers, tie='last'),
            'encoder': order(self.num_layers)}

  def layer_fields(self, living: Mapping[str, Sequence[Any]]
                   ) -> dict[str, Any]:
    """The fields that say how many layers are left; the last look is one."""
    looking = tuple(attention for attention, _ in living['sampling'])
    if looking[-1] != self.sampling_layers - 1:
      raise ValueError(
          f'strategy {self.strategy!r}, or the choice, keeps the sampling '
          f'layers {looking} of {self.sampling_layers}, but the last one ends '
          'the search and must come last; choose strategy middle, uniform or '
          'keep_last, or other layers.')
    return {'sampling_layers': len(looking),
            'num_layers': len(living['encoder'])}

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
    embed = Axis('embed', self.width)
    seed = seed_of(self.make_rng('dropout')) if train else None
    norm = functools.partial(linear.LayerNorm, eps=self.eps)
    layer = functools.partial(
        Layer, embed, Axis('heads', self.heads), Axis('mlp', self.mlp), norm,
        gelu, head_dim=self.head_dim, dropout=self.dropout, dtype=self.dtype,
        qkv_bias=False, **TRUNCATED)
    looking, behind = self.stacks.values()
    first, rest = sub.layers(looking), sub.layers(behind)
    rates = rising(self.depth_dropout, len(first) + len(rest))

    image = pixels.normalised(batch['image'], self.sides, self.mean, self.std)
    grid = progressive.Stem(
        *self.stem, embed, self.dtype, batch_norm.of(self.batch_stats),
        self.bottleneck, name='stem')(
            image.astype(self.dtype), sub=sub, train=train)  # [B, h, w, d]
    options = {f'layer_{i}': dict(
        layer=functools.partial(layer, depth_dropout=rate))
               for i, rate in zip(first, rates)}
    options[f'layer_{self.sampling_layers - 1}']['moves'] = False
    x = Stack(functools.partial(progressive.SamplingLayer, embed=embed),
              looking, self.remat, options, name='sampling')(
                  progressive.Looking.start(
                      image.shape[0], pixels.sides(self.points), grid.shape[1:3]),
                  grid, *progressive.Places(
                      embed, TRUNCATED['kernel_init'], name='places')(sub),
                  sub=sub, seed=seed).x                     # [B, n, d]

    options = layer_options(rest, rates[len(first):],
                            self.ats.stages(rest, self.slots, self.lead))
    token = self.param('class_token', named(
        TRUNCATED['kernel_init'], embed))[:x.shape[-1]]
    token = jnp.broadcast_to(token, (x.shape[0], 1, x.shape[-1])).astype(x.dtype)
    x = Stack(functools.partial(
        layer, policy_eps=self.ats.policy_eps, soft=self.ats.grad != 'hard',
        fill=self.ats.fill), behind, self.remat, options, name='encoder')(
            Tokens.start(jnp.concatenate([token, x], 1), 1, self.ats),
            sub=sub, seed=seed).x
    x = norm(embed, name='norm')(x[:, 0], sub=sub)          # [B, d]
    return heads.classes(self, x, embed, sub=sub)
