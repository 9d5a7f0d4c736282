"""TEE: a small detector that makes the regions which other models read.

Reference: Wang et al., "MiniVLM: A Smaller and Faster Vision-Language Model",
  arXiv 2012.06946, section 3.1, and the first author's released detector; Ren et
  al., "Faster R-CNN", NeurIPS 2015.
Differs: a batch has one canvas, a picture a fixed number of proposals and regions,
  of which some may be none; as many proposals a picture as a step can learn from.
"""
from collections.abc import Mapping, Sequence
import functools
from typing import Any

from bst_jax.elastic import Axis, check_name, FULL, Submodel
from bst_jax.layers import batch_norm, efficientnet, pixels
from bst_jax.layers.backbone import Fixed
from bst_jax.layers.bifpn import BiFpn, LEVELS
from bst_jax.layers.convolution import Conv
from bst_jax.layers.detection import (
  anchors,
  assignment,
  boxes,
  proposals,
  roi_align,
  sampling,
  selection,
)
from bst_jax.layers.dropout import keys_of_rows, seed_of
from bst_jax.layers.efficientnet import Plan, Trunk
from bst_jax.layers.linear import Dense, Embed, wide
from flax import linen as nn
import jax
import jax.numpy as jnp

_STAGES = {2: (1, 2, 4, 6), 3: (2, 4, 6)}  # Taps of a pyramid by its start.
_BOX = 8  # Numbers that a proposal's box is told by; the last four count.
_POOLED = 4  # Levels that proposals are looked up on.
_NORMAL = nn.initializers.normal
# Trunk, channels of the pyramid, cells, and longest side of a picture.
SIZES = {'tee0': ('b0', 64, 3, 512), 'tee1': ('b1', 88, 4, 640),
         'tee2': ('b2', 112, 5, 768), 'tee3': ('b3', 160, 6, 896),
         'tee4': ('b4', 224, 7, 1024), 'tee5': ('b5', 288, 7, 1280)}


def sizes(name: str) -> dict[str, Any]:
  """Arguments of a published detector, `tee0` to `tee5`."""
  check_name(name, SIZES, 'size of TEE')
  trunk, pyramid, cells, side = SIZES[name]
  found = efficientnet.sizes(trunk)
  return dict(image_size=side, pyramid=pyramid, cells=cells) | {
      ours: found[theirs] for ours, theirs in (
          ('stem', 'stem'), ('stages', 'width'), ('layers', 'num_layers'))
      if theirs in found}


