"""What of every layer was kept, as a picture."""
from collections.abc import Mapping
import pathlib
from typing import Any

from bst_jax import elastic
from bst_jax.elastic import base, Choice, in_order
from bst_jax.host import files
import numpy as np


def draw(choice: Choice, shapes: Any, axes: Any, path: pathlib.Path,
         title: str) -> None:
  """Draws the shares that are kept of every set, and of every head.

  Args:
    choice: what is kept.
    shapes: of the whole model's parameters.
    axes: tree of tuples of their full axis names.
    path: of the picture, replaced whole.
    title: above it.
  """
  from matplotlib.figure import Figure  # Slow, and only pictures need it.

  kinds: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
  found = kept(choice, shapes, axes)
  for name in sorted(found, key=in_order):
    kinds.setdefault(base(name), {})[name.partition('@')[2] or 'model'] = (
        found[name])
  tall = max(map(len, kinds.values()))
  figure = Figure(figsize=(4.2 * len(kinds), 1.4 + 0.28 * tall),
                  layout='constrained')
  for panel, (kind, sets) in zip(
      np.atleast_1d(figure.subplots(1, len(kinds))), kinds.items()):
    _panel(panel, kind, sets)
  figure.suptitle(title, fontsize=10)
  with files.beside(path) as place:
    figure.savefig(place, dpi=120, format='png')


def kept(choice: Choice, shapes: Any, axes: Any
         ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
  """Channels that are kept, and that there were, int[n], by full axis name.

  Of `heads@…` there is a number for each of the old heads, of others one.

  Args:
    choice, shapes, axes: as of `draw`.
  """
  flat, found = elastic.flatten(shapes), {}
  for name, ((leaf, dim), *_) in elastic.groups(axes).items():
    shape, rows = flat[leaf].shape, choice.keep.get(name)
    parts, size = ((shape[dim], shape[dim + 1]) if base(name) == 'heads'
                   else (1, shape[dim]))
    left = np.full(parts, size)
    if rows is not None:
      places = np.concatenate([np.atleast_1d(row) for row in rows])
      left = np.bincount(places // size, minlength=parts)
    found[name] = left, np.full(parts, size)
  return found


def _panel(panel, kind, sets: Mapping[str, tuple]):
  """Of one kind: a row a layer, a cell a head or a bar a set."""
  panel.set_title(kind, fontsize=9)
  panel.set_yticks(range(len(sets)), sets, fontsize=6)
  panel.invert_yaxis()
  parts = {len(left) for left, _ in sets.values()}
  if parts == {1}:
    shares = [100 * left.sum() / there.sum() for left, there in sets.values()]
    panel.barh(range(len(sets)), shares)
    for row, (share, (left, there)) in enumerate(zip(shares, sets.values())):
      panel.annotate(f'{left.sum():,} of {there.sum():,}', (share, row), (-3, 0),
                     textcoords='offset points', ha='right', va='center',
                     fontsize=6, color='white')
    panel.set(xlim=(0, 100), xlabel='% of channels kept')
    return
  table = np.full((len(sets), max(parts)), np.nan)
  for row, (left, there) in zip(table, sets.values()):
    row[:len(left)] = 100 * left / there
  image = panel.imshow(table, aspect='auto', vmin=0, vmax=100, cmap='viridis')
  panel.set(xlabel='head, as it was')
  panel.figure.colorbar(image, ax=panel, label='% of its channels kept')
