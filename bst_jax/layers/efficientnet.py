"""EfficientNet's trunk: from pixels to the grid that leaves every stage.

Reference: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional
  Neural Networks", ICML 2019, table 1 and section 4; the Lite sizes are those
  of TensorFlow's "Higher accuracy on vision models with EfficientNet-Lite",
  2020: no gates, ReLU6, and a stem and a last convolution that never scale.
Differs: the first layer of a stage never has a shortcut. In the published sizes
  none could have one, as its stride or its width changes.
"""
from collections.abc import Callable, Sequence
import dataclasses
import functools
import math
from typing import Any

from bst_jax.elastic import Axis, check_name, FULL, Order, Size, Sizes, Submodel
from bst_jax.elastic.axes import size_at
from bst_jax.layers import batch_norm, resample
from bst_jax.layers.batch_norm import BatchNorm
from bst_jax.layers.convolution import Conv
from bst_jax.layers.dropout import Dropout
from bst_jax.layers.linear import Dense
from bst_jax.layers.stack import Stack
from flax import linen as nn
import jax
import jax.numpy as jnp

# Of B0: the channels that leave a stage, its layers, the taps and the stride of
# its convolutions.
STEM, LAST = 32, 1280
WIDTH, NUM_LAYERS = (16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 3, 3, 4, 1)
KERNELS, STRIDES = (3, 3, 5, 3, 5, 5, 3), (1, 2, 2, 2, 1, 2, 1)
# What the input of a layer is widened by, but for the first stage; the share of
# its input's channels that its gate has hidden.
EXPANSION, SQUEEZED = 6, 0.25
# Stages whose grids a detector reads: a cell is 4, 8, 16 and 32 pixels wide.
TAPS = (1, 2, 4, 6)
ACTIVATIONS = {'silu': nn.silu, 'relu6': nn.relu6}
# Factors of width and depth, and the side of the pictures.
SCALES = {'b0': (1.0, 1.0, 224), 'b1': (1.0, 1.1, 240), 'b2': (1.1, 1.2, 260),
          'b3': (1.2, 1.4, 300), 'b4': (1.4, 1.8, 380), 'b5': (1.6, 2.2, 456)}
_LITE = 'lite0'
# Normal numbers of variance 2 / (taps x outputs): of a channel by itself there
# is one output.
_INIT = nn.initializers.variance_scaling(2.0, 'fan_out', 'normal')


def sizes(name: str) -> dict[str, Any]:
  """Arguments of a published trunk and of its classifier.

  Args:
    name: `b0` to `b5`, or `lite0`.

  Returns:
    Those that are not the defaults of `models.efficientnet.Model`.

  Raises:
    ValueError: there is no such size.
  """
  check_name(name, (*SCALES, _LITE), 'size of EfficientNet')
  if name == _LITE:
    return dict(squeeze=(None,) * len(WIDTH), activation='relu6')
  wide, deep, side = SCALES[name]
  return dict(
      image_size=side, stem=scaled(STEM, wide), fused=scaled(LAST, wide),
      width=tuple(scaled(width, wide) for width in WIDTH),
      num_layers=tuple(math.ceil(deep * count) for count in NUM_LAYERS))


def scaled(width: int, factor: float) -> int:
  """Channels times a factor, to the nearest 8, at most a tenth less.

  >>> scaled(32, 1.2), scaled(16, 1.1)
  (40, 16)
  """
  wanted = width * factor
  near = max(8, int(wanted + 4) // 8 * 8)
  return near + 8 if near < 0.9 * wanted else near


def hidden(stem: int, width: Sequence[int]) -> tuple[Size | None, ...]:
  """Hidden channels of the layers of every stage; None for those of the input.

  A layer has `EXPANSION` times the channels of its input, and the input of a
  stage's first layer is as wide as the stage before it.
  """
  first = [stem, *width]
  return None, *(
      Sizes.of({'': EXPANSION * width[i],
                f'stage_{i}/layer_0': EXPANSION * first[i]})
      for i in range(1, len(width)))


def squeezed(stem: int, width: Sequence[int]) -> tuple[Size, ...]:
  """Hidden units of the gates of every stage's layers."""
  share = lambda channels: max(1, int(SQUEEZED * channels))
  first = [stem, *width]
  return tuple(
      Sizes.of({'': share(width[i]), f'stage_{i}/layer_0': share(first[i])})
      for i in range(len(width)))


class Gate(nn.Module):
  """Every channel times a number in 0..1 that the means of all channels give.

  Attributes:
    inp: the channels.
    squeeze: hidden units, of which it is the owner.
    activation: of the hidden units.

  Reference: Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018, section 3.
  """

  inp: Axis
  squeeze: Axis
  activation: Callable
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, *, sub: Submodel = FULL) -> jax.Array:
    """float[B, H, W, c] -> float[B, H, W, c]."""
    inner = self.squeeze.here(self)
    part = dict(kernel_init=_INIT, bias_init=nn.initializers.zeros,
                dtype=self.dtype)
    z = x.mean((1, 2))                                      # [B, c]
    z = Dense((self.inp,), (inner,), name='reduce', **part)(z, sub=sub)
    z = Dense((inner,), (self.inp,), name='expand', **part)(
        self.activation(z), sub=sub)
    return x * nn.sigmoid(z)[:, None, None]


