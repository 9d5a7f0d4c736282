"""Widths that fill the lanes of a TPU, and those that do not."""
from collections.abc import Mapping
from typing import Any

from bst_jax import elastic
from bst_jax.elastic import Axis
from bst_jax.run.experiment import Experiment

LANES = 128
# Axes that a product runs along. Heads lie beside each other with theirs.
_WIDTHS = ('embed', 'mlp', 'pool', 'fused', 'adapter', 'reduced', 'feat', 'word', 'recurrent', 'answers')


def misfits(exp: Experiment) -> list[dict[str, Any]]:
  """Widths that are no multiple of the lanes, by axis and size.

  Returns:
    `axis`, `size`, the `submodels` that have it, and the share of the lanes
    that are `idle` along it.
  """
  by_axis = {}
  for sub in exp.space:
    for name, size in sorted(_widths(exp, sub)):
      if size % LANES:
        by_axis.setdefault((name, size), []).append(str(sub))
  return [{'axis': name, 'size': size, 'submodels': subs,
           'idle': 1 - size / (-(-size // LANES) * LANES)}
          for (name, size), subs in by_axis.items()]


def _widths(exp, sub):
  widths = set()
  shapes, axes = elastic.flatten(exp.shapes), elastic.flatten(exp.axes)
  for path, leaf in shapes.items():
    names = [elastic.base(name) for name in axes[path]]
    sizes = {name: sub.units(Axis(name, size))
             for name, size in zip(names, leaf.shape)}
    if {'heads', 'head_dim'} <= sizes.keys():
      widths.add(('heads x head_dim', sizes['heads'] * sizes['head_dim']))
    widths.update((name, size) for name, size in sizes.items()
                  if name in _WIDTHS)
  return widths


def warning(misfit: Mapping[str, Any], of: int) -> str:
  """A line about one of them; `of` is the number of all submodels."""
  subs = misfit['submodels']
  where = 'in all submodels' if len(subs) == of else f'in {", ".join(subs)}'
  return (f'width {misfit["size"]} of {misfit["axis"]!r} {where} is no '
          f'multiple of the {LANES} lanes: {misfit["idle"]:.0%} of them idle '
          'along it')
