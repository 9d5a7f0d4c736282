"""Feature pyramid network: every grid knows what the coarser ones see.

Reference: Lin et al., "Feature Pyramid Networks for Object Detection", CVPR
  2017, section 3; Lin et al., "Focal Loss for Dense Object Detection", ICCV
  2017, section 4, for the two levels on top.
"""
from collections.abc import Sequence
from typing import Any

from bst_jax.elastic import Axis, check_name, FULL, Submodel
from bst_jax.layers import resample
from bst_jax.layers.convolution import Conv
from flax import linen as nn
import jax
import jax.numpy as jnp

# What the two levels on top are made of: the trunk's last grid or the pyramid's.
TOPS = ('c5', 'p5')
_INIT = nn.initializers.variance_scaling(1 / 3, 'fan_in', 'uniform')


class Fpn(nn.Module):
  """Grids of equal channels, of those that a trunk hands on and two coarser.

  Attributes:
    inp: channels of the trunk's grids, fine to coarse.
    width: channels of the result.
    top: of `TOPS`; the released code of RetinaNet reads c5, torchvision's first
      version p5. None adds no level.
  """

  inp: tuple[Axis, ...]
  width: int = 256
  top: str | None = 'c5'
  dtype: Any = jnp.float32

  def __post_init__(self):
    if self.top is not None:
      check_name(self.top, TOPS, 'source of the levels on top')
    super().__post_init__()

  @property
  def channels(self) -> Axis:
    """Of every grid of the result."""
    return Axis('pyramid', self.width)

  @nn.compact
  def __call__(self, grids: Sequence[jax.Array], *, sub: Submodel = FULL
               ) -> tuple[jax.Array, ...]:
    """The pyramid, each level half as fine as the one before.

    Args:
      grids: float[B, h, w, c] of the trunk, fine to coarse.
      sub: the part of the trunk that made them; the pyramid itself is whole.

    Returns:
      float[B, h, w, width] each: as many as `grids`, and two more.
    """
    if len(grids) != len(self.inp):
      raise ValueError(f'{len(grids)} grids were given, but the pyramid is of '
                       f'{len(self.inp)}; hand on as many as `inp` has.')
    channels = self.channels.here(self)
    conv = lambda name, x, inp, size=3, stride=1: Conv(
        inp, channels, self.dtype, size, stride, size // 2, kernel_init=_INIT,
        name=name)(x, sub=sub)
    coarse, levels = None, []
    for n in reversed(range(len(grids))):
      x = conv(f'inner_{n}', grids[n].astype(self.dtype), self.inp[n], 1)
      if coarse is not None:
        x = x + resample.nearest(coarse, x.shape[1:3])
      coarse = x
      levels.insert(0, conv(f'outer_{n}', x, channels))
    if self.top is None:
      return tuple(levels)
    from_trunk = self.top == 'c5'
    source = grids[-1].astype(self.dtype) if from_trunk else levels[-1]
    above = conv('top_0', source, self.inp[-1] if from_trunk else channels, 3, 2)
    return *levels, above, conv('top_1', nn.relu(above), channels, 3, 2)
