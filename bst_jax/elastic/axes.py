"""Axes of parameters: what they are called, and trees of their names."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
import difflib
from typing import Any, NamedTuple

from flax import linen as nn
import jax
import numpy as np

# What an axis of a parameter may be called; sharding rules cover every name.
AXES = {
    'embed': 'hidden channels of a transformer',
    'heads': 'attention heads',
    'head_dim': 'channels of one head',
    'mlp': 'hidden units of a feed-forward block',
    'fused': 'channels after the modalities are joined',
    'feat': 'channels of visual features that enter the model',
    'word': 'channels of word vectors',
    'vocab': 'entries of the word table',
    'position': 'places of a token in a text, or of a cell in a grid',
    'type': 'kinds of tokens: text, image',
    'recurrent': 'units of a recurrent layer',
    'gates': 'gates of a recurrent layer, all of them side by side',
    'box': 'numbers that describe a box',
    'point': 'row and column of a point',
    'score': 'scores of an attention pool, one a glimpse',
    'pixel': 'channels of an image or of a convolution that reads it',
    'window': 'taps of a convolution',
    'answers': 'classes of the answer head',
}
# The names that a width narrows. Heads narrow by whole heads, so that
# `head_dim` and with it the scale of the attention scores never change.
ELASTIC = frozenset({'embed', 'heads', 'mlp', 'fused'})


class Axis(NamedTuple):
  """A parameter axis: its name in `AXES` and its full size."""

  name: str
  size: int


def check_name(name: str, known: Iterable[str], what: str) -> None:
  """Raises a ValueError that lists the known names and the closest one."""
  known = sorted(known)
  if name not in known:
    close = difflib.get_close_matches(str(name), known, 1)
    hint = f' Did you mean {close[0]!r}?' if close else ''
    raise ValueError(
        f'there is no {what} {name!r}.{hint} There are: {", ".join(known)}.')


def names(boxed: Any) -> Any:
  """Tree of axis-name tuples of a tree of parameters with named axes."""
  def name(path, leaf):
    if not isinstance(leaf, nn.LogicallyPartitioned):
      raise ValueError(f'parameter {_join(path)} has no axis names; make it '
                       'with bst_jax.layers.linear.named.')
    return tuple(leaf.names)
  return jax.tree_util.tree_map_with_path(
      name, boxed, is_leaf=lambda x: isinstance(x, nn.LogicallyPartitioned))


def unbox(boxed: Any) -> Any:
  """The parameters (or shapes) without their names."""
  return nn.unbox(boxed)


def _join(path) -> str:
  return '/'.join(str(getattr(p, 'key', p)) for p in path)


def flatten(tree: Any) -> dict[str, Any]:
  """{'a/b': leaf} of a nested dict; leaves may be tuples."""
  flat = jax.tree_util.tree_flatten_with_path(
      tree, is_leaf=lambda x: not isinstance(x, Mapping))[0]
  return {_join(path): leaf for path, leaf in flat}


def size(params: Any) -> int:
  """Number of parameters in a tree of arrays or shapes."""
  return sum(int(np.prod(p.shape)) for p in jax.tree.leaves(params))
