"""Names, choices and spaces: which part of a model runs.

Every parameter axis carries a name (`AXES`). A `Submodel` narrows the elastic
axes to a prefix and keeps some layers of every stack; `Slices.cut` does the
same to a parameter tree, so that slicing then running equals running sliced.
A `Choice` is all that can be chosen, down to single channels, and `cut` makes
the parameters of the ordinary smaller model that it is.

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
from bst_jax.elastic.choice import (
  candidates,
  check,
  check_model,
  checksum,
  Choice,
  fingerprint,
)
from bst_jax.elastic.cut import cut, Slices
from bst_jax.elastic.groups import groups
from bst_jax.elastic.lookup import by_name, check_name, in_order, own_names
from bst_jax.elastic.submodels import (
  FULL,
  Order,
  Space,
  STRATEGIES,
  Submodel,
)

__all__ = [
    'AXES', 'Axis', 'base', 'by_name', 'candidates', 'check', 'check_model',
    'check_name', 'checksum', 'Choice', 'cut', 'ELASTIC', 'fingerprint',
    'flatten', 'FULL', 'groups', 'in_order', 'names', 'Order', 'own_names',
    'Size', 'size', 'size_at', 'Sizes', 'Slices', 'Space', 'STRATEGIES',
    'Submodel', 'unbox']
