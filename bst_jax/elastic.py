"""Names, choices and spaces: which part of a model runs.

Every parameter axis carries a name (`AXES`). A `Submodel` narrows the elastic
axes to a prefix and keeps some layers of every stack; `extract` does the same
to a parameter tree, so that slicing then running equals running sliced.

Reference: BST, arXiv 2203.12814 (widths, depths, triangle filter).
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
import dataclasses
import difflib
from fractions import Fraction
import functools
import json
import math
import random
from typing import Any, NamedTuple

from flax import linen as nn
import jax
import jax.numpy as jnp
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


def _fraction(value: Any, what: str) -> Fraction:
  try:
    ratio = Fraction(str(value))
  except (ValueError, ZeroDivisionError):
    raise ValueError(
        f'{what} {value!r} is not a ratio; write it as 1/2 or 1.') from None
  if not 0 < ratio <= 1:
    raise ValueError(f'{what} {value} is outside (0, 1]; 1 is the full model.')
  return ratio


@dataclasses.dataclass(frozen=True, order=True)
class Submodel:
  """A part of a model: a ratio of its width and a ratio of its depth."""

  width: Fraction = Fraction(1)
  depth: Fraction = Fraction(1)

  def __post_init__(self):
    object.__setattr__(self, 'width', _fraction(self.width, 'width'))
    object.__setattr__(self, 'depth', _fraction(self.depth, 'depth'))

  @classmethod
  def parse(cls, text: str | Submodel) -> Submodel:
    """Reads the text form `1/2x1/3` or the path form `w1-2_d1-3`."""
    if isinstance(text, Submodel):
      return text
    plain = text.replace('-', '/').replace('_d', 'x').removeprefix('w')
    width, cross, depth = plain.partition('x')
    if not cross:
      raise ValueError(
          f'submodel {text!r} is not WIDTHxDEPTH; write it as 1/2x1/3.')
    return cls(width, depth)

  def __str__(self) -> str:
    return f'{self.width}x{self.depth}'

  @property
  def path(self) -> str:
    """The form for file names and metric keys: `w1-2_d1-3`."""
    return f'w{self.width}_d{self.depth}'.replace('/', '-')

  def units(self, axis: Axis) -> int:
    """Number of units of `axis` that this submodel keeps."""
    if axis.name not in ELASTIC:
      return axis.size
    return _whole(self.width, axis.size, 'width', f"'{axis.name}' units")

  def count(self, num_layers: int) -> int:
    """Number of layers that this submodel keeps of a stack."""
    return _whole(self.depth, num_layers, 'depth', 'layers')

  def layers(self, order: Order) -> tuple[int, ...]:
    """Indices of the layers of a stack that this submodel runs, ascending."""
    return order.keep(self.count(order.num_layers))


FULL = Submodel()


def _whole(ratio: Fraction, size: int, what: str, units: str) -> int:
  kept = ratio * size
  if kept.denominator != 1:
    # Ratios with a small denominator are what people mean; all of them would
    # be hundreds.
    parts = [n for n in range(1, 13) if size % n == 0]
    fits = sorted({Fraction(k, n) for n in parts for k in range(1, n + 1)})
    raise ValueError(
        f'{what} {ratio} keeps {float(kept):g} of the {size} {units}; a '
        f'submodel keeps whole ones. Ratios that fit: '
        f'{", ".join(map(str, fits))}.')
  return int(kept)


STRATEGIES = ('middle', 'keep_first', 'keep_last', 'uniform', 'random')


@dataclasses.dataclass(frozen=True)
class Order:
  """Which layers of a stack live on when only some of them are kept.

  Attributes:
    num_layers: layers of the full stack.
    strategy: `middle` drops the middle layers first (the published rule),
      `keep_first` and `keep_last` keep one end, `uniform` spreads the kept
      layers evenly, `random` draws one fixed priority list from `seed`.
    tie: the end that a single kept layer comes from, `first` (encoders) or
      `last` (decoders). Only `middle` and `uniform` have such a tie.
    seed: of the `random` strategy.

  Reference: BST, the depth-slimming rule; its released code swaps the first
    two of the decoder's priority list, which is `tie='last'`.
  """

  num_layers: int
  strategy: str = 'middle'
  tie: str = 'first'
  seed: int = 0

  def __post_init__(self):
    check_name(self.strategy, STRATEGIES, 'depth strategy')
    check_name(self.tie, ('first', 'last'), 'tie-break')

  @property
  def priority(self) -> tuple[int, ...]:
    """Layers from the most to the least important; `uniform` has no such."""
    every = range(self.num_layers)
    if self.strategy == 'keep_first':
      return tuple(every)
    if self.strategy == 'keep_last':
      return tuple(reversed(every))
    if self.strategy == 'random':
      return tuple(random.Random(self.seed).sample(every, self.num_layers))
    if self.strategy == 'uniform':
      raise ValueError('strategy uniform has no priority list: the layers that '
                       'it keeps are not nested; ask keep(count).')
    ends = [(i, self.num_layers - 1 - i) for i in every]
    both = list(dict.fromkeys(i for pair in ends for i in pair))
    if self.tie == 'last':
      both[:2] = reversed(both[:2])
    return tuple(both)

  def keep(self, count: int) -> tuple[int, ...]:
    """Indices of the `count` layers that live, ascending."""
    if self.strategy != 'uniform':
      return tuple(sorted(self.priority[:count]))
    if count == 1:
      return (0 if self.tie == 'first' else self.num_layers - 1,)
    step = Fraction(self.num_layers - 1, count - 1)
    return tuple(math.floor(i * step + Fraction(1, 2)) for i in range(count))


@dataclasses.dataclass(frozen=True)
class Space:
  """The submodels that one training yields.

  Attributes:
    widths: ratios of the width, in any order.
    depths: ratios of the depth, in any order.
    filter: `triangle` leaves out submodels that are relatively wider than they
      are deep; `none` keeps every pair.
    strategy: which layers a depth keeps, see `Order`.
    seed: of the `random` strategy.
  """

  widths: tuple[Fraction, ...] = (Fraction(1),)
  depths: tuple[Fraction, ...] = (Fraction(1),)
  filter: str = 'triangle'
  strategy: str = 'middle'
  seed: int = 0

  def __post_init__(self):
    for what in ('widths', 'depths'):
      ratios = {_fraction(r, what[:-1]) for r in getattr(self, what)}
      if Fraction(1) not in ratios:
        raise ValueError(f'{what} {getattr(self, what)} leave out 1: a space '
                         'contains the full model. Add 1.')
      object.__setattr__(self, what, tuple(sorted(ratios)))
    check_name(self.filter, ('triangle', 'none'), 'filter')
    check_name(self.strategy, STRATEGIES, 'depth strategy')

  @functools.cached_property
  def submodels(self) -> tuple[Submodel, ...]:
    """All submodels by width, then depth: the smallest first, full last."""
    top_width, top_depth = len(self.widths) - 1, len(self.depths) - 1
    return tuple(
        Submodel(width, depth)
        for i, width in enumerate(self.widths)
        for j, depth in enumerate(self.depths)
        if self.filter == 'none' or i * top_depth <= j * top_width)

  def __iter__(self):
    return iter(self.submodels)

  def __len__(self) -> int:
    return len(self.submodels)

  def order(self, num_layers: int, tie: str = 'first') -> Order:
    """The layer order of a stack under this space's strategy."""
    return Order(num_layers, self.strategy, tie, self.seed)