class Layer(nn.Module):
  """Widens its input, looks around in each channel, gates and narrows again.

  Attributes:
    inp, out: channels; where they are the same and the stride is 1 the input is
      added to the output.
    mlp: the channels between, of which it is the owner; None for those of the
      input, which then is not widened.
    squeeze: hidden units of the gate; None for no gate.
    size, stride: of the convolution that looks around.
    padding: of `resample.PADDINGS`.
    batch_norm: makes a normalisation from its axis and name.
    depth_dropout: chance to skip the layer, where it has a shortcut.

  Reference: Sandler et al., "MobileNetV2: Inverted Residuals and Linear
    Bottlenecks", CVPR 2018, section 3; EfficientNet, table 1.
  """

  inp: Axis
  out: Axis
  mlp: Axis | None
  squeeze: Axis | None
  size: int
  stride: int
  padding: str
  activation: Callable
  batch_norm: Callable[..., nn.Module] = BatchNorm
  depth_dropout: float = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, *, sub: Submodel = FULL,
               seed: jax.Array | None = None) -> jax.Array:
    """float[B, H, W, c] -> float[B, h, w, f]; a seed says that it trains."""
    def norm(name, axis, y):
      return self.batch_norm(axis, name=name)(y, sub=sub, train=seed is not None)

    pointwise = functools.partial(
        Conv, dtype=self.dtype, size=1, stride=1, padding=0, use_bias=False,
        kernel_init=_INIT)
    y, mlp = x, self.inp
    if self.mlp is not None:
      mlp = self.mlp.here(self)
      y = pointwise(self.inp, mlp, name='expand')(y, sub=sub)
      y = self.activation(norm('expand_norm', mlp, y))
    y = Conv(mlp, mlp, self.dtype, self.size, self.stride,
             resample.around(self.size, self.padding), use_bias=False,
             depthwise=True, kernel_init=nn.initializers.normal(
                 math.sqrt(2) / self.size), name='depthwise')(y, sub=sub)
    y = self.activation(norm('depthwise_norm', mlp, y))     # [B, h, w, m]
    if self.squeeze is not None:
      y = Gate(mlp, self.squeeze, self.activation, self.dtype, name='gate')(
          y, sub=sub)
    y = pointwise(mlp, self.out, name='project')(y, sub=sub)
    y = norm('project_norm', self.out, y)
    if self.stride > 1 or self.inp != self.out:
      return y
    return x + Dropout(self.depth_dropout, whole=True)(y, seed)


