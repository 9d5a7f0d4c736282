"""Multiply-accumulates of networks whose examples differ in tokens.

`costs` counts the program that runs, of static widths, whatever lives in them.
Here every example is charged for its own living tokens: the count that
published figures average over a validation set, and a lower bound of what runs.
"""
from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping, Sequence
import dataclasses
from fractions import Fraction
import functools
import re
from typing import Any

from bst_jax import elastic
from bst_jax.report import costs
import jax
import numpy as np

# Powers of the tokens before a layer and of those behind it, in all terms.
_POWERS = ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2))


@dataclasses.dataclass(frozen=True)
class TokenMacs:
  """A polynomial: multiply-accumulates from the tokens of sampling layers.

  Attributes:
    blocks: the layers that sample.
    slots: tokens that reach the first of them; tokens in front, as that of the
      class, are never counted.
    coefficients: those of `_POWERS` for the part of the network from one
      sampling layer up to the next. Its tokens are those before this layer and
      those behind it, so that only neighbours multiply.
  """

  blocks: tuple[int, ...]
  slots: int
  coefficients: tuple[tuple[int, ...], ...]

  def __call__(self, counts: Mapping[int, Any] | Sequence[Any] = ()) -> Any:
    """Multiply-accumulates of each example, by the tokens that live in it.

    A clip whose frames sample one by one costs the mean over its frames of what
    clips cost whose frames are all like this one: give arrays [..., T] and
    average the result.

    Args:
      counts: tokens behind each sampling layer, by number of the layer or in
        their order; numbers, or arrays of one shape.

    Returns:
      A number, or int64 of that shape.
    """
    behind = list(_by_layer(self.blocks, counts).values()) or [self.slots]
    total = 0
    for terms, before, after in zip(
        self.coefficients, [self.slots, *behind], behind):
      total = total + sum(
          c * before ** i * after ** j for c, (i, j) in zip(terms, _POWERS))
    return total if np.ndim(total) else int(total)


def fit(model: Any, example: Mapping[str, Any]) -> TokenMacs:
  """The polynomial of a model, exact, from a few abstract traces.

  A trace tells what every layer costs, so that a few token counts serve all
  layers at once: six traces for DeiT-S, and one more that is foretold. Neither
  grid points nor capacities of the model matter, and what was fitted is kept.

  Args:
    model: has `ats`, `slots` and layers named `layer_{i}`.
    example: a batch of one; its shapes alone matter.
  """
  # Lists, which JSON makes of tuples, cannot be hashed.
  fields = {field.name: _tuples(getattr(model, field.name))
            for field in dataclasses.fields(model)
            if isinstance(getattr(model, field.name, None), list)}
  ats = dataclasses.replace(model.ats, num_points=None, capacity=None)
  return _fit(model.clone(ats=ats, **fields), tuple(sorted(
      (name, leaf.shape, leaf.dtype) for name, leaf in example.items())))


def _tuples(value):
  return tuple(map(_tuples, value)) if isinstance(value, list) else value