@dataclasses.dataclass(frozen=True)
class Choice:
  """Everything that can be chosen about a trained model; `choice.json`.

  Attributes:
    submodel: width and depth (BST).
    skip: names of the layers that are skipped (DAS).
    keep: living indices by `scope:axis` (UP-ViTs); an empty scope is the whole
      model.
    tokens: settings of the model's `ats`: which layers sample, at how many
      points, into how many slots (ATS).
  """

  submodel: Submodel = FULL
  skip: tuple[str, ...] = ()
  keep: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
  tokens: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  def to_json(self) -> str:
    """One JSON object; `from_json` reads it back."""
    return json.dumps({
        'submodel': str(self.submodel),
        'skip': list(self.skip),
        'keep': {k: list(v) for k, v in self.keep.items()},
        'tokens': dict(self.tokens),
    }, indent=2)

  @classmethod
  def from_json(cls, text: str) -> Choice:
    """Reads `to_json`; an unknown key is an error."""
    fields = json.loads(text)
    for key in fields:
      check_name(key, ('submodel', 'skip', 'keep', 'tokens'), 'choice')
    return cls(
        Submodel.parse(fields.get('submodel', '1x1')),
        tuple(fields.get('skip', ())),
        {k: tuple(v) for k, v in fields.get('keep', {}).items()},
        dict(fields.get('tokens', {})))


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


