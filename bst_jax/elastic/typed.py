"""Whether values that files and flags give are of the types that they must."""
import collections.abc
import dataclasses
import os
import sys
import types
import typing
from typing import Any

import numpy as np

_WORDS = {int: 'a whole number', float: 'a number', str: 'text',
          bool: 'True or False', tuple: 'a list', type(None): 'None',
          collections.abc.Mapping: 'a dict', list: 'a list'}
_MOST = 1 << 31


def check(options: Any, where: str) -> None:
  """Raises where a field is of another type than its annotation.

  Args:
    options: an instance of a dataclass, whose values may come from a file or a
      flag.
    where: of a config they are, for the error: 'config.data'.

  Raises:
    ValueError: one is; it names the field, what it is and what it must be.
  """
  for field in dataclasses.fields(options):
    value = getattr(options, field.name)
    if not fits(value, field.type):
      raise ValueError(f'{where}.{field.name} is {value!r}, but it must be '
                       f'{word(field.type)}, as {field.default!r}.')


def fits(value: Any, kind: Any) -> bool:
  """Whether a value is of a type as annotations write it, or of an unknown one.

  Numbers may be numpy's; whole ones are what 32 bits hold, and others finite.
  """
  origin, inner = typing.get_origin(kind), typing.get_args(kind)
  if origin in (types.UnionType, typing.Union):
    return any(fits(value, one) for one in inner)
  if kind is type(None):
    return value is None
  if tuple in (kind, origin):
    if not isinstance(value, tuple) or not inner:
      return isinstance(value, tuple)
    if inner[-1] is Ellipsis:
      return all(fits(one, inner[0]) for one in value)
    return len(value) == len(inner) and all(map(fits, value, inner))
  if kind is bool:
    return isinstance(value, bool) or value in (0, 1)
  if kind is int:
    return isinstance(value, (int, np.integer)) and not isinstance(
        value, bool) and abs(value) < _MOST
  if kind is float:
    return isinstance(value, (int, float, np.number)) and not isinstance(
        value, bool) and abs(value) <= sys.float_info.max
  if kind is list:
    return isinstance(value, list)
  if kind is str:
    return isinstance(value, (str, os.PathLike))
  if dataclasses.is_dataclass(kind) or origin is collections.abc.Mapping:
    # A ConfigDict is no Mapping.
    return hasattr(value, 'items') or isinstance(value, origin or kind)
  return True


def word(kind: Any) -> str:
  """The same type in words."""
  origin, inner = typing.get_origin(kind), typing.get_args(kind)
  if origin in (types.UnionType, typing.Union):
    return ' or '.join(dict.fromkeys(map(word, inner)))
  if origin is tuple and inner:
    each = [one for one in inner if one is not Ellipsis]
    return f'a list of {" or ".join(dict.fromkeys(map(word, each)))}'
  return 'a dict' if dataclasses.is_dataclass(kind) else _WORDS.get(
      origin or kind, str(kind))
