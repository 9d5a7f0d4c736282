"""EfficientNet: convolutions of each channel by itself between narrow grids.

Reference: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional
  Neural Networks", ICML 2019, and its released code.
"""
import dataclasses
from typing import Any

from bst_jax.elastic import Axis, check_name, FULL, Size, Submodel
from bst_jax.layers import efficientnet, features, pixels
from bst_jax.layers.backbone import Staged
from bst_jax.layers.convolution import Conv
from bst_jax.layers.dropout import Dropout, seed_of
from bst_jax.layers.efficientnet import ACTIVATIONS, Plan
from bst_jax.layers.linear import Dense, uniform, wide
from flax import linen as nn
import jax
import jax.numpy as jnp

# Which drop a stage's first layer, the only one that can change its grid.
_WITHOUT_FIRST = ('keep_last', 'random')


class Model(Staged):
  """Names what a picture shows.

  The sizes of every stage stand in tuples; those of B0 are the defaults, and
  `layers.efficientnet.sizes` has the others. The mean over the cells behind a
  last convolution goes to the head.

  A submodel narrows every stage and what is between by the same ratio; stem and
  gates stay. It keeps the same share of each stage's layers, the first among
  them. The published models have stages of 1 layer, which nothing less than the
  whole fits.

  Attributes:
    num_answers: classes.
    image_size: side of the pictures, or height and width.
    stem, width, num_layers, mlp, squeeze, kernels, strides, activation, padding,
      eps, momentum, batch_stats, depth_dropout: see `layers.efficientnet.Plan`.
    fused: channels of the last convolution.
    mean, std: that uint8 pictures are brought to.
    strategy, strategy_seed: which layers a depth keeps, see `elastic.Order`;
      those that lose the first layer are refused where there are more.
    dropout: of what the head reads.
    remat: recompute layers in the backward pass, to save memory.
  """

  num_answers: int
  image_size: int | tuple[int, int] = 224
  stem: int = efficientnet.STEM
  width: tuple[int, ...] = efficientnet.WIDTH
  num_layers: tuple[int, ...] = efficientnet.NUM_LAYERS
  mlp: tuple[Size | None, ...] | None = None
  squeeze: tuple[Size | None, ...] | None = None
  kernels: tuple[int, ...] = efficientnet.KERNELS
  strides: tuple[int, ...] = efficientnet.STRIDES
  fused: int = efficientnet.LAST
  activation: str = 'silu'
  padding: str = 'symmetric'
  eps: float = 1e-3
  momentum: float = 0.01
  batch_stats: str | None = 'stored'
  mean: tuple[float, ...] = pixels.MEAN
  std: tuple[float, ...] = pixels.STD
  strategy: str = 'middle'
  strategy_seed: int = 0
  dropout: float = 0.0
  depth_dropout: float = 0.0
  dtype: Any = jnp.float32
  remat: bool = False

  def __post_init__(self):
    self.check_stages('num_layers', 'mlp', 'squeeze', 'kernels', 'strides')
    plan = self.plan
    # Written out, so that who reads a model finds one for every layer.
    for field in ('mlp', 'squeeze'):
      object.__setattr__(self, field, getattr(plan, field))
    if self.strategy in _WITHOUT_FIRST and max(self.num_layers) > 1:
      raise ValueError(
          f'strategy {self.strategy!r} can drop the first layer of a stage, '
          'but that is the one that changes the grid and its channels; set '
          "strategy to 'middle', 'keep_first' or 'uniform'.")
    super().__post_init__()

  @property
  def sides(self) -> tuple[int, int]:
    """Height and width of the pictures."""
    return pixels.sides(self.image_size)

  @property
  def plan(self) -> Plan:
    """The trunk."""
    return Plan(**{field.name: getattr(self, field.name)
                   for field in dataclasses.fields(Plan)})

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
    seed = seed_of(self.make_rng('dropout')) if train else None
    plan = self.plan
    x = pixels.normalised(batch['image'], self.sides, self.mean, self.std)
    x = efficientnet.run(
        plan, [*self.stacks.values()], x.astype(self.dtype), sub=sub, seed=seed,
        dtype=self.dtype, remat=self.remat)[-1]             # [B, h, w, d]
    fused = Axis('fused', self.fused)
    x = Conv(plan.channels(len(self.width) - 1), fused, self.dtype, 1, 1, 0,
             use_bias=False, name='last')(x, sub=sub)
    x = plan.norm(fused, name='last_norm')(x, sub=sub, train=train)
    x = ACTIVATIONS[self.activation](x).mean((1, 2))        # [B, f]
    features.sow(self, x)
    x = Dropout(self.dropout, name='head_dropout')(x, seed)
    logits = Dense((fused,), (Axis('answers', self.num_answers),),
                   uniform(self.num_answers), nn.initializers.zeros,
                   dtype=self.dtype, name='head')(x, sub=sub)
    return {'classes': wide(logits)}                        # [B, A]
