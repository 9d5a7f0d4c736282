"""Ways of training, one file each: `make(...)` returns a `Method`.

A name with a dot in it, as `my_package.my_method`, is a module of a user's own.
"""
from collections.abc import Mapping
import inspect
from typing import Any

from bst_jax.elastic import by_name, check_name
from bst_jax.learn.state import Method

# What a method may ask of the data.
_OF_DATA = 'data', 'sizes'


def create(config: Mapping[str, Any], teacher_model: Any = None,
           teacher_index: Any = None, **parts: Any) -> Method:
  """Calls `make` of the module that `config['name']` names.

  Args:
    config: `name` and the method's options.
    teacher_model: of `config.teacher_from`; None where there is none.
    teacher_index: which of its features are the model's, for methods that learn
      from features.
    **parts: model, task, tx, axes, space and micro_batches; data, which may be
      None, and their sizes, for methods that take them.

  Raises:
    ValueError: no such method or option, or one that no other model can teach.
  """
  options = dict(config)
  name = options.pop('name')
  make = by_name(name, __name__, 'method', 'make').make
  for option in options:
    check_name(option, arguments(name), f'option of method {name}')
  for part in _OF_DATA:
    if part not in (make.__kwdefaults__ or {}):
      parts.pop(part, None)
  if teacher_model is not None:
    if 'teacher_model' not in (make.__kwdefaults__ or {}):
      raise ValueError(f'config.teacher_from names a teacher, but nobody '
                       f'teaches in method {name}; leave it out.')
    parts['teacher_model'] = teacher_model
    if teacher_index is not None:
      parts['teacher_index'] = teacher_index
  return make(**parts, **options)


def option(config: Mapping[str, Any], name: str) -> Any:
  """An option of `config.method`, or the method's default."""
  return config.get(name, arguments(config['name'])[name].default)


def arguments(name: str) -> dict[str, inspect.Parameter]:
  """Options of a method, which `config.method` may give, by name."""
  make = by_name(name, __name__, 'method', 'make').make
  return {key: one for key, one in inspect.signature(make).parameters.items()
          if key in (make.__kwdefaults__ or {})  # Keyword-only, with a default.
          and key not in ('teacher_model', 'teacher_index', *_OF_DATA)}
