"""Ways of training, one file each: `make(...)` returns a `Method`.

A name with a dot in it, as `my_package.my_method`, is a module of a user's own.
"""
from collections.abc import Mapping
from typing import Any

from bst_jax.elastic import by_name, check_name
from bst_jax.learn.state import Method


def create(config: Mapping[str, Any], **parts: Any) -> Method:
  """Calls `make` of the module that `config['name']` names.

  Args:
    config: `name` and the method's options.
    **parts: model, task, tx, axes, space and micro_batches.

  Raises:
    ValueError: no such method or option.
  """
  options = dict(config)
  name = options.pop('name')
  make = by_name(name, __name__, 'method', 'make').make
  for option in options:  # Keyword-only arguments with a default.
    check_name(option, make.__kwdefaults__ or (), f'option of method {name}')
  return make(**parts, **options)
