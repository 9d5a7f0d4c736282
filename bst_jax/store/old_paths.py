"""Paths of arrays in checkpoints that older versions wrote.

Batch statistics once stood beside the gain that they belong to (`norm/mean`);
now they have a module of their own (`norm/stats/mean`). Optimisers kept memory
for them then, which nothing reads.
"""
from collections.abc import Collection, Mapping
from typing import Any

from bst_jax.store import trees
import jax

_STATS, _NAMES = 'stats', ('mean', 'var')


def as_saved(wanted: Any, saved: Collection[str]) -> Any:
  """The tree of abstract arrays `wanted`, arranged as a checkpoint holds it.

  Args:
    wanted: of today's paths, of which dicts have names.
    saved: paths of the checkpoint's arrays, as of `trees.specs`.
  """
  def visit(path, node):
    if not isinstance(node, dict):
      return node
    prefix = ''.join(f'{trees.name(key)}/' for key in path)
    old = all(prefix + name in saved for name in _NAMES)
    result = {}
    for key, child in node.items():
      if old and key == _STATS:
        result |= child
      else:
        below = {name.removeprefix(f'{prefix}{key}/') for name in saved
                 if name.startswith(f'{prefix}{key}/')}
        result[key] = as_saved(child, below)
    if old and 'scale' in node and _STATS not in node:  # An optimiser's memory.
      result |= dict.fromkeys(_NAMES, node['scale'])
    return result

  return jax.tree_util.tree_map_with_path(
      visit, wanted, is_leaf=lambda node: isinstance(node, dict))


def as_wanted(wanted: Any, loaded: Any) -> Any:
  """The inverse: what was loaded as of `as_saved`, arranged as `wanted` is."""
  def visit(node, found):
    if not isinstance(node, dict):
      return found
    return {key: as_wanted(child, found[key] if key in found else {
        name: found[name] for name in _NAMES}) for key, child in node.items()}

  return jax.tree.map(
      visit, wanted, loaded, is_leaf=lambda node: isinstance(node, dict))


def renewed(params: Any) -> Any:
  """Nested dict of parameters with the statistics of old ones in their place.
  """
  if not isinstance(params, Mapping):
    return params
  tree = {key: renewed(child) for key, child in params.items()}
  if 'scale' in tree and all(name in tree for name in _NAMES):
    tree[_STATS] = {name: tree.pop(name) for name in _NAMES}
  return tree
