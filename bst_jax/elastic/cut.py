"""Smaller parameter trees: slices of a submodel, and what a choice cuts out."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
import dataclasses
import math
from typing import Any

from bst_jax.elastic.axes import Axis, base, flatten
from bst_jax.elastic.choice import candidates, check, Choice, LAYER, SKIP
from bst_jax.elastic.submodels import FULL, Order, Submodel
import jax
import jax.numpy as jnp


def cut(params: Any, axes: Any, choice: Choice,
        stacks: Mapping[str, Order]) -> Any:
  """Parameters of the ordinary smaller model that `choice` is.

  Channels first, then skipped layers, layers, depth and width; all of it is in
  the numbers of the model that is cut. Where the number of a head's channels
  changes from d to d', what asks is multiplied by sqrt(d' / d): the smaller
  model divides the scores by sqrt(d'), so that removing channels that are zero
  changes none of them.

  Args:
    params: nested dict of arrays, or a part of it.
    axes: tree of tuples of full axis names, from `names`.
    choice: its indices may be traced.
    stacks: path and order of every stack.

  Raises:
    ValueError: the parameters have no such choice.
  """
  check(choice, params, axes, stacks)
  living, dead = choice.living(stacks), _dead(choice, axes, stacks)
  params = _layered((), _kept(params, axes, choice.keep), living, dead)
  axes = _layered((), axes, living, dead)
  # Only the width is left of the submodel.
  return Slices(axes, {}).cut(
      params, dataclasses.replace(choice.submodel, depth=FULL.depth))


def _kept(tree, axes, keep):
  """Parameters with the indices that live."""
  if isinstance(tree, Mapping):
    return {key: _kept(child, axes[key], keep) for key, child in tree.items()}
  return _taken(tree, axes, keep)


def _taken(leaf, names, keep):
  # From the last axis to the first, as heads and their channels become one.
  for dim in reversed(range(len(names))):
    index = keep.get(names[dim])
    if index is None:
      continue
    index = jnp.asarray(index) if isinstance(index, tuple) else index
    if index.ndim == 1:
      leaf = jnp.take(leaf, index, axis=dim)
      continue
    # Rows of channels that count head by head.
    old, new = leaf.shape[dim + 1], index.shape[1]
    leaf = leaf.reshape(*leaf.shape[:dim], -1, *leaf.shape[dim + 2:])
    leaf = jnp.take(leaf, index, axis=dim)
    if base(names[dim + 1]) == 'query_dim' and new != old:
      leaf = leaf * math.sqrt(new / old)
  return leaf


def _dead(choice, axes, stacks):
  """Paths that a choice of skips leaves out: a layer, or its adapter."""
  if choice.skip is None:
    return frozenset()
  return frozenset(
      path if path in choice.skip else _adapter_of(path)
      for path in candidates(flatten(axes), stacks))


def _adapter_of(path):
  stack, _, layer = path.rpartition('/')
  return f'{stack}/{SKIP}{layer.removeprefix(LAYER)}'


def _layered(path, tree, living, dead):
  """A tree with the layers, or what runs in their places, that live."""
  if not isinstance(tree, Mapping):
    return tree
  stack = '/'.join(path)
  if stack not in living:
    return {key: _layered((*path, key), child, living, dead)
            for key, child in tree.items()}
  found = {}
  for new, (i, j) in enumerate(living[stack]):
    if i != j:
      found[f'{LAYER}{new}'] = _joined(tree, i, j)
      continue
    for kind in (LAYER, SKIP):
      if f'{kind}{i}' in tree and f'{stack}/{kind}{i}' not in dead:
        found[f'{kind}{new}'] = tree[f'{kind}{i}']
  return found


def _joined(tree, i, j):
  """A layer of the attention of layer i and the feed-forward part of layer j.
  """
  first, second = (tree.get(f'{LAYER}{n}', {}) for n in (i, j))
  # The last normalisation is that of the feed-forward part, and all else that
  # is not it belongs to attention.
  norms = [key for key in {**first, **second} if key.startswith('norm')]
  rest = {'ffn', max(norms, default='ffn')}
  return {**{key: child for key, child in first.items() if key not in rest},
          **{key: child for key, child in second.items() if key in rest}}


@dataclasses.dataclass(frozen=True)
class Slices:
  """Where every submodel's parameters lie in those of the full model.

  Trees may be parts of the whole: a parameter that is not there, as one that
  is frozen and kept elsewhere, is passed over.

  Attributes:
    axes: tree of tuples of axis names, from `names`.
    stacks: path of every layer stack (`a/b`) and its order. Layers are named
      `layer_{i}`, and what may run in their place `skip_layer_{i}`; both are
      numbered anew.
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

  def add_into(self, total: Any, part: Any, sub: Submodel,
               sliced: bool = False) -> Any:
    """`total` plus `part`, which is shaped as by `cut`; the transpose of it.

    The sum lands in the slices that `sub` owns and the rest is passed on, so
    that the gradients of a small submodel cost a small sum.

    Args:
      total: nested dict of the full model's arrays.
      part: of the submodel's.
      sub: the part that it is of.
      sliced: write as a slice and not as a scatter: the same, in another form
        of the program.
    """
    def walk(path, total, part, axes):
      if not isinstance(total, Mapping):
        if part.shape == total.shape:
          return total + part
        window = _window(axes, total.shape, sub)
        if not sliced:
          return total.at[window].add(part)
        return jax.lax.dynamic_update_slice(
            total, total[window] + part, (0,) * part.ndim)
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
    return ((f'{kind}{new}', f'{kind}{old}')
            for new, old in enumerate(sub.layers(order))
            for kind in (LAYER, SKIP) if f'{kind}{old}' in tree)


def _window(axes: tuple[str, ...], shape: tuple[int, ...],
            sub: Submodel) -> tuple[slice, ...]:
  return tuple(slice(sub.units(Axis(base(name), size)))
               for name, size in zip(axes, shape, strict=True))
