"""Sizes that differ from layer to layer: channels of many sets in one ranking.

Reference: for rankings among alike sets alone, Fang et al., "Isomorphic Pruning
  for Vision Models", ECCV 2024.
"""
from collections.abc import Mapping
import math
from typing import Any

from bst_jax import elastic
from bst_jax.elastic import base
from bst_jax.pruning.scores import Scores
import numpy as np

# Who competes with whom.
MODES = {
    'uniform': 'every set keeps the same share',
    'isomorphic': 'channels of alike sets, as all feed-forward parts, compete',
    'global': 'all channels compete',
}


def sizes(scores: Scores, shapes: Any, axes: Any, share: float, mode: str,
          multiple: int = 1, rule: str = 'per_head'
          ) -> tuple[dict[str, Any], list[str]]:
  """Sizes of all sets, as `select.choice` takes them, of a ranking.

  With a smaller share no set is larger.

  Args:
    scores: of all sets.
    shapes: of the model's parameters.
    axes: tree of tuples of their full axis names.
    share: of the channels that compete with one another, in [0, 1], so many
      stay; at 0 every set is as small as it can be.
    mode: isomorphic or global.
    multiple: sizes are rounded up to it; of heads with rule per_head it is
      those of their channels.
    rule: of heads, per_head or heads.

  Returns:
    The sizes; full names of the sets that are left more than their rank, as
    nothing smaller is possible.
  """
  if rule == 'segment':
    raise ValueError(
        f'mode {mode} ranks the channels of heads, and rule segment makes '
        'others of them; take rule per_head or heads.')
  units = {name: _units(scores.channels[name], *there, multiple, rule)
           for name, there in _there(shapes, axes).items()}
  rivals: dict[Any, list[str]] = {}
  for name, (values, _) in units.items():
    alike = (base(name), values.size) if mode == 'isomorphic' else ''
    rivals.setdefault(alike, []).append(name)
  found, floors = {}, []
  for names in rivals.values():
    ranked = np.sort(np.concatenate([units[name][0] for name in names]))
    out = round((1 - share) * ranked.size)
    least = ranked[out] if out < ranked.size else math.inf
    for name in names:
      values, size_of = units[name]
      left = int((values >= least).sum())
      found[name], floored = size_of(left)
      floors += [name] if floored else []
  return {name: found[name] for name in units}, floors


def _there(shapes, axes):
  """(channels, None) of every set; of heads these and the channels of each."""
  flat, found = elastic.flatten(shapes), {}
  for name, ((path, dim), *_) in elastic.groups(axes).items():
    shape = flat[path].shape
    found[name] = shape[dim], shape[dim + 1] if base(name) == 'heads' else None
  return found


def _units(values, count, width, multiple, rule):
  """Scores of what is removed as one, and from how many are left to a size.

  That is a function n -> (size, whether it is more than n for want of less).
  """
  if width is None:
    whole = lambda n: (_rounded(n, count, multiple), n < min(multiple, count))
    return values, whole
  heads = values.reshape(count, width)
  if rule == 'heads':
    # The mean of a head's channels stands beside other sets' channels.
    return heads.mean(1), lambda n: ((max(n, 1), width), n < 1)

  def narrowed(n):
    each = math.ceil(n / count)
    return (count, _rounded(each, width, multiple)), each < min(multiple, width)

  return values, narrowed


def _rounded(wanted, size, multiple):
  """At least `wanted` and one, a multiple where one fits, at most `size`."""
  return min(size, max(1, math.ceil(wanted / multiple)) * multiple)


def told(floors: list[str], sizes: Mapping[str, Any]) -> str:
  """A sentence about the sets that could not be made as small as their rank."""
  names = ', '.join(f'{name} ({sizes[name]})' for name in floors[:6])
  more = f' and {len(floors) - 6} more' if len(floors) > 6 else ''
  return f'As small as they can be, though their rank was lower: {names}{more}.'
