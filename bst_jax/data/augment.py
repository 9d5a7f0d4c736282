"""What training does to pictures and their classes: DeiT's recipe.

Reference: Touvron et al., "Training data-efficient image transformers &
  distillation through attention", ICML 2021, table 9; Cubuk et al.,
  "RandAugment", 2020; Zhang et al., "mixup", 2018; Yun et al., "CutMix", 2019;
  Zhong et al., "Random Erasing Data Augmentation", 2020.
Differs: pictures are mixed with their neighbour of the batch, each pair in its
  own way, so that a batch does not depend on the number of hosts; pixels stay
  bytes, so that mixed ones are rounded.
"""
from collections.abc import Mapping
import dataclasses
import math
from typing import Any

from bst_jax.data import rand_augment
from bst_jax.data.frame import Frame
from bst_jax.elastic import check_name, typed
import numpy as np
from PIL import Image

_MIX = 1  # Stream of random numbers of a pair, beside that of each picture.


@dataclasses.dataclass(frozen=True)
class Recipe:
  """Attributes, of which none does nothing:
    crop: smallest and largest share of the picture's area that is cut out, as
      (0.08, 1.0); None cuts nothing.
    ratio: smallest and largest width over height of the cut.
    flip: chance to mirror left and right.
    rand_augment: magnitude of RandAugment's two operations, 9 in DeiT.
    erase: chance that a rectangle is filled with noise, 0.25 in DeiT.
    mixup, cutmix: parameters of the beta distributions, 0.8 and 1 in DeiT;
      each pair is mixed in one of the two ways.
    smoothing: share of a label that all classes have, 0.1 in DeiT.
    repeats: how often a batch has each picture, 3 in DeiT.
  """

  crop: tuple[float, float] | None = None
  ratio: tuple[float, float] = (3 / 4, 4 / 3)
  flip: float = 0.0
  rand_augment: float = 0.0
  erase: float = 0.0
  mixup: float = 0.0
  cutmix: float = 0.0
  smoothing: float = 0.0
  repeats: int = 1

  @classmethod
  def of(cls, options: Mapping[str, Any] | None) -> 'Recipe':
    """The recipe of `config.data.augment`."""
    # A ConfigDict is no Mapping.
    if options and not hasattr(options, 'keys'):
      raise ValueError(f'config.data.augment is {options!r}; it is a dict, as '
                       'dict(flip=0.5), or None.')
    options = dict(options or {})
    for key in options:
      check_name(key, cls.__dataclass_fields__,
                 'option of config.data.augment')
    for key in ('crop', 'ratio'):
      if options.get(key) is None:
        continue
      pair = options[key]
      options[key] = pair = tuple(pair) if isinstance(
          pair, (tuple, list)) else (pair,)
      if len(pair) != 2 or not all(isinstance(x, (int, float)) for x in pair
                                   ) or not 0 < pair[0] <= pair[1]:
        raise ValueError(
            f'config.data.augment.{key} is {pair}; give the smallest and the '
            f'largest, as {(0.08, 1.0) if key == "crop" else (0.75, 1.33)}.')
    recipe = cls(**options)
    typed.check(recipe, 'config.data.augment')
    for key in ('rand_augment', 'mixup', 'cutmix'):
      if getattr(recipe, key) < 0:
        raise ValueError(f'config.data.augment.{key} is {getattr(recipe, key)};'
                         ' it is positive, or 0 for none.')
    for key in ('flip', 'erase', 'smoothing'):
      if not 0 <= getattr(recipe, key) <= 1:
        raise ValueError(f'config.data.augment.{key} is '
                         f'{getattr(recipe, key)}; it is a share, 0 to 1.')
    if recipe.crop and recipe.crop[1] > 1:
      raise ValueError(f'config.data.augment.crop is {recipe.crop}; there is no '
                       'more to cut out than the whole area, which is 1.')
    return recipe

  def check(self, batch: int, mine: int) -> None:
    """Raises where a batch of all hosts, or this one's, cannot be made so."""
    if self.repeats < 1 or batch % self.repeats:
      raise ValueError(
          f'A batch of {batch} was to have every picture {self.repeats} times; '
          'choose config.data.augment.repeats among the divisors of '
          'config.data.batch.')
    if self.mixes and mine % 2:
      raise ValueError(
          f'Pictures are mixed in pairs, but a host has {mine}; choose an even '
          'number for config.data.batch, over all hosts.')

  @property
  def mixes(self) -> bool:
    """Whether pictures are mixed."""
    return bool(self.mixup or self.cutmix)

  @property
  def labels(self) -> bool:
    """Whether labels become shares of classes."""
    return bool(self.mixes or self.smoothing)

  @property
  def pictures(self) -> bool:
    """Whether single pictures change."""
    return bool(self.crop or self.flip or self.rand_augment or self.erase)

  def __bool__(self) -> bool:
    return self.labels or self.pictures

  def picture(self, own: np.ndarray, size: tuple[int, int],
              rng: np.random.Generator, fit: str = 'crop') -> np.ndarray:
    """A training picture of uint8[h, w, 3], as uint8[H, W, 3].

    Without `crop` it comes to its size by `fit`, as in evaluation.
    """
    frame = self.frame(own.shape[:2], size, rng, fit)
    return self.changed(frame.draw(own), rng)

  def frame(self, own: tuple[int, int], size: tuple[int, int],
            rng: np.random.Generator, fit: str = 'crop',
            shorter: int = 0) -> Frame:
    """Draws how a picture of height and width `own` comes to its canvas."""
    cut = self._cut(*own, rng) if self.crop else None
    return Frame(tuple(own), tuple(size), fit, cut,
                 bool(rng.random() < self.flip), shorter)

  def changed(self, pixels: np.ndarray,
              rng: np.random.Generator) -> np.ndarray:
    """Draws what else becomes of a picture on its canvas uint8[H, W, 3].

    `rng` has drawn the frame before.
    """
    if self.rand_augment:
      pixels = np.array(rand_augment.apply(
          Image.fromarray(pixels), self.rand_augment, rng))
    if rng.random() < self.erase:
      self._erase(pixels, rng)
    return pixels

  def _cut(self, height, width, rng):
    """Left, top, right and bottom of a random part of the picture."""
    low, high = map(math.log, self.ratio)
    for _ in range(10):
      area = height * width * rng.uniform(*self.crop)
      ratio = math.exp(rng.uniform(low, high))
      w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
      if 0 < w <= width and 0 < h <= height:
        break
    else:  # The whole, less what its proportions have too much.
      w = min(width, round(height * self.ratio[1]))
      h = min(height, round(width / self.ratio[0]))
    left, top = rng.integers(width - w + 1), rng.integers(height - h + 1)
    return int(left), int(top), int(left + w), int(top + h)

  def _erase(self, pixels, rng):
    """Fills 2 to 33 % of the area with noise about ImageNet's colours."""
    height, width = pixels.shape[:2]
    for _ in range(10):
      area = height * width * rng.uniform(0.02, 1 / 3)
      ratio = math.exp(rng.uniform(math.log(0.3), math.log(1 / 0.3)))
      h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
      if 0 < w < width and 0 < h < height:
        top, left = rng.integers(height - h + 1), rng.integers(width - w + 1)
        noise = rng.normal((124, 116, 104), (58, 57, 57), (h, w, 3))
        pixels[top:top + h, left:left + w] = noise.clip(0, 255)
        return

  def soft(self, labels: np.ndarray, classes: int) -> np.ndarray:
    """float32[B, A] shares of int[B] classes, smoothed."""
    spread = np.full((len(labels), classes), self.smoothing / classes,
                     np.float32)
    spread[np.arange(len(labels)), labels] += 1 - self.smoothing
    return spread

  def mix(self, image: np.ndarray, label: np.ndarray,
          draws: list[tuple[int, ...]]) -> tuple[np.ndarray, np.ndarray]:
    """Mixes neighbours, each pair by mixup or by cutmix.

    Args:
      image: uint8[B, H, W, 3], B even.
      label: float32[B, A].
      draws: seeds, of which a pair takes that of its first picture.
    """
    if not self.mixes:
      return image, label
    image, label, old = image.copy(), label.copy(), (image, label)
    for i in range(0, len(image) - 1, 2):
      rng = np.random.default_rng((*draws[i], _MIX))
      pair, turned = slice(i, i + 2), [i + 1, i]
      cut = self.cutmix and (not self.mixup or rng.random() < 0.5)
      share = rng.beta(*2 * (self.cutmix if cut else self.mixup,))
      if cut:
        share = self._paste(image, old[0], i, share, rng)
      else:
        mixed = share * old[0][pair] + (1 - share) * old[0][turned].astype(
            np.float32)
        image[pair] = mixed.round()
      label[pair] = share * old[1][pair] + (1 - share) * old[1][turned]
    return image, label

  def _paste(self, image, old, i, share, rng):
    """Swaps a rectangle of two neighbours; returns the share that stays."""
    height, width = image.shape[1:3]
    side = math.sqrt(1 - share)
    y, x = rng.integers(height), rng.integers(width)
    top, bottom = (int(np.clip(y + s * side * height / 2, 0, height))
                   for s in (-1, 1))
    left, right = (int(np.clip(x + s * side * width / 2, 0, width))
                   for s in (-1, 1))
    image[i:i + 2, top:bottom, left:right] = old[
        [i + 1, i], top:bottom, left:right]
    return 1 - (bottom - top) * (right - left) / (height * width)
