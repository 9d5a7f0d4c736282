"""Batch statistics among the parameters, which a step writes and nothing learns.

They stand in modules named `stats` (`layers/batch_norm.py`).
"""
from collections.abc import Mapping
from typing import Any

from bst_jax import elastic
from bst_jax.layers.batch_norm import STATS
import jax
import jax.numpy as jnp


def without(params: Any) -> Any:
  """The nested dict of what optimisers own: all but the statistics."""
  if not isinstance(params, Mapping):
    return params
  return {key: without(value) for key, value in params.items() if key != STATS}


def paths_of(params: Any) -> set[str]:
  """Paths of the statistics in a nested dict."""
  return {path for path in elastic.flatten(params) if STATS in path.split('/')}


def put_over(params: Any, some: Any) -> Any:
  """The nested dict `params` with the leaves that `some` has in their place."""
  if not isinstance(some, Mapping):
    return some
  unknown = some.keys() - params.keys()
  assert not unknown, f'no parameters are called {sorted(unknown)}'
  return dict(params) | {
      key: put_over(params[key], value) for key, value in some.items()}


def largest(written: Any) -> jax.Array:
  """float32[], the largest absolute value; not finite where one is not."""
  return jnp.stack([jnp.abs(x).max().astype(jnp.float32)
                    for x in jax.tree.leaves(written)]).max()
