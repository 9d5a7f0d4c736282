"""Operations of a whole training step, from exact counts of forward passes."""
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from bst_jax import elastic
from bst_jax.elastic import FULL, Submodel
from bst_jax.learn import paths
from bst_jax.learn.state import Pass
from bst_jax.report import costs
from bst_jax.run.experiment import Experiment
import jax

BACKWARD = 2  # Products of a backward pass for one of the forward pass.


def flops(exp: Experiment, passes: Sequence[Pass], batch: Mapping[str, Any],
          frozen: Collection[str] = ()) -> float:
  """Operations of the products of a step, two a multiply-accumulate.

  A part that learns counts three times its forward pass; a teacher and frozen
  parts once. Where single parameters are frozen, gradients still go through
  what lies behind the first that learns: the products of a backward pass are
  counted then.

  Args:
    exp: the experiment.
    passes: that a step makes, from its `Method`.
    batch: arrays or their shapes.
    frozen: paths of parameters that the optimiser leaves alone.
  """
  trunk, whole = _shared(exp, batch)
  every = lambda macs: (1 + BACKWARD) * macs['learns'] + macs['frozen']
  share = 1.0
  if frozen:
    share = _traced(exp, batch, frozen) / (
        every(trunk) + every(_forward(exp, FULL, whole)))
  learning = lambda macs: share * every(macs)
  total = learning(trunk)  # Once, for all that learn.
  for one in passes:
    if one.model is not None:
      total += one.times * _other(one.model, batch)
      continue
    macs = _forward(exp, one.sub, whole)
    total += one.times * (
        learning(macs) if one.learns
        else sum(macs.values()) + sum(trunk.values()))
  return 2.0 * total


def forward(exp: Experiment, sub: Submodel, batch: Mapping[str, Any]) -> float:
  """Operations of the products of one forward pass, trunk included."""
  trunk, whole = _shared(exp, batch)
  return 2.0 * (sum(trunk.values()) + sum(_forward(exp, sub, whole).values()))


def _traced(exp, batch, frozen):
  """Multiply-accumulates of a pass of the full model, and of the gradients of
  what is not frozen.
  """
  trained, rest = paths.split(exp.shapes, frozen)

  def gradients(trained, rest, batch):
    outputs = lambda trained: sum(
        output.sum() for output in exp.model.apply(
            {'params': paths.join(trained, rest)}, batch).values())
    return jax.grad(outputs)(trained)

  return costs.count(gradients, trained, rest, dict(batch)).macs


def _shared(exp, batch):
  """Counts of what all submodels read alike, and the batch with it."""
  if not hasattr(exp.model, 'shared'):
    return {'learns': 0, 'frozen': 0}, dict(batch)
  share = lambda params, batch: exp.model.apply(
      {'params': params}, batch, method='shared')
  return (_parted(exp, costs.count(share, exp.shapes, batch)),
          dict(batch) | jax.eval_shape(share, exp.shapes, batch))


def _other(model, batch):
  """Multiply-accumulates of the forward pass of a model beside the trained."""
  shapes = elastic.unbox(jax.eval_shape(
      model.init, jax.random.key(0), dict(batch))['params'])
  return costs.of(model, shapes, batch).macs


def _forward(exp, sub, batch):
  return _parted(exp, costs.of(exp.model.at(sub), exp.shapes_at(sub), batch))


def _parted(exp, count):
  """Multiply-accumulates of what learns, and of what is frozen."""
  total = {'learns': 0, 'frozen': 0}
  for (scope, kind), macs in count.counts.items():
    if kind != 'norm':
      frozen = any(part in scope.split('/') for part in exp.frozen_parts)
      total['frozen' if frozen else 'learns'] += macs
  return total
