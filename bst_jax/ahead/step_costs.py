"""Operations of a whole training step, from exact counts of forward passes."""
from collections.abc import Mapping
from typing import Any

from bst_jax import costs
from bst_jax.elastic import FULL, Submodel
from bst_jax.experiment import Experiment
import jax
import numpy as np

BACKWARD = 2  # Products of a backward pass for one of the forward pass.


def flops(exp: Experiment, batch: Mapping[str, Any]) -> float | None:
  """Operations of the products of a step, two a multiply-accumulate.

  A part that learns counts three times its forward pass; a teacher and frozen
  parts once. Of submodels that a step draws the mean counts.

  Args:
    exp: the experiment.
    batch: arrays or their shapes.

  Returns:
    The count; None for methods that this file does not know.
  """
  trunk, whole = _shared(exp, batch)
  learning = (1 + BACKWARD) * trunk['learns'] + trunk['frozen']
  once = lambda sub: _forward(exp, sub, whole)
  learnt = lambda sub: (
      (1 + BACKWARD) * once(sub)['learns'] + once(sub)['frozen'])
  method = dict(exp.config.method)
  if method['name'] == 'plain':
    return 2.0 * (learning + learnt(FULL))
  if method['name'] == 'bst':
    smallest, *middle, full = exp.space
    total = learning + learnt(smallest) + learnt(full)
    if middle:
      total += method.get('sampled', 3) * np.mean([*map(learnt, middle)])
    if method.get('teacher', 'frozen') == 'frozen':
      total += sum(trunk.values()) + sum(once(FULL).values())
    return 2.0 * float(total)
  return None


def forward(exp: Experiment, sub: Submodel, batch: Mapping[str, Any]) -> float:
  """Operations of the products of one forward pass, trunk included."""
  trunk, whole = _shared(exp, batch)
  return 2.0 * (sum(trunk.values()) + sum(_forward(exp, sub, whole).values()))


def _shared(exp, batch):
  """Counts of what all submodels read alike, and the batch with it."""
  if not hasattr(exp.model, 'shared'):
    return {'learns': 0, 'frozen': 0}, dict(batch)
  share = lambda params, batch: exp.model.apply(
      {'params': params}, batch, method='shared')
  return (_parted(exp, costs.count(share, exp.shapes, batch)),
          dict(batch) | jax.eval_shape(share, exp.shapes, batch))


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
