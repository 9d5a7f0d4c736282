"""Ways of training, one file each: `make(...)` returns a `Method`."""
from collections.abc import Mapping
import importlib
import pkgutil
from typing import Any

from bst_jax.elastic import check_name
from bst_jax.learn.state import Method


def create(config: Mapping[str, Any], **parts: Any) -> Method:
  """Calls `make` of the file that `config['name']` names.

  Args:
    config: `name` and the method's options.
    **parts: model, task, tx, axes, space and micro_batches.

  Raises:
    ValueError: no such method or option.
  """
  options = dict(config)
  name = options.pop('name')
  check_name(name, (m.name for m in pkgutil.iter_modules(__path__)), 'method')
  make = importlib.import_module(f'{__name__}.{name}').make
  for option in options:  # Keyword-only arguments with a default.
    check_name(option, make.__kwdefaults__ or (), f'option of method {name}')
  return make(**parts, **options)
