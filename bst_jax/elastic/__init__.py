"""Names, choices and spaces: which part of a model runs.

Every parameter axis carries a name (`AXES`). A `Submodel` narrows the elastic
axes to a prefix and keeps some layers of every stack; `Slices.cut` does the
same to a parameter tree, so that slicing then running equals running sliced.

Reference: BST, arXiv 2203.12814 (widths, depths, triangle filter).
"""
from bst_jax.elastic.axes import (
  AXES,
  Axis,
  base,
  ELASTIC,
  flatten,
  names,
  Size,
  size,
  size_at,
  Sizes,
  unbox,
)
from bst_jax.elastic.choice import Choice
from bst_jax.elastic.cut import Slices
from bst_jax.elastic.groups import groups
from bst_jax.elastic.lookup import by_name, check_name, own_names
from bst_jax.elastic.submodels import (
  FULL,
  Order,
  Space,
  STRATEGIES,
  Submodel,
)

__all__ = [
    'AXES', 'Axis', 'base', 'by_name', 'check_name', 'Choice', 'ELASTIC',
    'flatten', 'FULL', 'groups', 'names', 'Order', 'own_names', 'Size', 'size',
    'size_at', 'Sizes', 'Slices', 'Space', 'STRATEGIES', 'Submodel', 'unbox']
