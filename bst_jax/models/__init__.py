"""Backbones, one file each, found by name: no registry to edit.

A name with a dot in it, as `my_package.my_model`, is a module of a user's own.
"""
from collections.abc import Mapping
import inspect
from typing import Any

from bst_jax.elastic import by_name, check_name, limits, own_names, typed
from bst_jax.layers import products
from flax import linen as nn
import jax.numpy as jnp

# Of activations; parameters and what the loss is made of are float32.
DTYPES = {'float32': jnp.float32, 'bfloat16': jnp.bfloat16}
# How every model can be computed, whether or not it has these fields.
_USUAL = {'dtype': 'float32', 'remat': False, 'scan': False,
          'products': 'float32'}


def create(config: Mapping[str, Any],
           compute: Mapping[str, Any] | None = None, **sizes: Any) -> nn.Module:
  """Builds `Model` of the module that `config['name']` names.

  Args:
    config: `name` and keyword arguments of the model.
    compute: how it is computed, which changes neither its parameters nor, but
      for rounding, what it is: `dtype` of activations, `remat`, `scan`,
      `products`.
    **sizes: what data and space decide (`num_answers`, `strategy`, …); those
      that the model does not know are left out, those in config win.

  Raises:
    ValueError: no such model, or an argument that it does not take.
  """
  if not hasattr(config, 'items') or 'name' not in config:
    raise ValueError(f'config.model is {config!r}; it must be a dict with the '
                     "name of a model, as dict(name='mcan').")
  # A model is hashable; lists are what JSON makes of tuples.
  options = {k: tuple(v) if isinstance(v, list) else v
             for k, v in config.items()}
  name = options.pop('name')
  known = arguments(name)
  for option, value in options.items():
    check_name(option, known, f'argument of model {name}')
    kind = known[option].annotation
    if '.' not in name and not typed.fits(value, kind):
      raise ValueError(f'config.model.{option} is {limits.short(value)}, but '
                       f'model {name} takes {typed.word(kind)} there'
                       f'{", below 2**31" if type(value) is int else ""}.')
    if '.' not in name and option not in ('ats', 'outputs'):
      limits.check(name, option, value, known[option])
  model = by_name(name, __name__, 'model', 'Model').Model
  given = ({k: v for k, v in sizes.items() if k in known}
           | _computed(compute or {}, known, name) | options)
  missing = [k for k, one in known.items()
             if one.default is inspect.Parameter.empty and k not in given]
  if missing:
    raise ValueError(
        f'model {name} was to be built, but nothing tells its '
        f'{", ".join(missing)}: neither config.model nor the sizes of the data, '
        f'which are {", ".join(sorted(sizes)) or "none"}.')
  return model(**given)


def arguments(name: str) -> dict[str, inspect.Parameter]:
  """Arguments of a model, which `config.model` may give, by name."""
  model = by_name(name, __name__, 'model', 'Model').Model
  return {key: one for key, one in inspect.signature(model).parameters.items()
          if key not in ('parent', 'name')}


def list_models() -> list[str]:
  """Names of the backbones that `config.model.name` can be."""
  return own_names(__name__)


def _computed(compute, known, name):
  """Arguments of a model that say how it is computed."""
  for option, value in compute.items():
    check_name(option, _USUAL, 'key of config.compute')
    if value != _USUAL[option] and option not in known:
      raise ValueError(
          f'config.compute.{option}={value} was asked for, but model {name} '
          f'cannot be computed so; leave it {_USUAL[option]}.')
  found = {k: v for k, v in compute.items() if k in known}
  if 'dtype' in found:
    check_name(found['dtype'], DTYPES, 'config.compute.dtype')
    found['dtype'] = DTYPES[found['dtype']]
  if 'products' in found:
    check_name(found['products'], products.NAMES, 'config.compute.products')
  return found
