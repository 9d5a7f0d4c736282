"""A gate for every channel, at the one place where it is handed on.

With a gate at zero the channel is gone, and the gradient of a gate says what
the channel is worth. What a hidden unit or a channel of a head hands on goes
through the parameters that read it; a head's channel takes part in the scores,
too, through the query. A channel of the stream is handed on by all that writes
it, and by the normalisations that read it.
"""
from collections.abc import Mapping
from typing import Any

from bst_jax import elastic
from bst_jax.elastic import base
from bst_jax.pruning.scores import counts_of
import jax
import jax.numpy as jnp

# Channels that no normalisation counts: zeros remove them exactly.
EXACT = frozenset({'heads', 'mlp', 'pool', 'fused', 'adapter'})


def ones(shapes: Any, axes: Any) -> dict[str, jax.Array]:
  """Gates that change nothing, float32[n] by full axis name.

  Args:
    shapes: of a model's parameters.
    axes: tree of tuples of their full axis names.
  """
  return {name: jnp.ones(count)
          for name, count in counts_of(shapes, axes).items()}


def gated(params: Any, axes: Any, gates: Mapping[str, jax.Array]) -> Any:
  """The parameters with every channel times its gate.

  Args:
    params: nested dict of arrays.
    axes: tree of tuples of their full axis names.
    gates: float[n] by full axis name; those of `heads@…` are of all channels
      of all heads, head by head.
  """
  if not isinstance(params, Mapping):
    return params
  return _gated((), params, axes, gates)


def _gated(path, tree, axes, gates):
  if isinstance(tree, Mapping):
    return {key: _gated((*path, key), child, axes[key], gates)
            for key, child in tree.items()}
  for dim, name in enumerate(axes):
    if name in gates and _hands_on(path, axes, dim):
      tree = tree * _along(gates[name], tree.shape, dim, base(name) == 'heads')
  return tree


def _hands_on(path, names, dim):
  """Whether a channel is handed on here: see the head of this file."""
  kind, last = base(names[dim]), len(names) - 1
  if kind == 'heads':  # Its channels are the next dimension.
    return 'query' in path or (dim == 0 and last > 1)
  if kind in EXACT:
    return dim < last and base(names[last]) != kind
  # Written by a kernel or a bias, or a gain or a shift of a normalisation; what
  # a layer scales was written by that kernel already.
  return (dim == last and 'stats' not in path
          and not path[-1].startswith('layer_scale'))


def _along(gate, shape, dim, heads):
  """Gates as an array that a parameter is multiplied by."""
  sizes = shape[dim:dim + 2] if heads else shape[dim:dim + 1]
  behind = len(shape) - dim - len(sizes)
  return gate.reshape(*sizes, *[1] * behind)


def paths_of(axes: Any, name: str) -> list[str]:
  """Paths of the parameters in which a channel of this name is handed on."""
  return [path for path, names in elastic.flatten(axes).items()
          for dim, one in enumerate(names)
          if one == name and _hands_on(tuple(path.split('/')), names, dim)]
