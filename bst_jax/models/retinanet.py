"""RetinaNet on PVTv2: a detector of one stage whose backbone may be cut.

Reference: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017; Wang
  et al., "PVT v2", Computational Visual Media 2022, section 4.2, and its
  released code.
"""
import math

from bst_jax.elastic import Axis, check_name, FULL, Submodel
from bst_jax.layers import fpn, pixels, retinanet
from bst_jax.models import pvt
from flax import linen as nn
import jax

# Levels that the pyramid adds to the stages that it reads.
_ABOVE = 2


class Model(pvt.Model):
  """Boxes in pictures, each of one class.

  Its backbone is `pvt.Model` without the head: the same fields, the same names
  of parameters and channels. So a classifier's workdir, pruned or extracted or
  whole, starts it by config.start = dict(workdir=…, fresh=('fpn', 'head')), and
  what a submodel or a choice leaves of a classifier it leaves of the detector.
  Pyramid and head stay whole. Pictures may have any sides.

  Attributes:
    stages: the last ones, that the pyramid reads.
    pyramid_width: channels of the pyramid and of the head.
    top: what the levels on top are made of, of `layers.fpn.TOPS`.
    depth: convolutions of each of the head's two towers.
    groups: of the normalisations in the head; 0 for none.
    anchor_sizes: sides in pixels of the square anchor of every level, each of
      which comes in three sizes and three shapes.
    detections: boxes of a picture at most.
    each: pairs of an anchor and a class of a level that are looked at.
  """

  stages: int = 3
  pyramid_width: int = 256
  top: str = 'c5'
  depth: int = 4
  groups: int = 0
  anchor_sizes: tuple[int, ...] = retinanet.SIZES
  detections: int = 100
  each: int = 1000

  def __post_init__(self):
    if not 1 <= self.stages <= len(self.width):
      raise ValueError(
          f'the pyramid was to read the last {self.stages} stages, but there are '
          f'{len(self.width)}; give stages from 1 to {len(self.width)}.')
    check_name(self.top, fpn.TOPS, 'source of the levels on top')
    retinanet.check(self.anchor_sizes, self.stages + _ABOVE)
    super().__post_init__()

  @property
  def level_strides(self) -> tuple[int, ...]:
    """Pixels of a cell of every level of the pyramid."""
    every = [math.prod(self.strides[:i + 1]) for i in range(len(self.width))]
    above = [every[-1] * 2 ** (i + 1) for i in range(_ABOVE)]
    return (*every[-self.stages:], *above)

  @nn.compact
  def __call__(self, batch: dict[str, jax.Array], *, sub: Submodel = FULL,
               train: bool = False) -> dict[str, jax.Array]:
    """What there is in pictures.

    Args:
      batch: image uint8[B, H, W, 3], or float, which is taken to have the
        model's mean and deviation already; extent int32[B, 2], height and width
        of what of a canvas is picture, all of it if left out.
      sub: the part of the backbone to run.
      train: dropout, which needs an rng named 'dropout'; no boxes are chosen.

    Returns:
      See `layers.retinanet.outputs`.
    """
    check_name('image', batch, 'key of the batch')
    image, extent = pixels.on_canvas(batch, self.sides, self.mean, self.std,
                                     pixels.CELL if train else 0)
    grids = self.pyramid(image, sub, train)[-self.stages:]
    channels = tuple(Axis('embed', width, f'stage_{i}')
                     for i, width in enumerate(self.width))[-self.stages:]
    pyramid = fpn.Fpn(channels, self.pyramid_width, self.top, self.dtype,
                      name='fpn')
    levels = pyramid(grids, sub=sub)
    return retinanet.of_levels(self, levels, self.level_strides, extent, train)
