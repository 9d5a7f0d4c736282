"""Backbones, one file each, found by name: no registry to edit."""
from collections.abc import Mapping
import dataclasses
import importlib
import pkgutil
from typing import Any

from bst_jax.elastic import check_name
from flax import linen as nn


def create(config: Mapping[str, Any], **sizes: Any) -> nn.Module:
  """Builds `Model` of the file that `config['name']` names.

  Args:
    config: `name` and keyword arguments of the model.
    **sizes: what data and space decide (`num_answers`, `strategy`, …); those
      that the model does not know are left out, those in config win.

  Raises:
    ValueError: no such model, or an argument that it does not take.
  """
  # A model is hashable; lists are what JSON makes of tuples.
  options = {k: tuple(v) if isinstance(v, list) else v
             for k, v in config.items()}
  name = options.pop('name')
  check_name(name, (m.name for m in pkgutil.iter_modules(__path__)), 'model')
  model = importlib.import_module(f'{__name__}.{name}').Model
  known = {f.name for f in dataclasses.fields(model)} - {'parent', 'name'}
  for option in options:
    check_name(option, known, f'argument of model {name}')
  return model(**{k: v for k, v in sizes.items() if k in known} | options)