def extract(params: Any, axes: Any, sub: Submodel,
            stacks: Mapping[str, Order]) -> Any:
  """Parameters of the ordinary smaller model that `sub` is.

  Args:
    params: nested dict of arrays (or of anything that can be sliced).
    axes: the same tree of axis-name tuples, from `names`.
    sub: the part to keep.
    stacks: path of every layer stack (`a/b`) and its order. Layers are named
      `layer_{i}` and numbered anew.

  Returns:
    The smaller nested dict; arrays are prefix slices.
  """
  def walk(path, tree, axes):
    if not isinstance(tree, Mapping):
      return tree[_window(axes, tree.shape, sub)]
    kept = _living(path, tree, sub, stacks)
    return {new: walk((*path, old), tree[old], axes[old]) for new, old in kept}

  return walk((), params, axes)


def add(whole: Any, part: Any, axes: Any, sub: Submodel,
        stacks: Mapping[str, Order]) -> Any:
  """`whole` plus `part`, the latter shaped as by `extract`; its transpose.

  The sum lands in the slices that `sub` owns and the rest is passed on, so
  that the gradients of a small submodel cost a small sum.
  """
  def walk(path, whole, part, axes):
    if not isinstance(whole, Mapping):
      if part.shape == whole.shape:
        return whole + part
      return whole.at[_window(axes, whole.shape, sub)].add(part)
    kept = {old: new for new, old in _living(path, whole, sub, stacks)}
    return {
        old: walk((*path, old), tree, part[kept[old]], axes[old])
        if old in kept else tree for old, tree in whole.items()}

  return walk((), whole, part, axes)


def _window(axes, shape, sub):
  return tuple(slice(sub.units(Axis(n, s)))
               for n, s in zip(axes, shape, strict=True))


def _living(path, tree, sub, stacks):
  """Pairs (new key, old key) of the children of a node that `sub` keeps."""
  order = stacks.get('/'.join(path))
  if order is None:
    return [(key, key) for key in tree]
  return [(f'layer_{new}', f'layer_{old}')
          for new, old in enumerate(sub.layers(order))]


def take(params: Any, axes: Any, keep: Mapping[str, Any]) -> Any:
  """Parameters with only the listed indices of the listed axes.

  Args:
    params: nested dict of arrays.
    axes: the same tree of axis-name tuples, from `names`.
    keep: `scope:axis` to int32[k]; the longest scope that contains a parameter
      wins, the empty scope is the whole model. Indices may be traced.

  Returns:
    The same tree with smaller arrays.
  """
  unused = set(keep)

  def pick(path, leaf, axes):
    for dim, name in enumerate(axes):
      here = [k for k in keep if _inside(_join(path), name, k)]
      if here:
        best = max(here, key=len)
        unused.discard(best)
        leaf = jnp.take(leaf, jnp.asarray(keep[best]), axis=dim)
    return leaf

  taken = jax.tree_util.tree_map_with_path(
      pick, params, axes, is_leaf=lambda x: not isinstance(x, Mapping))
  if unused:
    raise ValueError(f'no parameter has the axes {sorted(unused)}; a key reads '
                     f'scope:axis, with an axis of {sorted(AXES)}.')
  return taken


def _inside(path: str, axis: str, key: str) -> bool:
  scope, _, name = key.rpartition(':')
  return name == axis and (not scope or f'{path}/'.startswith(f'{scope}/'))


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


def check_name(name: str, known: Iterable[str], what: str) -> None:
  """Raises a ValueError that lists the known names and the closest one."""
  known = sorted(known)
  if name not in known:
    close = difflib.get_close_matches(str(name), known, 1)
    hint = f' Did you mean {close[0]!r}?' if close else ''
    raise ValueError(
        f'there is no {what} {name!r}.{hint} There are: {", ".join(known)}.')
