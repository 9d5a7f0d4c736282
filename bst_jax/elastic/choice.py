"""All that can be chosen about a trained model, as one file says it."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
import dataclasses
import hashlib
import json
from typing import Any
import zlib

from bst_jax.elastic.axes import base, flatten
from bst_jax.elastic.groups import groups
from bst_jax.elastic.limits import short
from bst_jax.elastic.lookup import check_name
from bst_jax.elastic.submodels import FULL, Order, Submodel
import jax
import numpy as np

HALVES = ('attention', 'ffn')
# What a layer, and what runs in its place, are called.
LAYER, SKIP = 'layer_', 'skip_layer_'


@dataclasses.dataclass(frozen=True)
class Choice:
  """Everything that can be chosen about a trained model; `choice.json`.

  All of it is in the numbers of the model that is chosen from.

  Attributes:
    submodel: width and depth of what the rest leaves (BST).
    skip: paths of the layers whose adapter runs instead (DAS); None leaves
      open which, and with () no adapter is left.
    keep: living indices by full axis name (UP-ViTs), in the order that they
      are to have. Lists of lists under `heads@…` make new heads, each from some
      of the channels of all heads, which count head by head.
    layers: which layers of a stack live, in order (UP-ViTs): numbers, or
      {'attention': i, 'ffn': j}, whose halves are of two layers.
    tokens: settings of the model's `ats`: which layers sample, at how many
      points, into how many slots (ATS).
    model: `fingerprint` of the model that is chosen from; empty if unknown.
  """

  submodel: Submodel = FULL
  skip: tuple[str, ...] | None = None
  keep: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  layers: Mapping[str, tuple[Any, ...]] = dataclasses.field(
      default_factory=dict)
  tokens: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  model: str = ''

  def __post_init__(self):
    freeze = lambda name, value: object.__setattr__(self, name, value)
    freeze('keep', {name: _tuples(index) for name, index in self.keep.items()})
    freeze('tokens', {name: _tuples(value)
                      for name, value in self.tokens.items()})
    freeze('layers', {stack: tuple(entries)
                      for stack, entries in self.layers.items()})
    if self.skip is not None:
      freeze('skip', tuple(self.skip))

  @property
  def cuts(self) -> bool:
    """Whether parameters are left out, which tokens never do."""
    return self != Choice(tokens=self.tokens, model=self.model)

  def living(self, stacks: Mapping[str, Order]
             ) -> dict[str, tuple[tuple[int, int], ...]]:
    """The layers that are left of every stack, in order.

    Returns:
      For each the layer that its attention is from, and that of its
      feed-forward part.

    Raises:
      ValueError: no such stack or layer, or a layer that lives twice.
    """
    for stack in self.layers:
      check_name(stack, stacks, 'layer stack of this model')
    found = {}
    for stack, order in stacks.items():
      entries = [halves(entry) for entry in self.layers.get(
          stack, range(order.num_layers))]
      _check_entries(stack, entries, order.num_layers)
      order = dataclasses.replace(order, num_layers=len(entries))
      found[stack] = tuple(entries[i] for i in self.submodel.layers(order))
    return found

  def to_json(self) -> str:
    """One JSON object; `from_json` reads it back."""
    plain = lambda index: (
        index if isinstance(index, tuple) else np.asarray(index).tolist())
    return json.dumps({
        'submodel': str(self.submodel),
        'skip': None if self.skip is None else list(self.skip),
        'keep': {name: plain(index) for name, index in self.keep.items()},
        'layers': dict(self.layers),
        'tokens': dict(self.tokens),
        'model': self.model,
    }, indent=2)

  @classmethod
  def from_json(cls, text: str) -> Choice:
    """Reads `to_json`; an unknown key is an error, and so is another type."""
    fields = json.loads(text)
    if not isinstance(fields, dict):
      raise ValueError(f'a choice is {short(fields)}; it must be an object, as '
                       '{"submodel": "1/2x1/2"}.')
    for key, value in fields.items():
      check_name(key, cls.__dataclass_fields__, 'choice')
      _check_type(key, value)
    return cls(**fields | {
        'submodel': Submodel.parse(fields.get('submodel', '1x1'))})


def _check_type(key, value):
  """Raises where a key of a file's choice has another type than it must."""
  kind, inner = {'skip': (list, str), 'keep': (dict, list),
                 'layers': (dict, list), 'tokens': (dict, object),
                 'submodel': (str, object), 'model': (str, object)}[key]
  parts = value.values() if isinstance(value, dict) else (
      value if isinstance(value, list) else ())
  if key == 'skip' and value is None:
    return
  if not isinstance(value, kind) or not all(
      isinstance(part, inner) for part in parts):
    words = {'skip': 'null or a list of paths', 'keep': 'lists by axis',
             'layers': 'lists by stack', 'tokens': 'settings by name'}
    raise ValueError(f'the choice says {key} = {short(value)}; that must be '
                     f'{words.get(key, "text")}.')


