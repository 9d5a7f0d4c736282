"""RetinaNet on a ResNet, of torchvision's parameters; nothing of it is narrowed.

Reference: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017;
  torchvision's first version has top='p5' and stored statistics, its second
  top='c5' and groups=32.
"""
import functools
from typing import Any

from bst_jax.elastic import check_name, FULL, Submodel
from bst_jax.layers import batch_norm, fpn, pixels, resnet, retinanet
from bst_jax.layers.backbone import Fixed
from flax import linen as nn
import jax
import jax.numpy as jnp

_STRIDES = (8, 16, 32, 64, 128)


class Model(Fixed):
  """Boxes in pictures, each of one class.

  Attributes:
    num_answers: classes.
    image_size: height and width of the canvas; any.
    blocks: bottlenecks of each of the four stages, see `layers.resnet.BLOCKS`.
    stem: channels of the first convolution.
    pyramid_width, top, depth, groups, anchor_sizes, detections, each: see
      `models.retinanet`.
    batch_stats: what training normalises by, see `batch_norm.of`.
    norm_eps: of all batch normalisations; 0 in the published weights of torchvision's
      first version.
    mean, std: that uint8 pictures are brought to.
  """

  num_answers: int
  image_size: int | tuple[int, int] = 800
  blocks: tuple[int, ...] = resnet.BLOCKS['resnet50']
  stem: int = resnet.WIDTH
  pyramid_width: int = 256
  top: str = 'p5'
  depth: int = 4
  groups: int = 0
  anchor_sizes: tuple[int, ...] = retinanet.SIZES
  detections: int = 100
  each: int = 1000
  batch_stats: str | None = 'stored'
  norm_eps: float = 1e-5
  mean: tuple[float, ...] = pixels.MEAN
  std: tuple[float, ...] = pixels.STD
  dtype: Any = jnp.float32

  def __post_init__(self):
    check_name(self.top, fpn.TOPS, 'source of the levels on top')
    retinanet.check(self.anchor_sizes, len(_STRIDES))
    if len(self.blocks) != 4:
      raise ValueError(f'blocks {self.blocks} are of {len(self.blocks)} stages, '
                       'but the pyramid reads the last three of 4; give 4.')
    super().__post_init__()

  @nn.compact
  def __call__(self, batch: dict[str, jax.Array], *, sub: Submodel = FULL,
               train: bool = False) -> dict[str, jax.Array]:
    """What there is in pictures.

    Args:
      batch: image uint8[B, H, W, 3], or float, which is taken to have the
        model's mean and deviation already; extent int32[B, 2], height and width
        of what of a canvas is picture, all of it if left out.
      sub: the whole.
      train: no boxes are chosen.

    Returns:
      See `layers.retinanet.outputs`.
    """
    check_name('image', batch, 'key of the batch')
    image, extent = pixels.on_canvas(batch, self.sides, self.mean, self.std,
                                     pixels.CELL if train else 0)
    norm = functools.partial(batch_norm.of(self.batch_stats), eps=self.norm_eps)
    trunk = resnet.ResNet(self.blocks, self.stem, self.dtype, norm,
                          name='trunk')
    grids = trunk(image.astype(self.dtype), train)
    levels = fpn.Fpn(trunk.channels[1:], self.pyramid_width, self.top,
                     self.dtype, name='fpn')(grids[1:])
    return retinanet.of_levels(self, levels, _STRIDES, extent, train)
