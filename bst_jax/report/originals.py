"""The functions of jax and flax as they were before a converter replaced them.

jax2onnx puts functions of its own in the place of many of jax's while it traces
a program: several take fewer arguments than jax's, some fail for a batch of any
size, and one (`jnp.cumsum`) is never put back. A program that is traced with
jax's own functions needs none of them.
"""
from collections.abc import Iterator
import contextlib
import importlib
from typing import Any

# Whose functions, and the calls of whose classes, jax2onnx replaces.
_MODULES = ('jax.image', 'jax.lax', 'jax.nn', 'jax.nn.initializers',
            'jax.numpy', 'jax.numpy.linalg', 'jax.random', 'jax.scipy.special',
            'flax.linen', 'flax.linen.activation', 'flax.linen.attention',
            'flax.linen.pooling', 'flax.nnx')
_ABSENT = object()


class Originals:
  """The functions of jax and flax at the time that this is made."""

  def __init__(self):
    self._values = dict(_attributes())

  @contextlib.contextmanager
  def kept(self) -> Iterator[None]:
    """Whatever is replaced within is as it was behind."""
    try:
      yield
    finally:
      _put(self._values)

  @contextlib.contextmanager
  def used(self) -> Iterator[None]:
    """The originals within, what replaced them behind."""
    replaced = {key: vars(key[0]).get(key[1], _ABSENT) for key in self._values}
    _put(self._values)
    try:
      yield
    finally:
      _put(replaced)


def _attributes() -> Iterator[tuple[tuple[Any, str], Any]]:
  """((owner, name), value) of every function, and of every class its call.

  A class that inherits its call has none of its own: `_ABSENT`.
  """
  for module in map(importlib.import_module, _MODULES):
    for name, value in list(vars(module).items()):
      if callable(value):
        yield (module, name), value
        if isinstance(value, type) and value.__module__.startswith('flax'):
          yield (value, '__call__'), vars(value).get('__call__', _ABSENT)


def _put(values: dict[tuple[Any, str], Any]) -> None:
  for (owner, name), value in values.items():
    if vars(owner).get(name, _ABSENT) is value:
      continue
    if value is _ABSENT:
      delattr(owner, name)
    else:
      setattr(owner, name, value)
