"""Smaller parameter trees: slices of a submodel, and what is cut by indices."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
import dataclasses
from typing import Any

from bst_jax.elastic.axes import Axis, base
from bst_jax.elastic.submodels import Order, Submodel


@dataclasses.dataclass(frozen=True)
class Slices:
  """Where every submodel's parameters lie in those of the full model.

  Trees may be parts of the whole: a parameter that is not there, as one that
  is frozen and kept elsewhere, is passed over.

  Attributes:
    axes: tree of axis-name tuples, from `names`.
    stacks: path of every layer stack (`a/b`) and its order. Layers are named
      `layer_{i}` and numbered anew.
  """

  axes: Any
  stacks: Mapping[str, Order]

  def cut(self, params: Any, sub: Submodel) -> Any:
    """Parameters of the ordinary smaller model that `sub` is.

    Args:
      params: nested dict of arrays, or of anything that can be sliced.
      sub: the part to keep.

    Returns:
      The smaller nested dict; arrays are prefix slices.
    """
    def walk(path, tree, axes):
      if not isinstance(tree, Mapping):
        return tree[_window(axes, tree.shape, sub)]
      return {new: walk((*path, old), tree[old], axes[old])
              for new, old in self._living(path, tree, sub)}

    return walk((), params, self.axes)

  def add_into(self, total: Any, part: Any, sub: Submodel) -> Any:
    """`total` plus `part`, which is shaped as by `cut`; the transpose of it.

    The sum lands in the slices that `sub` owns and the rest is passed on, so
    that the gradients of a small submodel cost a small sum.
    """
    def walk(path, total, part, axes):
      if not isinstance(total, Mapping):
        if part.shape == total.shape:
          return total + part
        return total.at[_window(axes, total.shape, sub)].add(part)
      new_of = {old: new for new, old in self._living(path, total, sub)}
      return {
          old: walk((*path, old), tree, part[new_of[old]], axes[old])
          if new_of.get(old) in part else tree for old, tree in total.items()}

    return walk((), total, part, self.axes)

  def _living(self, path: tuple[str, ...], tree: Mapping[str, Any],
              sub: Submodel) -> Iterator[tuple[str, str]]:
    """Pairs (new key, old key) of the children of a node that `sub` keeps."""
    order = self.stacks.get('/'.join(path))
    if order is None:
      return ((key, key) for key in tree)
    return ((f'layer_{new}', f'layer_{old}')
            for new, old in enumerate(sub.layers(order))
            if f'layer_{old}' in tree)


def _window(axes: tuple[str, ...], shape: tuple[int, ...],
            sub: Submodel) -> tuple[slice, ...]:
  return tuple(slice(sub.units(Axis(base(name), size)))
               for name, size in zip(axes, shape, strict=True))
