"""Parameters and multiply-accumulates, exactly, from names and shapes.

Nothing here knows a model: the program is traced with abstract arrays and its
products are counted. Published figures are named conventions over that count.
"""
from __future__ import annotations

import collections
from collections.abc import Callable, Mapping
import dataclasses
import math
import re
from typing import Any

from bst_jax import elastic
from bst_jax.layers import platforms
import jax
from jax.extend.core import jaxprs_in_params

# linear: product with a weight; attention: product of two activations;
# norm: elements that a layer normalisation writes, which are no products.
KINDS = ('linear', 'attention', 'convolution', 'recurrence', 'norm')


@dataclasses.dataclass(frozen=True)
class Costs:
  """Counts of one forward pass by (scope, kind); scopes are module paths."""

  counts: Mapping[tuple[str, str], int]

  @property
  def macs(self) -> int:
    """Multiply-accumulates of all products."""
    return sum(n for (_, kind), n in self.counts.items() if kind != 'norm')

  def by_kind(self) -> dict[str, int]:
    """Counts by kind of operation."""
    total = collections.Counter()
    for (_, kind), n in self.counts.items():
      total[kind] += n
    return {kind: total[kind] for kind in KINDS}

  def by_part(self) -> dict[str, int]:
    """Multiply-accumulates by top-level module."""
    total = collections.Counter()
    for (scope, kind), n in self.counts.items():
      if kind != 'norm':
        total[scope.split('/')[0]] += n
    return dict(total)


# How published tables turn the count into "FLOPs".
CONVENTIONS: dict[str, Callable[[Costs], int]] = {
    # ATS, UP-ViTs, MiniVLM: multiply-accumulates.
    'mac': lambda costs: costs.macs,
    # BST: two for a multiply-accumulate, recurrence and classifier included.
    'bst': lambda costs: 2 * costs.macs,
    # DAS: multiply-accumulates and five per normalised element; the caller
    # counts a model without its head.
    'das': lambda costs: costs.macs + 5 * costs.by_kind()['norm'],
}


def count(function: Callable, *args: Any) -> Costs:
  """Counts `function(*args)`; arrays may be jax.ShapeDtypeStructs.

  Raises:
    ValueError: the program holds a loop whose length is not known.
  """
  counts = collections.Counter()
  with platforms.portable():
    program = jax.make_jaxpr(function)(*args).jaxpr
  _walk(program, counts, '', 1, ())
  return Costs(dict(counts))


def of(model: Any, params: Any, batch: Mapping[str, Any]) -> Costs:
  """Counts a model's forward pass on a batch, by its module paths."""
  costs = count(lambda p, b: model.apply({'params': p}, b), params, batch)
  name = type(model).__name__
  # Flax writes a method of the model, as `Model._question`, before the modules
  # that it calls.
  total = collections.Counter()
  for (scope, kind), n in costs.counts.items():
    total[re.sub(rf'^{name}/({name}\.\w+/)*', '', scope), kind] += n
  return Costs(dict(total))


def parameters(params: Any) -> dict[str, int]:
  """Number of parameters by top-level module."""
  return {part: elastic.size(tree) for part, tree in params.items()}


def xla_flops(function: Callable, *args: Any) -> float:
  """XLA's own count of the compiled program, for comparison only."""
  analysis = jax.jit(function).lower(*args).compile().cost_analysis()
  return float(analysis['flops'])


def _walk(jaxpr, counts, scope, times, constants):
  """Adds the counts of a program, run `times` times.

  `constants` are the variables that an enclosing loop does not change: a
  product with one of them is a recurrence, while layers that are scanned bring
  a weight of their own each time.
  """
  for eqn in jaxpr.eqns:
    here = '/'.join(filter(None, (scope, str(eqn.source_info.name_stack))))
    name, params = eqn.primitive.name, eqn.params
    if name == 'dot_general':
      counts[here, _product(eqn, constants)] += times * _dot(eqn)
    elif name == 'conv_general_dilated':
      counts[here, 'convolution'] += times * _convolution(eqn)
    elif params.get('name') == '_layer_norm':
      counts[here, 'norm'] += times * eqn.outvars[0].aval.size
    elif name == 'scan':
      body = _open(params['jaxpr'])
      _walk(body, counts, here, times * params['length'],
            _constants(eqn, body))
    elif name == 'while':
      inner = collections.Counter()
      _walk(_open(params['body_jaxpr']), inner, here, times, ())
      if inner:
        raise ValueError(f'a loop of unknown length in {here} holds products; '
                         'write it as a scan to have it counted.')
    elif name == 'cond':
      branches = []
      for branch in params['branches']:
        branches.append(collections.Counter())
        _walk(_open(branch), branches[-1], here, times, ())
      counts.update(max(branches, key=lambda c: sum(c.values())))
    else:
      for inner in jaxprs_in_params(params):
        _walk(inner, counts, here, times, ())


def _open(program):
  """The program itself, whether or not its jax wraps it with constants."""
  return getattr(program, 'jaxpr', program)


def _constants(scan, body):
  """The body's inputs that a scan does not change, which come first.

  Carries keep their rank in and out; what is scanned has one axis more outside.
  (The parameter that says how many there are differs between jax versions.)
  """
  same = lambda inside, outside: sum(
      i.aval.ndim == o.aval.ndim for i, o in zip(inside, outside))
  kept, carried = same(body.invars, scan.invars), same(body.outvars,
                                                       scan.outvars)
  return body.invars[:kept - carried]


def _product(eqn, constants):
  if any(operand is c for operand in eqn.invars for c in constants):
    return 'recurrence'
  (_, _), (batch, _) = eqn.params['dimension_numbers']
  return 'attention' if batch else 'linear'


def _dot(eqn):
  (contract, _), _ = eqn.params['dimension_numbers']
  left = eqn.invars[0].aval.shape
  return eqn.outvars[0].aval.size * math.prod(left[i] for i in contract)


def _convolution(eqn):
  kernel = eqn.invars[1].aval.shape
  channels_out = eqn.params['dimension_numbers'].rhs_spec[0]
  # The kernel's input channels are already those of one group.
  return eqn.outvars[0].aval.size * (
      math.prod(kernel) // kernel[channels_out])