class Model(Fixed):
  """Regions of a picture: boxes, classes, attributes and features.

  Attributes:
    num_answers: classes, without the background.
    num_attributes: of all classes; 0 for no head of attributes.
    groups: of every class the group whose embedding the head of attributes
      reads; () for one each.
    image_size: height and width of the canvas, multiples of 32.
    stem, stages, layers: of the trunk, see `layers.efficientnet.Plan`.
    pyramid, cells, style: of the `BiFpn`.
    start: 2 for a pyramid of strides from 4 on, 3 for one from 8 on.
    anchor_sizes: sides of the square anchor of every level, in pixels.
    anchor_style: of `anchors.STYLES`.
    hidden: features of a region.
    pool: bins along a side of a proposal.
    each: anchors of a level that are looked at, in training and evaluation.
    proposals: of a picture, in training and evaluation.
    rois: proposals of a picture that training learns from.
    regions: of a picture in evaluation.
    threshold, least: see `selection.regions`.
    batch_stats: what training normalises by, see `batch_norm.of`.
    depth_dropout: of the trunk.
    mean, std: that uint8 pictures are brought to.
  """

  num_answers: int
  num_attributes: int = 0
  groups: tuple[int, ...] = ()
  image_size: int | tuple[int, int] = 512
  stem: int = efficientnet.STEM
  stages: tuple[int, ...] = efficientnet.WIDTH
  layers: tuple[int, ...] = efficientnet.NUM_LAYERS
  pyramid: int = 64
  cells: int = 3
  style: str = 'tee'
  start: int = 2
  anchor_sizes: tuple[int, ...] = (32, 64, 128, 256, 512)
  anchor_style: str = 'torchvision'
  hidden: int = 1024
  pool: int = 4
  each: tuple[int, int] = (2000, 1000)
  proposals: tuple[int, int] = (1000, 300)
  rois: int = 512
  regions: int = 50
  threshold: float = 0.2
  least: int = 10
  batch_stats: str | None = 'stored'
  depth_dropout: float = 0.2
  mean: tuple[float, ...] = pixels.MEAN
  std: tuple[float, ...] = pixels.STD
  dtype: Any = jnp.float32
  remat: bool = False

  def __post_init__(self):
    if self.start not in _STAGES:
      raise ValueError(f'start {self.start} is no start of a pyramid; 2 is for '
                       'one of strides from 4 on, 3 for one from 8 on.')
    check_name(self.anchor_style, anchors.STYLES, 'style of anchors')
    if len(self.anchor_sizes) != LEVELS:
      raise ValueError(f'anchor_sizes {self.anchor_sizes} are '
                       f'{len(self.anchor_sizes)}; the pyramid has {LEVELS} '
                       'levels, so give as many.')
    if self.groups and len(self.groups) != self.num_answers:
      raise ValueError(
          f'groups are of {len(self.groups)} classes, but there are '
          f'{self.num_answers}; give a group for each, or ().')
    height, width = pixels.sides(self.image_size)
    if height % pixels.CELL or width % pixels.CELL:
      raise ValueError(
          f'pictures of {height} x {width} pixels do not split into the cells of '
          f'the trunk; sides that fit are multiples of {pixels.CELL}.')
    super().__post_init__()

  @property
  def strides(self) -> tuple[int, ...]:
    """Pixels of a cell of every level."""
    return tuple(2 ** (self.start + i) for i in range(LEVELS))

  @nn.compact
  def __call__(self, batch: dict[str, jax.Array], *, sub: Submodel = FULL,
               train: bool = False) -> dict[str, jax.Array]:
    """What there is in pictures.

    Args:
      batch: image uint8[B, H, W, 3], or float, which is taken to have the
        model's mean and deviation already; extent int32[B, 2], height and width
        of what of a canvas is picture, all of it if left out. In training the
        canvas may have other sides, multiples of 32, and a sample of the proposals
        is taken by object_boxes float[B, M, 4], shares of the canvas,
        object_classes int32[B, M], object_mask bool[B, M] and, if there are any,
        object_crowd bool[B, M], regions of many objects, in which nothing is
        background.
      sub: the whole.
      train: samples proposals and drops layers, which needs an rng named
        'dropout'.

    Returns:
      Of the A anchors of all levels anchors float[B, A, 4], in pixels,
      objectness float[B, A] and anchor_deltas float[B, A, 4]; of R proposals
      rois float[B, R, 4], roi_mask bool[B, R], classes float[B, R, 1 + C],
      background first, roi_deltas float[B, R, 4], attributes float[B, R, T] if
      there are any. In evaluation also of N regions, the surest first: boxes
      float[B, N, 4], in pixels, scores float[B, N], found int32[B, N], valid
      bool[B, N], features float[B, N, hidden] of the proposal and geometry
      float[B, N, 6] of the box.
    """
    check_name('image', batch, 'key of the batch')
    seed = seed_of(self.make_rng('dropout')) if train else None
    image, extent = pixels.on_canvas(batch, self.sides, self.mean, self.std,
                                     pixels.CELL if train else 0)
    levels = self._pyramid(image.astype(self.dtype), seed, train)
    first = self._anchors(levels)
    objectness, deltas = self._said_of_anchors(levels)
    propose = functools.partial(
        proposals.of_levels, each=self.each[not train],
        count=self.proposals[not train])
    rois, _, mask = jax.vmap(lambda logits, said, extent: propose(
        logits, said, first, extent))(objectness, deltas, extent)
    matched = None
    if train and 'object_boxes' in batch:
      rois, mask, matched = self._sampled(rois, mask, batch, image.shape[1:3])
    features = self._features(levels, rois)
    axis = Axis('region', self.hidden)
    part = lambda name, out, std: Dense(
        (axis,), (out,), _NORMAL(std), nn.initializers.zeros, self.dtype,
        name=name)(features)
    classes = wide(part('classes', Axis('answers', 1 + self.num_answers), 0.01))
    moved = wide(part('boxes', Axis('score', _BOX), 0.001))[..., _BOX // 2:]
    every = jnp.concatenate(first)
    found = {
        'anchors': jnp.broadcast_to(every, (image.shape[0], *every.shape)),
        'objectness': wide(jnp.concatenate(objectness, 1)),
        'anchor_deltas': wide(jnp.concatenate(deltas, 1)), 'rois': rois,
        'roi_mask': mask, 'classes': classes, 'roi_deltas': moved}
    if self.num_attributes:
      told = classes[..., 1:].argmax(-1) if matched is None else (
          jnp.take_along_axis(batch['object_classes'],
                              jnp.maximum(matched, 0), 1))
      found['attributes'] = wide(self._attributes(features, axis, told))
    if not train:
      found |= self._regions(found, features, extent)
    return found

  def _pyramid(self, x, seed, train):
    """float[B, h, w, d] of five levels."""
    trunk = Trunk(Plan(
        self.stem, self.stages, self.layers, batch_stats=self.batch_stats,
        depth_dropout=self.depth_dropout), _STAGES[self.start], self.dtype,
                  self.remat, name='trunk')
    norm = functools.partial(
        batch_norm.of(self.batch_stats), eps=1e-3, momentum=0.01)
    return BiFpn(trunk.channels, self.pyramid, self.cells, self.style,
                 batch_norm=norm, dtype=self.dtype, name='bifpn')(
                     trunk(x, seed=seed), train)

  def _anchors(self, levels):
    """float32[A, 4] of every level."""
    return anchors.levels([level.shape[1:3] for level in levels], self.strides,
                          self.anchor_sizes, style=self.anchor_style)

  def _said_of_anchors(self, levels):
    """Logits float[B, A] and deltas float[B, A, 4] of every level."""
    count, axis = len(anchors.RATIOS), Axis('pyramid', self.pyramid)
    make = lambda name, outputs: Conv(
        axis, Axis('score', outputs), self.dtype, 1, 1, 0,
        kernel_init=_NORMAL(0.01), name=name)
    objectness, deltas = make('objectness', count), make('deltas', 4 * count)
    rows = levels[0].shape[0]
    return ([objectness(level).reshape(rows, -1) for level in levels],
            [deltas(level).reshape(rows, -1, 4) for level in levels])

  def _sampled(self, rois, mask, batch, sides):
    """Proposals to learn from, with the objects' own boxes among them."""
    for key in ('object_classes', 'object_mask'):
      check_name(key, batch, 'key of the batch')
    objects, there = in_pixels(batch, sides), batch['object_mask']
    keys = keys_of_rows(self.make_rng('dropout'), rois.shape[0])
    crowds = batch.get('object_crowd', jnp.zeros(there.shape, bool))

    def of_picture(rois, mask, objects, there, crowds, key):
      rois = jnp.concatenate([objects, rois])
      found = assignment.without_crowds(
          assignment.matched(boxes.iou(rois, objects), there, 0.5, 0.5), rois,
          objects, crowds)
      found = jnp.where(jnp.concatenate([there, mask]), found,
                        assignment.IGNORED)
      some, rest = sampling.chosen(found, key, self.rois, 0.25)
      place, mask = sampling.slots(some | rest, self.rois)
      return rois[place], mask, jnp.where(mask, found[place],
                                          assignment.IGNORED)

    return jax.tree.map(jax.lax.stop_gradient, jax.vmap(of_picture)(
        rois, mask, objects, there, crowds, keys))

  def _features(self, levels, rois):
    """float[B, R, hidden] of proposals."""
    pooled = jax.vmap(lambda levels, rois: roi_align.pooled(
        levels, rois, self.strides[:_POOLED], self.pool))(
            levels[:_POOLED], rois)                         # [B, R, p, p, d]
    side, channels = Axis('window', self.pool), Axis('pyramid', self.pyramid)
    hidden = Axis('region', self.hidden)
    init = dict(kernel_init=nn.initializers.variance_scaling(
        1 / 3, 'fan_in', 'uniform'), bias_init=nn.initializers.zeros,
                dtype=self.dtype)
    x = nn.relu(Dense((side, side, channels), (hidden,), **init, name='fc6')(
        pooled))
    return nn.relu(Dense((hidden,), (hidden,), **init, name='fc7')(x))

  def _attributes(self, features, axis, told):
    """Logits float[B, R, T] from features and classes int[B, R]."""
    groups = self.groups or range(self.num_answers)
    kinds, between = Axis('feat', 256), Axis('region', 512, 'attributes')
    table = Embed(Axis('vocab', max(groups) + 1), kinds, init=_NORMAL(1.0),
                  name='class_embedding')
    x = jnp.concatenate([features, table(jnp.array(groups)[told]).astype(
        features.dtype)], -1)
    joined = Axis('feat', axis.size + kinds.size, 'attributes')
    x = nn.relu(Dense((joined,), (between,), _NORMAL(0.01),
                      nn.initializers.zeros, self.dtype, name='attribute_fc')(x))
    return Dense((between,), (Axis('attributes', self.num_attributes),),
                 _NORMAL(0.01), nn.initializers.zeros, self.dtype,
                 name='attributes')(x)

  def _regions(self, said, features, extent):
    """The surest regions of every picture."""
    select = functools.partial(
        selection.regions, count=self.regions, threshold=self.threshold,
        least=self.least)
    found = jax.vmap(select)(said['rois'], said['roi_mask'], said['classes'],
                             said['roi_deltas'], extent)
    features = jnp.take_along_axis(features, found.place[..., None], 1)
    shown = found.valid[..., None]
    return {'boxes': found.boxes, 'scores': found.scores, 'found': found.classes,
            'valid': found.valid,
            'features': wide(jnp.where(shown, features, 0)),
            'geometry': jnp.where(shown, jax.vmap(selection.geometry)(
                found.boxes, extent), 0)}


def in_pixels(batch: Mapping[str, jax.Array],
              sides: Sequence[int]) -> jax.Array:
  """float[B, M, 4], the objects of a batch in pixels of a canvas.

  Args:
    batch: its `object_boxes` are shares of the canvas.
    sides: height and width of the canvas.
  """
  return batch['object_boxes'] * jnp.array([sides[1], sides[0]] * 2, jnp.float32)
