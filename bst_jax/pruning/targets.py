"""What a model is to become: sizes of a known one, or of a budget."""
from typing import Any

from bst_jax import elastic
from bst_jax.elastic import base, Choice
from bst_jax.pruning import select
from bst_jax.report import costs
from bst_jax.report.budget import Budget
from bst_jax.run.experiment import Experiment
import jax

# Known models, of which the parent is a wider one: backbone, the width of its
# first stage, and the rule by which heads are made, as published.
KNOWN = {'deit_tiny': ('vit', 192, 'segment'),
         'deit_small': ('vit', 384, 'segment'),
         'pvt_v2_b0': ('pvt', 32, 'per_head')}
# Costs that names and shapes tell.
_COSTS = ('macs', 'params')
_STEPS = 256  # Shares that are looked at are so many.


def sizes(exp: Experiment, target: str, rule: str | None = None,
          multiple: int = 1) -> tuple[dict[str, Any], str]:
  """Sizes of all sets, as `select.choice` takes them, and the rule of heads.

  Args:
    exp: whose model is to become smaller.
    target: a name of `KNOWN`, or a budget, as `macs<=1.3G`.
    rule: of `select.RULES`; None for the one that fits the target.
    multiple: sizes are rounded up to it.

  Raises:
    ValueError: no such target, one that is larger than the model, or one that
      nothing meets; the nearest is named.
  """
  if target in KNOWN:
    return _known(exp, target, rule)
  if '<=' not in target:
    raise ValueError(
        f'target {target!r} is none of {", ".join(KNOWN)}, and no budget; write '
        "one as 'macs<=1.3G' or 'params<=5M' (in quotes, for the shell).")
  budget, rule = Budget.parse(target), rule or 'per_head'
  if budget.key not in _COSTS:
    raise ValueError(f'target {target!r} is measured, and prune counts; give a '
                     f'budget of {" or ".join(_COSTS)}.')
  make = lambda step: select.uniform(
      exp.shapes, exp.axes, step / _STEPS, multiple, rule)
  cost = lambda step: _cost(exp, make(step), budget.key, rule)
  if cost(1) > budget.limit:
    raise ValueError(
        f'{target} was asked for, but no selection meets it: the smallest, one '
        f'channel or {multiple} of each set, has {budget.key} {cost(1):,}. '
        'Choose a larger budget, or extract fewer layers first.')
  low, high = 1, _STEPS
  if cost(high) <= budget.limit:
    return make(high), rule
  while high - low > 1:
    middle = (low + high) // 2
    low, high = ((middle, high) if cost(middle) <= budget.limit
                 else (low, middle))
  return make(low), rule


def _known(exp, target, rule):
  """Sizes of a published model."""
  backbone, wanted, usual = KNOWN[target]
  name = exp.config.model.name
  width = exp.model.width
  width = width[0] if isinstance(width, tuple) else width
  if name != backbone:
    raise ValueError(f'target {target} is a {backbone}, but the model is a '
                     f'{name}; give a budget, as macs<=1.3G.')
  if wanted > width:
    raise ValueError(
        f'target {target} has a width of {wanted}, but the model has {width}. '
        'Pruning makes nothing larger: choose a larger parent.')
  return select.uniform(exp.shapes, exp.axes, wanted / width,
                        rule=rule or usual), rule or usual


def _cost(exp, sizes, key, rule):
  """Multiply-accumulates or parameters of the model that is left."""
  flat, sets, keep = elastic.flatten(exp.shapes), elastic.groups(exp.axes), {}
  for name, size in sizes.items():
    path, dim = sets[name][0]
    there = flat[path].shape[dim]
    if base(name) == 'heads':  # Which channels these are changes no cost.
      width = flat[path].shape[dim + 1]
      if size != (there, width):
        heads, narrow = size
        step = there * width // heads if rule == 'segment' else width
        keep[name] = tuple(tuple(range(i * step, i * step + narrow))
                           for i in range(heads))
    elif size != there:
      keep[name] = tuple(range(size))
  choice = Choice(keep=keep)
  shapes = jax.eval_shape(lambda p: exp.cut(p, choice), exp.shapes)
  if key == 'params':
    return elastic.size(shapes)
  return costs.of(exp.model.chosen(choice), shapes, exp.example()).macs
