"""The options that a section of a config may have, whether it lists them or not."""
from collections.abc import Mapping
import inspect
from typing import Any


def of(config: Mapping[str, Any], section: str
       ) -> Mapping[str, inspect.Parameter] | None:
  """Options of a section of a config, as 'model', by name; None where they are
  not known, as of sections that name nothing.

  Nothing heavy is loaded before somebody asks.

  Args:
    config: of an experiment or of its teacher.
    section: its key.

  Raises:
    ValueError: the section names a model, say, that there is not.
  """
  from bst_jax import methods, models, tasks
  from bst_jax.data import forms
  from bst_jax.learn import optimizers, schedules

  parts = {'model': models, 'method': methods, 'task': tasks,
           'optimizer': optimizers, 'schedule': schedules}
  if section == 'data':
    return forms.arguments(config[section].get('form', 'auto'))
  if section not in parts or 'name' not in config[section]:
    return None
  options = parts[section].arguments(config[section]['name'])
  if section == 'optimizer':
    options = options | _RATE
  return options


# What every optimiser has beside the arguments of its own.
_RATE = {name: inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY,
                                 default=usual, annotation=Any if usual is None
                                 else type(usual))
         for name, usual in (('name', ''), ('lr', 0.0), ('clip', 0.0),
                             ('parts', None))}