@dataclasses.dataclass(frozen=True)
class Plan:
  """The sizes of a trunk's stages, and how all of its layers are made.

  Attributes:
    stem: channels of the first convolution.
    width: channels that leave every stage.
    num_layers: of every stage.
    mlp: hidden channels of every stage's layers, see `hidden`, which is used
      where it is None.
    squeeze: hidden units of every stage's gates, see `squeezed`, likewise; None
      for a stage without gates.
    kernels, strides: taps along a side of every stage's convolutions, and the
      stride of its first layer's.
    activation: of `ACTIVATIONS`.
    padding: of `resample.PADDINGS`.
    eps, momentum: of the batch normalisations.
    batch_stats: what training normalises by, see `batch_norm.of`.
    depth_dropout: what the chance to skip a layer grows to from 0: that of layer
      k of n is k / n of it.
  """

  stem: int = STEM
  width: tuple[int, ...] = WIDTH
  num_layers: tuple[int, ...] = NUM_LAYERS
  mlp: tuple[Size | None, ...] | None = None
  squeeze: tuple[Size | None, ...] | None = None
  kernels: tuple[int, ...] = KERNELS
  strides: tuple[int, ...] = STRIDES
  activation: str = 'silu'
  padding: str = 'symmetric'
  eps: float = 1e-3
  momentum: float = 0.01
  batch_stats: str | None = 'stored'
  depth_dropout: float = 0.0

  def __post_init__(self):
    check_name(self.activation, ACTIVATIONS, 'activation')
    check_name(self.padding, resample.PADDINGS, 'padding')
    batch_norm.of(self.batch_stats)
    for field, usual in (('mlp', hidden), ('squeeze', squeezed)):
      given = getattr(self, field)
      object.__setattr__(self, field, tuple(map(Sizes.of, usual(
          self.stem, self.width) if given is None else given)))

  @property
  def norm(self) -> Callable[..., BatchNorm]:
    """Makes a normalisation."""
    return functools.partial(batch_norm.of(self.batch_stats), eps=self.eps,
                             momentum=self.momentum)

  def grids(self, sides: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """Rows and columns of every stage's grid, of pictures of these sides."""
    found, sides = [], tuple(-(-side // 2) for side in sides)
    for stride in self.strides:
      sides = tuple(-(-side // stride) for side in sides)
      found.append(sides)
    return tuple(found)

  def layer(self, stage: int, number: int) -> Callable[..., Layer]:
    """Makes a layer of a stage from its name and `depth_dropout`."""
    first = not number
    place = f'stage_{stage}/layer_{number}'
    inp = self.channels(stage - first)
    axis = lambda name, value: (
        None if value is None else Axis(name, size_at(value, place)))
    return functools.partial(
        Layer, inp, self.channels(stage), axis('mlp', self.mlp[stage]),
        axis('squeeze', self.squeeze[stage]), self.kernels[stage],
        self.strides[stage] if first else 1, self.padding,
        ACTIVATIONS[self.activation], self.norm)

  def channels(self, stage: int) -> Axis:
    """Of the grid that leaves a stage; of the stem for -1."""
    if stage < 0:
      return Axis('pixel', self.stem)
    return Axis('embed', self.width[stage], f'stage_{stage}')


def run(plan: Plan, orders: Sequence[Order], x: jax.Array, *,
        sub: Submodel = FULL, seed: jax.Array | None = None,
        dtype: Any = jnp.float32, remat: bool = False) -> list[jax.Array]:
  """The grids that leave every stage, within a compact method.

  Its modules are `stem`, `stem_norm` and the stacks `stage_0`, `stage_1`, ….

  Args:
    plan: the trunk.
    orders: which layers of every stage a depth keeps.
    x: float[B, H, W, 3], normalised pictures.
    sub: the part to run.
    seed: uint32[] of training; None for evaluation.
    dtype: of activations.
    remat: see `Stack`.

  Returns:
    float[B, h, w, d] each, with the sizes of `Plan.grids`.
  """
  kept = [sub.layers(order) for order in orders]
  total, place, grids = sum(map(len, kept)), 0, []
  stem = plan.channels(-1)
  x = Conv(Axis('pixel', 3), stem, dtype, 3, 2, resample.around(3, plan.padding),
           use_bias=False, kernel_init=_INIT, name='stem')(x, sub=sub)
  x = plan.norm(stem, name='stem_norm')(x, sub=sub, train=seed is not None)
  x = ACTIVATIONS[plan.activation](x)
  for stage, order in enumerate(orders):
    options = {}
    for number in kept[stage]:
      options[f'layer_{number}'] = dict(
          depth_dropout=plan.depth_dropout * place / total)
      place += 1

    def make(name, stage=stage, **rest):
      number = int(name.removeprefix('layer_'))
      return plan.layer(stage, number)(dtype=dtype, name=name, **rest)

    x = Stack(make, order, remat, options, name=f'stage_{stage}')(
        x, sub=sub, seed=seed)
    grids.append(x)
  return grids


class Trunk(nn.Module):
  """The trunk by itself, for a detector: nothing narrows it.

  Attributes:
    plan: its sizes.
    taps: the stages whose grids are handed on.
  """

  plan: Plan = Plan()
  taps: tuple[int, ...] = TAPS
  dtype: Any = jnp.float32
  remat: bool = False

  @property
  def channels(self) -> tuple[Axis, ...]:
    """Of the grids that are handed on."""
    return tuple(self.plan.channels(stage) for stage in self.taps)

  @nn.compact
  def __call__(self, x: jax.Array, *, seed: jax.Array | None = None
               ) -> tuple[jax.Array, ...]:
    """float[B, H, W, 3], normalised, -> float[B, h, w, d] of every tap.

    Args:
      x: the pictures.
      seed: uint32[] of training; None for evaluation.
    """
    last = max(self.taps) + 1
    orders = [Order(count) for count in self.plan.num_layers[:last]]
    grids = run(self.plan, orders, x, seed=seed, dtype=self.dtype,
                remat=self.remat)
    return tuple(grids[stage] for stage in self.taps)
