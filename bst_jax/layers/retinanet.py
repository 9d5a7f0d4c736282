"""What RetinaNet says of every anchor of a pyramid, and what is read from it.

Reference: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017,
  section 4.
"""
from collections.abc import Callable, Sequence
import functools
import math
from typing import Any

from bst_jax.elastic import Axis
from bst_jax.layers.convolution import Conv
from bst_jax.layers.detection import anchors, selection
from bst_jax.layers.group_norm import GroupNorm
from bst_jax.layers.linear import wide
from flax import linen as nn
import jax
import jax.numpy as jnp

# Sides in pixels of the square anchor of every level, as published.
SIZES = (32, 64, 128, 256, 512)
OCTAVES = 3  # Sizes of anchors between a level and the next.
_EACH = OCTAVES * len(anchors.RATIOS)  # Anchors of a place.
_PRIOR = 0.01  # Probability that an untrained network gives every class.
_INIT = nn.initializers.normal(0.01)


class Tower(nn.Module):
  """Convolutions over a level, the last of which says something of anchors.

  Attributes:
    inp: channels of the level, and of all convolutions but the last.
    out: what is said at a place.
    depth: convolutions before the last.
    groups: of a normalisation behind each; 0 for none.
    bias_init: of the last.
  """

  inp: Axis
  out: Axis
  depth: int = 4
  groups: int = 0
  dtype: Any = jnp.float32
  bias_init: Callable = nn.initializers.zeros

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """float[B, h, w, c] -> float[B, h, w, out]."""
    conv = functools.partial(Conv, self.inp, dtype=self.dtype, stride=1,
                             padding=1, kernel_init=_INIT)
    for i in range(self.depth):
      x = conv(self.inp, use_bias=not self.groups, name=f'conv_{i}')(x)
      if self.groups:
        x = GroupNorm(self.inp, self.groups, dtype=self.dtype,
                      name=f'norm_{i}')(x)
      x = nn.relu(x)
    return conv(self.out, bias_init=self.bias_init, name='out')(x)


class Head(nn.Module):
  """Classes and boxes of all anchors: the same two towers at every level.

  Attributes:
    inp: channels of the levels.
    num_answers: classes.
    depth, groups: see `Tower`.
  """

  inp: Axis
  num_answers: int
  depth: int = 4
  groups: int = 0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, levels: Sequence[jax.Array]
               ) -> tuple[list[jax.Array], list[jax.Array]]:
    """Logits float[B, A, C] and deltas float[B, A, 4] of every level's anchors.

    Args:
      levels: float[B, h, w, c] each; A is 9 h w, place by place.
    """
    tower = functools.partial(Tower, self.inp, depth=self.depth,
                              groups=self.groups, dtype=self.dtype)
    prior = nn.initializers.constant(-math.log(1 / _PRIOR - 1))
    classes = tower(Axis('answers', _EACH * self.num_answers),
                    bias_init=prior, name='classes')
    boxes = tower(Axis('score', 4 * _EACH), name='boxes')
    rows = lambda x, size: wide(x).reshape(x.shape[0], -1, size)
    return ([rows(classes(x), self.num_answers) for x in levels],
            [rows(boxes(x), 4) for x in levels])


def check(sizes: Sequence[int], levels: int) -> None:
  """Raises a ValueError where anchors are not of as many levels as there are."""
  if len(sizes) != levels:
    raise ValueError(
        f'anchor_sizes {tuple(sizes)} are of {len(sizes)} levels, but the pyramid '
        f'has {levels}; give a size for each.')


def anchors_of(shapes: Sequence[tuple[int, int]], strides: Sequence[int],
               sizes: Sequence[int] = SIZES) -> list[Any]:
  """Anchors float32[9 h w, 4] of every level, x1 y1 x2 y2 in pixels.

  Args:
    shapes: h and w of every level.
    strides: pixels of a cell of every level.
    sizes: see `SIZES`.

  Differs: strides are those of the network, as published; torchvision divides
    the sides of the canvas by those of a level, which is the same where every
    level has a whole number of cells.
  """
  octaves = [[int(size * 2 ** (i / OCTAVES)) for i in range(OCTAVES)]
             for size in sizes]
  return anchors.levels(shapes, strides, octaves)


def of_levels(owner: nn.Module, levels: Sequence[jax.Array],
              strides: Sequence[int], extent: jax.Array, train: bool
              ) -> dict[str, jax.Array]:
  """What a detector hands on, by name; call it in its compact method.

  Args:
    owner: the detector, with `num_answers`, `pyramid_width`, `depth`, `groups`,
      `anchor_sizes`, `detections`, `each` and `dtype`, see `models.retinanet`.
    levels: float[B, h, w, d] each, of the pyramid.
    strides: pixels of a cell of each.
    extent, train: see `outputs`, whose result this is.
  """
  logits, deltas = Head(
      Axis('pyramid', owner.pyramid_width), owner.num_answers, owner.depth,
      owner.groups, owner.dtype, name='head')(levels)
  first = anchors_of([level.shape[1:3] for level in levels], strides,
                     owner.anchor_sizes)
  return outputs(logits, deltas, first, extent, train, owner.detections,
                 owner.each)


def outputs(logits: Sequence[jax.Array], deltas: Sequence[jax.Array],
            first: Sequence[jax.Array], extent: jax.Array, train: bool,
            count: int = 100, each: int = 1000) -> dict[str, jax.Array]:
  """What a detector hands on, by name.

  Args:
    logits, deltas: float[B, A, C] and float[B, A, 4] of every level.
    first: anchors float[A, 4] of every level.
    extent: [B, 2], see `pixels.on_canvas`.
    train: no boxes are chosen.
    count: N, boxes of a picture at most.
    each: pairs of an anchor and a class of a level that are looked at.

  Returns:
    Of all levels anchors float[B, A, 4], classes float[B, A, C], logits, and
    deltas float[B, A, 4]; without `train` also boxes float[B, N, 4] in pixels,
    scores float[B, N], found int32[B, N] and valid bool[B, N], the surest
    first. A box has a score above 0.05, whatever is drawn of it later.
  """
  every = jnp.concatenate(first)
  rows = logits[0].shape[0]
  said = {'anchors': jnp.broadcast_to(every, (rows, *every.shape)),
          'classes': jnp.concatenate(logits, 1),
          'deltas': jnp.concatenate(deltas, 1)}
  if train:
    return said
  found = jax.vmap(lambda logits, deltas, extent: selection.by_class(
      logits, deltas, first, extent, count, each))(logits, deltas, extent)
  return said | {'boxes': found.boxes, 'scores': found.scores,
                 'found': found.classes, 'valid': found.valid}
