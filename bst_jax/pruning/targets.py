"""What a model is to become: sizes of a known one, or of a budget."""
from typing import Any

from bst_jax import elastic
from bst_jax.pruning import select
from bst_jax.pruning.scores import counts_of, Scores
from bst_jax.report import costs
from bst_jax.report.budget import Budget
from bst_jax.run.experiment import Experiment
import jax
import numpy as np

# Published models: backbone, sizes, and the rule by which heads are made. Of
# stages there is a number for each.
KNOWN = {
    'deit_tiny': ('vit', 'segment', dict(width=192, heads=3, mlp=768,
                                         num_layers=12)),
    'deit_small': ('vit', 'segment', dict(width=384, heads=6, mlp=1536,
                                          num_layers=12)),
    'pvt_v2_b0': ('pvt', 'per_head', dict(
        width=(32, 64, 160, 256), heads=(1, 2, 5, 8), mlp=(256, 512, 640, 1024),
        num_layers=(2, 2, 2, 2)))}
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
    if multiple != 1:
      raise ValueError(f'target {target} has its own sizes, which are not '
                       f'rounded to {multiple}; leave --multiple out.')
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
  backbone, usual, known = KNOWN[target]
  name, model = exp.config.model.name, exp.model
  if name != backbone:
    raise ValueError(f'target {target} is a {backbone}, but the model is a '
                     f'{name}; give a budget, as macs<=1.3G.')
  if model.num_layers != known['num_layers']:
    raise ValueError(
        f'target {target} has {known["num_layers"]} layers, but the model has '
        f'{model.num_layers}, and prune removes none. Choose another parent, '
        'extract one of so many layers (extract --choice), or give a budget.')
  found = {}
  for set_name in elastic.groups(exp.axes):
    kind, _, owner = set_name.partition('@')
    stage = (int(owner.split('/')[0].removeprefix('stage_'))
             if isinstance(known['width'], tuple) else None)
    size = {key: value if stage is None else value[stage]
            for key, value in known.items()}
    found[set_name] = {
        'embed': size['width'], 'reduced': size['width'], 'mlp': size['mlp'],
        'heads': (size['heads'], size['width'] // size['heads'])}[kind]
  return found, rule or usual


def _cost(exp, sizes, key, rule):
  """Multiply-accumulates or parameters of the model that is left."""
  # Which channels these are changes no cost.
  equal = Scores('random', '', {name: np.zeros(count) for name, count
                                in counts_of(exp.shapes, exp.axes).items()})
  choice = select.choice(equal, exp.shapes, exp.axes, sizes, rule)
  shapes = jax.eval_shape(lambda p: exp.cut(p, choice), exp.shapes)
  if key == 'params':
    return elastic.size(shapes)
  return costs.of(exp.model.chosen(choice), shapes, exp.example()).macs
