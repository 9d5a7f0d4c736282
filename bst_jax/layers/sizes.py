"""Sizes of a backbone: what channels, layers and width leave of them.

A size is a number, or one with exceptions by path of the owner
(`elastic.Sizes`), or a tuple of such, one for every stage.
"""
import collections
from collections.abc import Callable, Collection, Mapping
import math
from typing import Any

from bst_jax.elastic import Axis, base, check_name, flatten, Sizes, Submodel
from bst_jax.elastic.choice import LAYER, SKIP

# Field of a backbone -> the axis that it is the size of.
FIELDS = {'width': 'embed', 'heads': 'heads', 'head_dim': 'head_dim',
          'mlp': 'mlp', 'pool': 'pool', 'fused': 'fused', 'adapter': 'adapter',
          'reduced': 'reduced'}
_FIELD_OF = {axis: field for field, axis in FIELDS.items()}
# What lives of every stack, see `Choice.living`.
Living = Mapping[str, tuple[tuple[int, int], ...]]


def kept(sizes: Mapping[str, Any], keep: Mapping[str, Any]) -> dict[str, Any]:
  """Sizes of a model with some of its channels.

  Args:
    sizes: by field.
    keep: see `Choice`.
  """
  sizes = dict(sizes)
  bases = {base(name) for name in keep}
  # What follows from a size that changes stays what it is.
  if bases & {'embed', 'heads'} and 'head_dim' in sizes:
    sizes['head_dim'] = _head_dim(*(
        sizes[field] for field in ('width', 'heads', 'head_dim')))
  if bases & {'embed', 'pool'} and sizes.get('pool', 0) is None:
    sizes['pool'] = sizes['width']
  for name, index in keep.items():
    axis, _, owner = name.partition('@')
    field = _FIELD_OF.get(axis)
    if field not in sizes:
      raise ValueError(f'the choice keeps some of {name!r}, but this model has '
                       f'no size of {axis!r}; leave it out.')
    count, *channels = getattr(index, 'shape', None) or _shape(index)
    sizes[field] = _with(sizes[field], owner, count, field)
    if channels:
      sizes['head_dim'] = _with(
          sizes['head_dim'], owner, channels[0], 'head_dim')
  return sizes


def _shape(index):
  """Of nested tuples."""
  rows = index and isinstance(index[0], tuple)
  return (len(index), len(index[0])) if rows else (len(index),)


def _head_dim(width, heads, head_dim):
  """Channels of a head, said where they follow from other sizes."""
  if isinstance(width, tuple):
    return tuple(map(_head_dim, width, heads, head_dim or [None] * len(width)))
  if head_dim is not None:
    return head_dim
  if isinstance(heads, Sizes):
    return Sizes.of({path: width // n for path, n in heads.to_dict().items()})
  return width // heads


def _with(size, owner, count, field):
  """A size whose owner has `count` units from now on."""
  if isinstance(size, tuple):
    stages = [f'stage_{i}' for i in range(len(size))]
    check_name(owner.split('/')[0], stages, f'owner of {field}')
    here = stages.index(owner.split('/')[0])
    return tuple(_with(one, owner, count, field) if i == here else one
                 for i, one in enumerate(size))
  if field == 'width' or not owner:
    return count
  given = size.to_dict() if isinstance(size, Sizes) else {'': size}
  return Sizes.of(given | {owner: count})


def moved(size: Any, living: Living, skip: Collection[str] | None) -> Any:
  """A size whose exceptions stand where their layers are; the rest goes."""
  if isinstance(size, tuple):
    return tuple(moved(one, living, skip) for one in size)
  if not isinstance(size, Sizes):
    return size
  found = {renumbered(path, living, skip): n for path, n in size.other}
  found.pop(None, None)
  return Sizes.of({'': size.usual} | found)


def renumbered(path: str, living: Living,
               skip: Collection[str] | None = None) -> str | None:
  """Where an owner stands among the layers that live; None if it does not.

  Args:
    path: of a layer, of what runs in its place, or of a module in either.
    living: the layers that live.
    skip: paths of the layers that do not, so that their adapters do; None where
      both are there.
  """
  for stack, layers in living.items():
    if not path.startswith(f'{stack}/'):
      continue
    name, _, rest = path.removeprefix(f'{stack}/').partition('/')
    kind = SKIP if name.startswith(SKIP) else LAYER
    number = int(name.removeprefix(kind))
    if skip is not None and (kind == LAYER) == (
        f'{stack}/{LAYER}{number}' in skip):
      return None
    half = int(rest.split('/')[0] == 'ffn')
    for new, old in enumerate(layers):
      if old[half] == number:
        return '/'.join(filter(None, (stack, f'{kind}{new}', rest)))
    return None
  return path


def usual(sizes: Mapping[str, Any], shapes: Any, axes: Any) -> dict[str, Any]:
  """The same sizes with as few exceptions as can be.

  Args:
    sizes: by field.
    shapes: of the model's parameters.
    axes: tree of tuples of their full axis names.
  """
  leaves, owners = flatten(shapes), collections.defaultdict(dict)
  for path, names in flatten(axes).items():
    for name, size in zip(names, leaves[path].shape):
      axis, _, owner = name.partition('@')
      if owner and axis in _FIELD_OF:
        owners[_FIELD_OF[axis]][owner] = size
  sizes = {field: _usual(size, owners[field]) for field, size in sizes.items()}
  parts = [sizes.get(field) for field in ('heads', 'head_dim', 'width')]
  if all(isinstance(part, int) for part in parts):
    heads, head_dim, width = parts
    sizes['head_dim'] = None if heads * head_dim == width else head_dim
  return sizes


def _usual(size, owners):
  if isinstance(size, tuple):
    inside = lambda stage: {path: n for path, n in owners.items()
                            if path.startswith(f'stage_{stage}/')}
    return tuple(_usual(one, inside(i)) for i, one in enumerate(size))
  if not isinstance(size, Sizes) or not owners:
    return size
  (most, _), = collections.Counter(owners.values()).most_common(1)
  return Sizes.of({'': most} | owners)


def narrowed(field: str, size: Any, sub: Submodel) -> Any:
  """What the width of a submodel keeps of a size."""
  if size is None:
    return None
  if isinstance(size, Sizes):
    other = {path: sub.units(Axis(FIELDS[field], n, path))
             for path, n in size.other}
    return Sizes.of({'': _nearly(field, size.usual, sub)} | other)
  if not isinstance(size, tuple):
    return sub.units(Axis(FIELDS[field], size))
  if all(isinstance(one, int) for one in size):
    check_stages(size, lambda common: narrowed(field, common, sub))
  return tuple(narrowed(field, one, sub) for one in size)


def _nearly(field, size, sub):
  """The usual size, which may be nobody's, so that a ratio need not fit it.

  If it is somebody's after all, cutting the parameters says so.
  """
  try:
    return sub.units(Axis(FIELDS[field], size))
  except ValueError:
    return max(1, int(sub.width * size))


def check_stages(sizes: tuple[int, ...], of: Callable[[int], Any]) -> None:
  """Raises where a ratio does not fit the sizes of all stages."""
  # It fits them if it fits what they have in common.
  common = math.gcd(*sizes)
  try:
    of(common)
  except ValueError as error:
    raise ValueError(f'stages of {", ".join(map(str, sizes))} share a divisor '
                     f'of {common}, and {error}') from None
