"""Which parameters shrink together: all that pruning needs to know."""
from typing import Any

from bst_jax.elastic.axes import base, flatten

# Axes whose indices may be chosen one by one. The channels of a head go by
# rows under the name of its `heads`.
CHOSEN = ('embed', 'heads', 'mlp', 'pool', 'fused', 'reduced', 'adapter')


def groups(axes: Any) -> dict[str, list[tuple[str, int]]]:
  """Index sets of a model: what stands together must be cut together.

  Args:
    axes: tree of tuples of full axis names, from `names`.

  Returns:
    {full axis name: [(path of a parameter, its dimension), ...]}, as
    {'mlp@encoder/layer_0/ffn': [('encoder/layer_0/ffn/fc1/bias', 0), ...]}.
  """
  found = {}
  for path, names in flatten(axes).items():
    for dimension, name in enumerate(names):
      if base(name) in CHOSEN:
        found.setdefault(name, []).append((path, dimension))
  return found
