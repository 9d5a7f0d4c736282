"""What answers lose without a channel, by running the model without it.

A hidden unit, or a channel of a head, is removed by a gate at zero: nothing
counts it, so that zeros are removal, with the scale of the scores as it is. A
channel of the stream, or of a coarser grid, is cut out, as normalisations count
it. Channels of the first kind share one program, of the others each set has its
own, whatever their number.

Reference: Yu & Wu, "A Unified Pruning Framework for Vision Transformers", arXiv
  2111.15127, the leave-one-out score.
Differs: the mean over pictures, not the sum.
"""
from collections.abc import Callable, Mapping
from typing import Any

from bst_jax import elastic
from bst_jax.elastic import base, Choice
from bst_jax.pruning import gates as gates_lib
from bst_jax.pruning.scores import divergence
from bst_jax.run.experiment import Experiment
import jax
import jax.numpy as jnp


def scorer(exp: Experiment, name: str, shared: dict[str, Any]) -> Callable:
  """A function (params, batch, teacher, j) -> float32[B], of one index set.

  It is the divergence of the answers without channel j from a teacher's logits.

  Args:
    exp: whose model is scored.
    name: full axis name of the set.
    shared: programs of earlier calls, which this one may take or add to.
  """
  if base(name) in gates_lib.EXACT:
    if 'gates' not in shared:
      shared['gates'] = jax.jit(_by_gates(exp))
    count = gates_lib.ones(exp.shapes, exp.axes)

    def of_gates(params, batch, teacher, j):
      return shared['gates'](params, batch, teacher, count | {
          name: count[name].at[j].set(0.0)})

    return of_gates
  if name not in shared:
    shared[name] = jax.jit(_by_cut(exp, name))
  return shared[name]


def logits(exp: Experiment, model: Any, params: Any,
           batch: Mapping[str, Any]) -> jax.Array:
  """float32[B, A], the main output."""
  outputs = model.apply({'params': params}, batch)
  return outputs[exp.task.outputs[0]].astype(jnp.float32)


def _by_gates(exp):
  def run(params, batch, teacher, gates):
    params = gates_lib.gated(params, exp.axes, gates)
    return divergence(teacher, logits(exp, exp.model, params, batch))
  return run


def _by_cut(exp, name):
  count = gates_lib.ones(exp.shapes, exp.axes)[name].size
  left = jnp.arange(count - 1)
  # Which channels these are decides no shape: any choice makes the model.
  small = exp.model.chosen(Choice(keep={name: tuple(range(count - 1))}))

  def run(params, batch, teacher, j):
    choice = Choice(keep={name: left + (left >= j)})
    params = elastic.cut(params, exp.axes, choice, exp.model.stacks)
    return divergence(teacher, logits(exp, small, params, batch))
  return run
