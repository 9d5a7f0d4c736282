"""Calls of a model's modules, handed over to who wants them otherwise.

The model itself is run, whatever backbone it is.
"""
from collections.abc import Callable, Mapping
from typing import Any

from bst_jax.run.experiment import Experiment
from flax import linen as nn
import jax

Path = tuple[str, ...]
# What becomes of a call: (run, args, options) -> output.
Handler = Callable[[Callable, tuple, dict], Any]


def handed(handlers: Mapping[Path, Handler]) -> Any:
  """A context in which calls of the modules at these paths are handed over."""
  def intercept(run, args, options, context):
    if context.method_name != '__call__':  # Others run without a path, too.
      return run(*args, **options)
    handler = handlers.get(context.module.path)
    return run(*args, **options) if handler is None else handler(
        run, args, options)

  return nn.intercept_methods(intercept)


def modules(exp: Experiment) -> dict[Path, type]:
  """Classes of all modules by their paths, in the order of their calls."""
  seen: dict[Path, type] = {}

  def intercept(run, args, options, context):
    if context.method_name == '__call__':
      seen.setdefault(context.module.path, type(context.module))
    return run(*args, **options)

  with nn.intercept_methods(intercept):
    jax.eval_shape(lambda params, batch: exp.model.apply(
        {'params': params}, batch), exp.shapes, exp.example())
  return seen


def plain(model: nn.Module) -> nn.Module:
  """The model with every layer a call of its own in one program."""
  return model.clone(**{field: False for field in ('remat', 'scan')
                        if hasattr(model, field)})