def _tuples(value):
  """Lists, as of JSON, as tuples; all else as it is, arrays for one."""
  if isinstance(value, (list, tuple)):
    return tuple(map(_tuples, value))
  return value


def halves(entry: Any) -> tuple[int, int]:
  """The layers that the attention and the rest of an entry of `layers` are of.
  """
  if isinstance(entry, Mapping):
    if set(entry) != set(HALVES):
      raise ValueError(
          f'an entry of layers is {dict(entry)}; write the number of a layer, '
          "or {'attention': 3, 'ffn': 4} for halves of two.")
    return _layer(entry['attention']), _layer(entry['ffn'])
  return _layer(entry), _layer(entry)


def _layer(number):
  """The number of a layer; raises where it is none."""
  if isinstance(number, (int, np.integer)) and not isinstance(number, bool):
    return int(number)
  raise ValueError(f'an entry of layers is {number!r}; write the number of a '
                   "layer, or {'attention': 3, 'ffn': 4} for halves of two.")


def fingerprint(shapes: Any) -> str:
  """Sixteen letters that stand for the paths and shapes of parameters."""
  lines = sorted(f'{path} {tuple(leaf.shape)}'
                 for path, leaf in flatten(shapes).items())
  return hashlib.sha256('\n'.join(lines).encode()).hexdigest()[:16]


def checksum(params: Any) -> str:
  """Eight letters that stand for the numbers of all parameters."""
  found = 0
  for _, leaf in sorted(flatten(params).items()):
    found = zlib.crc32(np.ascontiguousarray(leaf).tobytes(), found)
  return f'{found:08x}'


def check_model(choice: Choice, shapes: Any) -> None:
  """Raises where a choice is one of another model than that of these shapes."""
  here = fingerprint(shapes)
  if choice.model and choice.model != here:
    raise ValueError(
        f'the choice is of a model whose parameters have the fingerprint '
        f'{choice.model}, and those here have {here}: its numbers would mean '
        'other channels and layers. Give the workdir that it was found in, or '
        'make a choice of this one.')


def check(choice: Choice, shapes: Any, axes: Any,
          stacks: Mapping[str, Order]) -> None:
  """Raises where a model of these parameters has no such choice.

  Args:
    choice: of which indices that are traced are not looked at.
    shapes: of the parameters, or these; parts of a tree are enough.
    axes: tree of tuples of full axis names.
    stacks: path and order of every stack.
  """
  paths = set(flatten(axes))
  sets, leaves = groups(axes), flatten(shapes)
  for name, index in choice.keep.items():
    check_name(name, sets, 'index set of this model')
    for path, dimension in sets[name]:
      if path in leaves:
        _check_index(name, index, leaves[path].shape, dimension)
  _check_skip(choice, candidates(paths, stacks))
  choice.living(stacks)
  for stack, entries in choice.layers.items():
    _check_halves(stack, entries, choice.skip, paths)


def candidates(paths: Iterable[str], stacks: Mapping[str, Order]
               ) -> tuple[str, ...]:
  """Paths of the layers that have adapters which may run instead."""
  first = {'/'.join(path.split('/')[:stack.count('/') + 2])
           for stack in stacks for path in paths if path.startswith(f'{stack}/')}
  return tuple(
      f'{stack}/{LAYER}{i}' for stack, order in stacks.items()
      for i in range(order.num_layers)
      if {f'{stack}/{LAYER}{i}', f'{stack}/{SKIP}{i}'} <= first)


