"""What answers lose without a channel, by running the model without it.

A hidden unit, or a channel of a head, is removed by a gate at zero: nothing
counts it, so that zeros are removal, with the scale of the scores as it is. A
channel of the stream, or of a coarser grid, is cut out, as normalisations count
it. Every index set has a program of its own, whatever the number of its
channels, which runs the model from where the set begins (`suffix`).

Reference: Yu & Wu, "A Unified Pruning Framework for Vision Transformers", arXiv
  2111.15127, the leave-one-out score.
Differs: the mean over pictures, not the sum.
"""
from collections.abc import Mapping
import functools
from typing import Any

from bst_jax import elastic
from bst_jax.elastic import base, Choice
from bst_jax.pruning import gates as gates_lib
from bst_jax.pruning import watched
from bst_jax.pruning.scores import counts_of, divergence
from bst_jax.pruning.suffix import answers_alone, Suffix
from bst_jax.run.experiment import Experiment
from flax import linen as nn
import jax
import jax.numpy as jnp


class Scorer:
  """Exact scores of the channels of one index set.

    kept = scorer.start(params, batch)
    scorer(params, batch, teacher, kept, [3, 4, 5])
  """

  def __init__(self, exp: Experiment, name: str, chunk: int = 1,
               where: Any = None,
               modules: Mapping[watched.Path, type] | None = None):
    """
    Args:
      exp: whose model is scored.
      name: full axis name of the set.
      chunk: channels that are worked on side by side. On a CPU more than one
        is slower; on an accelerator it fills the device.
      where: sharding of the scores; None leaves it to the compiler.
      modules: of `watched.modules`, where they are known already.
    """
    model = watched.plain(exp.model)
    self._suffix = Suffix(exp, name, modules)
    run = _by_gates if base(name) in gates_lib.EXACT else _by_cut
    one = run(exp, model, name, self._suffix)

    def scores(params, batch, teacher, kept, js):
      return jax.lax.map(
          functools.partial(one, params, batch, teacher, kept), js,
          batch_size=chunk if chunk > 1 else None)

    self._run = jax.jit(scores, out_shardings=where)
    self._start = jax.jit(lambda params, batch: self._suffix.kept(
        lambda: logits(exp, model, params, batch)))

  def start(self, params: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
    """What is computed once for all channels, of `batch`."""
    return self._start(params, batch)

  def __call__(self, params: Any, batch: Mapping[str, Any],
               teacher: jax.Array, kept: Mapping[str, Any], js: Any
               ) -> jax.Array:
    """float32[n, B], the divergence of the answers without each channel.

    Args:
      params: of the whole model.
      batch: pictures.
      teacher: float[B, A], the logits of the whole model.
      kept: of `start`, of the same batch.
      js: int[n], the channels.
    """
    return self._run(params, batch, teacher, kept, jnp.asarray(js, jnp.int32))


def logits(exp: Experiment, model: nn.Module, params: Any,
           batch: Mapping[str, Any]) -> jax.Array:
  """float32[B, A], the main output."""
  outputs = model.apply({'params': params}, batch)
  return outputs[exp.task.outputs[0]].astype(jnp.float32)


def _by_gates(exp, model, name, suffix):
  """(params, batch, teacher, kept, j) -> float32[B]."""
  ones = jnp.ones(counts_of(exp.shapes, exp.axes)[name])

  def run(params, batch, teacher, kept, j):
    kernel = None
    if suffix.summed is None:
      params = gates_lib.gated(params, exp.axes, {name: ones.at[j].set(0.0)})
    else:
      kernel = elastic.flatten(params)['/'.join((*suffix.summed, 'kernel'))]
    return divergence(teacher, suffix.rest(
        lambda: logits(exp, model, params, batch), kept, kernel, j,
        answers_alone(model)))

  return run


def _by_cut(exp, model, name, suffix):
  """As `_by_gates`."""
  left = jnp.arange(counts_of(exp.shapes, exp.axes)[name] - 1)
  # Which channels these are decides no shape: any choice makes the model.
  small = model.chosen(Choice(keep={name: tuple(range(left.size))}))

  def run(params, batch, teacher, kept, j):
    choice = Choice(keep={name: left + (left >= j)})
    params = elastic.cut(params, exp.axes, choice, exp.model.stacks)
    return divergence(teacher, suffix.rest(
        lambda: logits(exp, small, params, batch), kept,
        more=answers_alone(small)))

  return run
