"""CLIP's ResNet without its attention pool: from pixels to a grid.

Reference: Radford et al., "Learning Transferable Visual Models From Natural
  Language Supervision", ICML 2021, section 2.4: a stem of three convolutions,
  and average pools in front of whatever would skip pixels.
Differs: channels come last.
"""
from collections.abc import Callable
from typing import Any

from bst_jax.elastic import Axis
from bst_jax.layers.batch_norm import BatchNorm
from bst_jax.layers.convolution import Conv
from bst_jax.layers.resnet import Bottleneck, mean_pool
from flax import linen as nn
import jax
import jax.numpy as jnp

# Of the pictures that CLIP was trained on, red, green and blue in 0..1.
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
# RN50x4: 2560 channels at the end.
BLOCKS, WIDTH = (4, 6, 10, 6), 80
STRIDE = 32


def normalise(image: jax.Array) -> jax.Array:
  """float32[P, H, W, 3] for the trunk.

  Args:
    image: uint8, brought to CLIP's mean and deviation; or float, which is taken
      to be so already. The bars beside a picture are black before this, as in
      CLIP-ViL's released code.
  """
  if image.ndim != 4 or image.shape[-1] != 3 or min(image.shape[1:3]) < STRIDE:
    raise ValueError(
        f'images of shape {image.shape} cannot be read; wanted is [pictures, '
        f'height, width, 3] with sides of at least {STRIDE} pixels.')
  if image.dtype != jnp.uint8:
    return image.astype(jnp.float32)
  return (image.astype(jnp.float32) / 255 - jnp.array(MEAN)) / jnp.array(STD)


class ClipResNet(nn.Module):
  """The trunk. Nothing of it is elastic.

  Attributes:
    blocks: number of bottlenecks in each stage.
    width: channels of the stem; every stage but the first doubles them, and
      blocks end with four times those of their stage.
    batch_norm: makes the normalisation behind a convolution.
  """

  blocks: tuple[int, ...] = BLOCKS
  width: int = WIDTH
  dtype: Any = jnp.float32
  batch_norm: Callable[..., nn.Module] = BatchNorm

  @property
  def features(self) -> int:
    """Channels of the grid."""
    return 4 * self.width * 2 ** (len(self.blocks) - 1)

  @nn.compact
  def __call__(self, image: jax.Array, train: bool = False) -> jax.Array:
    """uint8[P, H, W, 3], or see `normalise`, -> float[P, h, w, features]."""
    x = normalise(image).astype(self.dtype)
    for i, (size, stride) in enumerate(
        ((self.width // 2, 2), (self.width // 2, 1), (self.width, 1)), 1):
      inp, out = Axis('pixel', x.shape[-1]), Axis('pixel', size)
      x = Conv(inp, out, self.dtype, 3, stride, 1, use_bias=False,
               name=f'conv{i}')(x)
      x = nn.relu(self.batch_norm(out, name=f'norm{i}')(x, train=train))
    x = mean_pool(x, 2)                                     # [P, H / 4, W / 4]
    for stage, count in enumerate(self.blocks):
      hidden = self.width * 2 ** stage
      for block in range(count):
        x = Bottleneck(
            Axis('pixel', x.shape[-1]), Axis('pixel', hidden),
            Axis('pixel', 4 * hidden), 2 if stage and not block else 1,
            self.dtype, self.batch_norm, name=f'stage{stage + 1}_{block}')(
                x, train=train)
    return x
