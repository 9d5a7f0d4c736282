"""Elastic vision-language and vision transformers in JAX and Flax.

Train once, then run whichever part of the model a platform can afford.

What is public is here, and is imported when it is first asked for:

  load, list_models                        a trained network as an object; names
  Axis, Submodel, Space, Choice, FULL      names, and which part of a model runs
  cut, Slices                              the parameters of a part
  Experiment, load_config                  a config, and the parts it describes
  elastic, models, methods, tasks          modules: what an experiment is made of
  experiment, checkpoint                   modules: to open and write workdirs
"""
import importlib
from typing import Any

__version__ = '0.1.0'

_MODULES = {
    'elastic': 'bst_jax.elastic',
    'models': 'bst_jax.models',
    'methods': 'bst_jax.methods',
    'tasks': 'bst_jax.tasks',
    'experiment': 'bst_jax.run.experiment',
    'checkpoint': 'bst_jax.store.checkpoint',
}
_MEMBERS = {
    'Axis': 'bst_jax.elastic',
    'Choice': 'bst_jax.elastic',
    'cut': 'bst_jax.elastic',
    'FULL': 'bst_jax.elastic',
    'Slices': 'bst_jax.elastic',
    'Space': 'bst_jax.elastic',
    'Submodel': 'bst_jax.elastic',
    'Experiment': 'bst_jax.run.experiment',
    'list_models': 'bst_jax.models',
    'load': 'bst_jax.run.loaded',
    'load_config': 'bst_jax.host.config_flag',
}
__all__ = ['__version__', *_MODULES, *_MEMBERS]


def __getattr__(name: str) -> Any:
  if name in _MODULES:
    return importlib.import_module(_MODULES[name])
  if name in _MEMBERS:
    return getattr(importlib.import_module(_MEMBERS[name]), name)
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
  return sorted(set(globals()) | set(__all__))
