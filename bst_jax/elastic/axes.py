"""Axes of parameters: what they are called, whose they are, and their sizes."""
from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import math
from typing import Any, NamedTuple

from flax import linen as nn
import jax

# What an axis of a parameter may be called; sharding rules cover every name.
AXES = {
    'embed': 'hidden channels of a transformer',
    'heads': 'attention heads',
    'head_dim': 'channels of one head',
    'query_dim': 'channels of one head in what asks',
    'mlp': 'hidden units of a feed-forward block',
    'pool': 'hidden units of an attention pool',
    'adapter': 'hidden units of an adapter',
    'extra': 'hidden units, rank or tokens of what is trained beside a layer',
    'tower': 'channels of an encoder that no width narrows',
    'tower_heads': 'attention heads of such an encoder',
    'tower_mlp': 'hidden units of its feed-forward blocks',
    'reduced': 'outputs of a spatial reduction',
    'squeeze': 'hidden units of a gate of channels',
    'pyramid': 'channels of a feature pyramid',
    'region': 'features of a region',
    'attributes': 'attributes of objects',
    'fused': 'channels after the modalities are joined, or of the last convolution',
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
    'side': 'left and right picture of a statement about both',
    'stream': 'text and picture, side by side',
    'summary': 'the class token, and the mean of the patches',
}
# The names that a width narrows. Heads narrow by whole heads, so that
# `head_dim` and with it the scale of the attention scores never change.
ELASTIC = frozenset({'embed', 'heads', 'mlp', 'pool', 'fused', 'reduced'})


@dataclasses.dataclass(frozen=True)
class Sizes:
  """A size with exceptions by path of the module that owns the axis.

  In a config and in JSON it is a dict, {'': usual, path: other}:

    mlp = {'': 1536, 'encoder/layer_3/ffn': 1024}

  Attributes:
    usual: the size, but for the exceptions.
    other: pairs of path and size, in the order of the paths.
  """

  usual: int
  other: tuple[tuple[str, int], ...] = ()

  @classmethod
  def of(cls, value: Size | Mapping[str, int] | None) -> Size | None:
    """The size that a config gives: itself, or a dict with its exceptions.

    Without exceptions it is a number.
    """
    if isinstance(value, cls):
      value = value.to_dict()
    if not hasattr(value, 'items'):  # A ConfigDict is no Mapping.
      return value
    if '' not in value:
      raise ValueError(
          f'the sizes {dict(value)} do not say the usual one; write '
          "{'': 1536, 'encoder/layer_3/ffn': 1024}.")
    usual = value['']
    other = {path: n for path, n in value.items() if path and n != usual}
    return cls(usual, tuple(sorted(other.items()))) if other else usual

  def to_dict(self) -> dict[str, int]:
    """What `of` reads."""
    return {'': self.usual} | dict(self.other)

  def at(self, path: str) -> int:
    """The size that the module at this path has."""
    return dict(self.other).get(path, self.usual)


Size = int | Sizes


def size_at(size: Size, path: str) -> int:
  """A number of units, of the module at `path`."""
  return size.at(path) if isinstance(size, Sizes) else size


class Axis(NamedTuple):
  """A parameter axis.

  Attributes:
    name: in `AXES`; sharding, width and costs read it.
    size: when it is whole. With exceptions only until `here` resolves them.
    of: whose it is: the path of the module that alone reads these channels, or
      what a model says (`stage_1`); empty for those of the whole model.
  """

  name: str
  size: Size
  of: str = ''

  @property
  def full(self) -> str:
    """The name by which its channels are chosen: `mlp@encoder/layer_3/ffn`."""
    return f'{self.name}@{self.of}' if self.of else self.name

  def here(self, module: nn.Module) -> Axis:
    """The axis as `module` owns it: no other module reads its channels."""
    path = '/'.join(module.path)
    return Axis(self.name, size_at(self.size, path), path)


def base(name: str) -> str:
  """The name of an axis without its owner: `mlp` of `mlp@encoder/layer_3/ffn`.
  """
  return name.partition('@')[0]


def names(boxed: Any) -> Any:
  """Tree of tuples of full axis names of parameters with named axes."""
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
  # Of Python's numbers, which have room for what no machine has.
  return sum(math.prod(p.shape) for p in jax.tree.leaves(params))