def _check_index(name, index, shape, dimension):
  rows = np.ndim(index) == 2 if not isinstance(index, tuple) else any(
      isinstance(row, tuple) for row in index)
  if rows and base(name) != 'heads':
    raise ValueError(f'the choice keeps rows of {name!r}, but only those of '
                     'heads@… make something: heads. Give one list.')
  if isinstance(index, tuple):
    _check_rows(name, index)
  if isinstance(index, jax.core.Tracer):
    return
  flat = np.asarray(index).reshape(-1)
  size = shape[dimension] * (shape[dimension + 1] if rows else 1)
  if flat.dtype.kind not in 'iu':
    raise ValueError(f'the choice keeps {short(index)} of {name!r}; indices '
                     'are whole numbers.')
  outside = flat[(flat < 0) | (flat >= size)]
  if outside.size:
    raise ValueError(f'the choice keeps index {outside[0]} of {name!r}, which '
                     f'has {size}; choose from 0 to {size - 1}.')
  values, counts = np.unique(flat, return_counts=True)
  if (counts > 1).any():
    where = ', in one head or in two' if rows else ''
    raise ValueError(
        f'the choice keeps index {values[counts > 1][0]} of {name!r} twice'
        f'{where}; a channel lives once. Leave the others out.')


def _check_rows(name, index):
  """Raises where nothing is left of a head, or another number than of others.
  """
  sizes = [len(row) if isinstance(row, tuple) else 1 for row in index]
  why = ('nothing is left' if not sizes else
         'a head of it is empty' if not all(sizes) else
         'its heads differ in size' if len(set(sizes)) > 1 else '')
  if why:
    raise ValueError(f'the choice keeps {short(index)} of {name!r}, and {why}; '
                     'keep as many channels of each head, one at least.')


def _check_skip(choice, known):
  skip = choice.skip or ()
  if skip and not known:
    raise ValueError(
        f'the choice skips {", ".join(skip)}, but no layer of this model has '
        'an adapter that could run instead; set adapter of the model to their '
        'hidden units and skip to None, and train them.')
  for path in skip:
    check_name(path, known, 'layer that can be skipped')
  if len(set(skip)) < len(skip):
    raise ValueError(f'the choice skips a layer twice: {", ".join(skip)}.')


def _check_entries(stack, pairs, num_layers):
  if not pairs:
    raise ValueError(f'the choice keeps no layer of {stack!r}; keep one.')
  for half, numbers in zip(HALVES, zip(*pairs)):
    outside = [i for i in numbers if not 0 <= i < num_layers]
    if outside:
      raise ValueError(
          f'the choice keeps layer {outside[0]} of {stack!r}, which has '
          f'{num_layers}; choose from 0 to {num_layers - 1}.')
    if len(set(numbers)) < len(numbers):
      twice = next(i for i in numbers if numbers.count(i) > 1)
      raise ValueError(
          f'the choice repeats layer {twice} of {stack!r} (its {half}); two '
          'layers do not share parameters. Name every layer once.')


def _check_halves(stack, entries, skip, paths):
  """Raises where layers are no halves, or such of which nothing may live."""
  for i, j in map(halves, entries):
    if i == j:
      continue
    inside = lambda place: any(path.startswith(f'{place}/') for path in paths)
    if not all(inside(f'{stack}/{LAYER}{n}/ffn') for n in (i, j)):
      raise ValueError(
          f'the choice joins halves of the layers {i} and {j} of {stack!r}, '
          'but its layers have no ffn of their own; name whole layers.')
    for n in (i, j):
      if inside(f'{stack}/{SKIP}{n}') and (
          skip is None or f'{stack}/{LAYER}{n}' in skip):
        raise ValueError(
            f'the choice joins halves of the layers {i} and {j} of {stack!r}, '
            f'but layer {n} '
            + ('may be skipped: say which are, skip=() for none.'
               if skip is None else 'is skipped: nothing of it lives.'))
