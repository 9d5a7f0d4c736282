"""What all parts of a model read alike, computed once a step."""
from collections.abc import Callable
import functools
from typing import Any

from bst_jax import elastic
from bst_jax.learn import paths
from bst_jax.learn import state as states
from flax import linen as nn
import jax
import jax.numpy as jnp


def run_shared(model: nn.Module, params: Any, batch: Any, key: jax.Array,
               ) -> tuple[Any, Any, Callable[[Any, Any], Any], Any]:
  """What all submodels read alike, computed once.

  Args:
    model: the full model.
    params: what is trained and what is not.
    batch: arrays.
    key: of dropout.

  Returns:
    The batch, to which what needs no gradients was added; the rest of it; a
    function that adds the gradients of the latter to those of the parameters;
    and the batch statistics that were written.
  """
  trained, rest = params
  run = lambda trained: states.forward(
      model, paths.join(trained, rest), batch, key, method='shared')
  pass_on = lambda grads, cotangent: grads
  if not hasattr(model, 'shared'):
    return batch, {}, pass_on, {}
  if rest and not _reads(model, batch) & elastic.flatten(trained).keys():
    once, written = run(trained)
    return batch | once, {}, pass_on, written
  once, pull, written = jax.vjp(run, trained, has_aux=True)
  if not once:
    return batch, {}, pass_on, written
  return batch, once, lambda grads, cotangent: jax.tree.map(
      jnp.add, grads, pull(cotangent)[0]), written


def _reads(model, batch):
  """Paths of the parameters that `shared` reads."""
  init = functools.partial(model.init, method='shared')
  return elastic.flatten(jax.eval_shape(
      init, jax.random.key(0), batch).get('params', {})).keys()
