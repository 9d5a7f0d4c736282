"""Submodels, the orders in which layers go, and spaces of submodels.

Reference: BST, arXiv 2203.12814 (widths, depths, triangle filter).
"""
from __future__ import annotations

import dataclasses
from fractions import Fraction
import functools
import math
import random
from typing import Any

from bst_jax.elastic.axes import Axis, ELASTIC
from bst_jax.elastic.lookup import check_name


def _fraction(value: Any, what: str) -> Fraction:
  try:
    ratio = Fraction(str(value))
  except (ValueError, ZeroDivisionError):
    raise ValueError(
        f'{what} {value!r} is not a ratio; write it as 1/2 or 1.') from None
  if not 0 < ratio <= 1:
    raise ValueError(f'{what} {value} is outside (0, 1]; 1 is the full model.')
  return ratio


@dataclasses.dataclass(frozen=True, order=True)
class Submodel:
  """A part of a model: a ratio of its width and a ratio of its depth."""

  width: Fraction = Fraction(1)
  depth: Fraction = Fraction(1)

  def __post_init__(self):
    object.__setattr__(self, 'width', _fraction(self.width, 'width'))
    object.__setattr__(self, 'depth', _fraction(self.depth, 'depth'))

  @classmethod
  def parse(cls, text: str | Submodel) -> Submodel:
    """Reads the text form `1/2x1/3` or the path form `w1-2_d1-3`."""
    if isinstance(text, Submodel):
      return text
    if not isinstance(text, str):
      raise ValueError(
          f'submodel {text!r} is no text of WIDTHxDEPTH; write it as 1/2x1/3.')
    plain = text.replace('-', '/').replace('_d', 'x').removeprefix('w')
    width, cross, depth = plain.partition('x')
    if not cross:
      raise ValueError(
          f'submodel {text!r} is not WIDTHxDEPTH; write it as 1/2x1/3.')
    return cls(width, depth)

  def __str__(self) -> str:
    return f'{self.width}x{self.depth}'

  @property
  def path(self) -> str:
    """The form for file names and metric keys: `w1-2_d1-3`."""
    return f'w{self.width}_d{self.depth}'.replace('/', '-')

  def units(self, axis: Axis) -> int:
    """Number of units of `axis` that this submodel keeps."""
    if axis.name not in ELASTIC:
      return axis.size
    return _whole(self.width, axis.size, 'width', f"'{axis.full}' units")

  def count(self, num_layers: int) -> int:
    """Number of layers that this submodel keeps of a stack."""
    return _whole(self.depth, num_layers, 'depth', 'layers')

  def layers(self, order: Order) -> tuple[int, ...]:
    """Indices of the layers of a stack that this submodel runs, ascending."""
    return order.keep(self.count(order.num_layers))


FULL = Submodel()


def _whole(ratio: Fraction, size: int, what: str, units: str) -> int:
  kept = ratio * size
  if kept.denominator != 1:
    # Ratios with a small denominator are what people mean; all of them would
    # be hundreds.
    parts = [n for n in range(1, 13) if size % n == 0]
    fits = sorted({Fraction(k, n) for n in parts for k in range(1, n + 1)})
    raise ValueError(
        f'{what} {ratio} keeps {float(kept):g} of the {size} {units}; a '
        f'submodel keeps whole ones. Ratios that fit: '
        f'{", ".join(map(str, fits))}.')
  return int(kept)


STRATEGIES = ('middle', 'keep_first', 'keep_last', 'uniform', 'random')


@dataclasses.dataclass(frozen=True)
class Order:
  """Which layers of a stack live on when only some of them are kept.

  Attributes:
    num_layers: layers of the full stack.
    strategy: `middle` drops the middle layers first (the published rule),
      `keep_first` and `keep_last` keep one end, `uniform` spreads the kept
      layers evenly, `random` draws one fixed priority list from `seed`.
    tie: the end that a single kept layer comes from, `first` (encoders) or
      `last` (decoders). Only `middle` and `uniform` have such a tie.
    seed: of the `random` strategy.

  Reference: BST, the depth-slimming rule; its released code swaps the first
    two of the decoder's priority list, which is `tie='last'`.
  """

  num_layers: int
  strategy: str = 'middle'
  tie: str = 'first'
  seed: int = 0

  def __post_init__(self):
    check_name(self.strategy, STRATEGIES, 'depth strategy')
    check_name(self.tie, ('first', 'last'), 'tie-break')

  @property
  def priority(self) -> tuple[int, ...]:
    """Layers from the most to the least important; `uniform` has no such."""
    every = range(self.num_layers)
    if self.strategy == 'keep_first':
      return tuple(every)
    if self.strategy == 'keep_last':
      return tuple(reversed(every))
    if self.strategy == 'random':
      return tuple(random.Random(self.seed).sample(every, self.num_layers))
    if self.strategy == 'uniform':
      raise ValueError('strategy uniform has no priority list: the layers that '
                       'it keeps are not nested; ask keep(count).')
    ends = [(i, self.num_layers - 1 - i) for i in every]
    both = list(dict.fromkeys(i for pair in ends for i in pair))
    if self.tie == 'last':
      both[:2] = reversed(both[:2])
    return tuple(both)

  def keep(self, count: int) -> tuple[int, ...]:
    """Indices of the `count` layers that live, ascending."""
    if self.strategy != 'uniform':
      return tuple(sorted(self.priority[:count]))
    if count == 1:
      return (0 if self.tie == 'first' else self.num_layers - 1,)
    step = Fraction(self.num_layers - 1, count - 1)
    return tuple(math.floor(i * step + Fraction(1, 2)) for i in range(count))


@dataclasses.dataclass(frozen=True)
class Space:
  """The submodels that one training yields.

  Attributes:
    widths: ratios of the width, in any order.
    depths: ratios of the depth, in any order.
    filter: `triangle` leaves out submodels that are relatively wider than they
      are deep; `none` keeps every pair.
    strategy: which layers a depth keeps, see `Order`.
    seed: of the `random` strategy.
  """

  widths: tuple[Fraction, ...] = (Fraction(1),)
  depths: tuple[Fraction, ...] = (Fraction(1),)
  filter: str = 'triangle'
  strategy: str = 'middle'
  seed: int = 0

  def __post_init__(self):
    for what in ('widths', 'depths'):
      ratios = {_fraction(r, what[:-1]) for r in getattr(self, what)}
      if Fraction(1) not in ratios:
        raise ValueError(f'{what} {getattr(self, what)} leave out 1: a space '
                         'contains the full model. Add 1.')
      object.__setattr__(self, what, tuple(sorted(ratios)))
    check_name(self.filter, ('triangle', 'none'), 'filter')
    check_name(self.strategy, STRATEGIES, 'depth strategy')

  @functools.cached_property
  def submodels(self) -> tuple[Submodel, ...]:
    """All submodels by width, then depth: the smallest first, full last."""
    top_width, top_depth = len(self.widths) - 1, len(self.depths) - 1
    return tuple(
        Submodel(width, depth)
        for i, width in enumerate(self.widths)
        for j, depth in enumerate(self.depths)
        if self.filter == 'none' or i * top_depth <= j * top_width)

  def __iter__(self):
    return iter(self.submodels)

  def __len__(self) -> int:
    return len(self.submodels)

  def order(self, num_layers: int, tie: str = 'first') -> Order:
    """The layer order of a stack under this space's strategy."""
    return Order(num_layers, self.strategy, tie, self.seed)