@functools.lru_cache(maxsize=256)
def _fit(model, leaves):
  example = {name: jax.ShapeDtypeStruct(shape, dtype)
             for name, shape, dtype in leaves}
  # Sampling has no parameters.
  params = elastic.unbox(
      jax.eval_shape(model.init, jax.random.key(0), example)['params'])
  ats, slots = model.ats, model.slots

  def traced(chain, **how):
    """What each part of the network costs with such capacities."""
    sampled = model.clone(ats=dataclasses.replace(ats, capacity=chain, **how))
    return _by_part(costs.of(sampled, params, example), ats.blocks)

  equations = [[] for _ in ats.blocks or (0,)]
  chains = _informative(len(ats.blocks), slots)
  for chain in chains:
    for rows, row, macs in zip(
        equations, _rows(chain, slots),
        # The products are the same, and it is traced in less time.
        traced(chain, method='topk', grad='hard'), strict=True):
      rows.append([*row, macs])
  fitted = TokenMacs(ats.blocks, slots, tuple(map(_solved, equations)))
  # One that falls in another way: of steps that are all alike, products of
  # layers that are no neighbours would be foretold, too.
  chain = tuple(max(1, slots // (2 + i)) for i in range(len(ats.blocks)))
  assert chain in chains or fitted(chain) == sum(traced(chain)), (
      f'{type(model).__module__} is no polynomial of degree two in the tokens '
      'of neighbouring layers.')
  return fitted


def _by_layer(blocks: Sequence[int],
              counts: Mapping[int, Any] | Sequence[Any]) -> dict[int, Any]:
  """{layer that samples: tokens behind it}, in the order of the layers."""
  if not isinstance(counts, Mapping):
    counts = dict(zip(blocks, counts, strict=True))
  if set(counts) != set(blocks):
    raise ValueError(f'counts are of the layers {sorted(counts)}, but those '
                     f'that sample are {list(blocks)}; give one for each.')
  # Of 64 bits: the products of networks that are used do not fit into 32.
  return {block: np.asarray(counts[block], np.int64) for block in blocks}


def _by_part(counted: costs.Costs, blocks: Sequence[int]) -> list[int]:
  """Multiply-accumulates from each sampling layer up to the next.

  Layers before the first one have always the same tokens, and what is in no
  layer sees those behind the last one, if any: they count as parts of these.
  """
  macs = [0] * max(1, len(blocks))
  for (scope, kind), count in counted.counts.items():
    if kind != 'norm':
      layers = re.findall(r'layer_(\d+)', scope)
      part = bisect.bisect_right(blocks, int(layers[-1])) - 1 if layers else -1
      macs[max(0, part) if layers else -1] += count
  return macs


def _rows(chain: Sequence[int], slots: int) -> list[list[int]]:
  """Of every part the values of `_POWERS`, where tokens fall as in a chain."""
  return [[before ** i * behind ** j for i, j in _POWERS]
          for before, behind in zip([slots, *chain], [*chain] or [slots])]


def _informative(num: int, slots: int) -> list[tuple[int, ...]]:
  """Tokens behind `num` layers, never growing, that determine all parts.

  Chains first - i step are six points in general position for each pair of
  neighbours, whatever i: (0, 0) (1, 0) (2, 0) (0, 1) (1, 1) (0, 2) in (first,
  step). Where so few tokens are left that they reach the bottom, chains that
  fall once in one place add what is missing.
  """
  highest = range(slots, max(0, slots - 3), -1)
  stairs = [tuple(max(1, first - i * step) for i in range(num))
            for step in range(3) for first in highest]
  falls = [place * (high,) + (num - place) * (low,) for place in range(num)
           for high in highest for low in highest if low < high]
  rows, chosen = [[] for _ in range(max(1, num))], []
  for chain in dict.fromkeys(stairs + falls):
    more = [[*known, row] for known, row in zip(rows, _rows(chain, slots))]
    if any(len(_echelon(new)) > len(known) for new, known in zip(more, rows)):
      chosen.append(chain)
      rows = [new if len(_echelon(new)) > len(known) else known
              for new, known in zip(more, rows)]
  return chosen


def _solved(equations: Iterable[Sequence[int]]) -> tuple[int, ...]:
  """Coefficients of `_POWERS` from [their values..., the sum]; exact."""
  echelon = _echelon(equations)
  solution = [echelon[i][-1] if i in echelon else Fraction(0)
              for i in range(len(_POWERS))]
  assert all(x.denominator == 1 for x in solution), solution
  return tuple(map(int, solution))


def _echelon(rows: Iterable[Sequence[int]]) -> dict[int, list[Fraction]]:
  """The rows in reduced echelon form, by their leading column.

  Raises:
    AssertionError: what stands behind `_POWERS` contradicts itself.
  """
  reduced = {}
  for row in rows:
    row = [Fraction(x) for x in row]
    for column, other in reduced.items():
      row = _minus(row, row[column], other)
    column = next((i for i in range(len(_POWERS)) if row[i]), None)
    if column is None:
      assert not any(row), 'the counts of traces contradict each other.'
      continue
    row = [x / row[column] for x in row]
    reduced = {c: _minus(other, other[column], row)
             for c, other in reduced.items()} | {column: row}
  return reduced


def _minus(row, times, other):
  return [x - times * y for x, y in zip(row, other)]
