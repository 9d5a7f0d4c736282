"""What a model is to become: sizes of a known one, or of a budget."""
from typing import Any

from absl import logging
from bst_jax import elastic
from bst_jax.elastic import check_name, FULL
from bst_jax.pruning import depth, ranking, select
from bst_jax.pruning.scores import counts_of, Scores
from bst_jax.report import costs, latency
from bst_jax.report.budget import Budget
from bst_jax.run import experiment
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
        num_layers=(2, 2, 2, 2))),
    'pvt_v2_b1': ('pvt', 'per_head', dict(
        width=(64, 128, 320, 512), heads=(1, 2, 5, 8),
        mlp=(512, 1024, 1280, 2048), num_layers=(2, 2, 2, 2)))}
_COSTS = ('macs', 'params', 'latency_ms')
_STEPS = 256  # Shares that are looked at are so many.
_MEASURED_STEPS = 32  # Of those whose models run.


def layers(exp: Experiment, target: str, asked: str | None = None
           ) -> dict[str, int]:
  """How many layers are left of every stack; {} where nobody asks for that.

  Args:
    exp: whose model is to become smaller.
    target: as of `sizes`.
    asked: numbers with commas between, one for every stack; None for those of a
      known target, or for all layers.

  Raises:
    ValueError: another number of stacks, or layers that are not there.
  """
  stacks = exp.model.stacks
  if target in KNOWN:
    _check_backbone(exp, target)
    wanted = KNOWN[target][2]['num_layers']
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    if asked is not None:
      raise ValueError(f'target {target} has {wanted} layers of its own; leave '
                       '--layers out.')
  elif asked is None:
    return {}
  else:
    try:
      wanted = tuple(map(int, asked.split(',')))
    except ValueError:
      raise ValueError(f'layers {asked!r} are no numbers with commas between; '
                       'write 6, or 2,2,2,2 for stages.') from None
    if len(wanted) != len(stacks):
      raise ValueError(
          f'layers {asked} are of {len(wanted)} stacks, but this model has '
          f'{len(stacks)}: {", ".join(stacks)}. Give a number for each.')
  found = dict(zip(stacks, wanted, strict=True))
  depth.check(exp, found)
  return found


def check(exp: Experiment, target: str, rule: str | None = None,
          multiple: int = 1, mode: str = 'uniform') -> None:
  """Raises where no scores could meet a target: see `sizes`."""
  check_name(mode, ranking.MODES, 'mode')
  if target in KNOWN:
    if mode != 'uniform':
      raise ValueError(f'target {target} has its own sizes, and mode {mode} '
                       'chooses others; leave --mode out, or give a budget.')
    found, rule = sizes(exp, target, rule, multiple)
    select.choice(_equal(exp), exp.shapes, exp.axes, found, rule)
    return
  budget, rule = _budget(target), rule or 'per_head'
  make = _maker(exp, _STEPS, rule, multiple, mode, _equal(exp))
  _check_least(target, budget, _cost(exp, make(0)[0], budget.key, rule), multiple)


def sizes(exp: Experiment, target: str, rule: str | None = None,
          multiple: int = 1, mode: str = 'uniform',
          scores: Scores | None = None) -> tuple[dict[str, Any], str]:
  """Sizes of all sets, as `select.choice` takes them, and the rule of heads.

  Args:
    exp: whose model is to become smaller.
    target: a name of `KNOWN`, or a budget, as `macs<=1.3G`.
    rule: of `select.RULES`; None for the one that fits the target.
    multiple: sizes are rounded up to it.
    mode: of `ranking.MODES`.
    scores: which decide sizes, where the mode is not uniform.

  Raises:
    ValueError: no such target, one that is larger than the model, or one that
      nothing meets; the nearest is named.
  """
  if target in KNOWN:
    if multiple != 1:
      raise ValueError(f'target {target} has its own sizes, which are not '
                       f'rounded to {multiple}; leave --multiple out.')
    return _known(exp, target, rule)
  budget, rule = _budget(target), rule or 'per_head'
  steps = _MEASURED_STEPS if budget.key == 'latency_ms' else _STEPS
  make = _maker(exp, steps, rule, multiple, mode, scores)
  step = _largest(target, budget, steps, lambda step: _cost(
      exp, make(step)[0], budget.key, rule), multiple)
  found, floors = make(step)
  if floors:
    logging.info('%s', ranking.told(floors, found))
  return found, rule


def _maker(exp, steps, rule, multiple, mode, scores):
  """A function from a step, 0 to `steps`, to sizes and floors, the least first.
  """
  if mode == 'uniform':
    return lambda step: (select.uniform(
        exp.shapes, exp.axes, max(step, 1) / steps, multiple, rule), [])
  return lambda step: ranking.sizes(
      scores, exp.shapes, exp.axes, step / steps, mode, multiple, rule)


def _largest(target, budget, steps, cost, multiple):
  """The largest step from 0 to `steps` whose cost is within the budget."""
  _check_least(target, budget, cost(0), multiple)
  low, high = 0, steps
  if cost(high) <= budget.limit:
    return high
  while high - low > 1:
    middle = (low + high) // 2
    low, high = ((middle, high) if cost(middle) <= budget.limit
                 else (low, middle))
  return low


def _budget(target):
  """The budget of a target."""
  if '<=' not in target:
    raise ValueError(
        f'target {target!r} is none of {", ".join(KNOWN)}, and no budget; write '
        "one as 'macs<=1.3G', 'params<=5M' or 'latency_ms<=8' (in quotes, for "
        'the shell).')
  budget = Budget.parse(target)
  if budget.key not in _COSTS:
    raise ValueError(f'target {target!r} depends on the pictures; give a '
                     f'budget of {", ".join(_COSTS)}.')
  return budget


def _check_least(target, budget, least, multiple):
  """Raises where even the smallest model costs more."""
  if least > budget.limit:
    number = f'{least:,}' if isinstance(least, int) else f'{least:.3g}'
    raise ValueError(
        f'{target} was asked for, but no selection meets it: the smallest, one '
        f'channel or {multiple} of each set, has {budget.key} {number}. '
        'Choose a larger budget, or extract fewer layers first.')


def _known(exp, target, rule):
  """Sizes of a published model."""
  _check_backbone(exp, target)
  _, usual, known = KNOWN[target]
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


def _check_backbone(exp, target):
  """Raises where the model is not of the kind of a known target."""
  name, backbone = exp.config.model.name, KNOWN[target][0]
  if name != backbone:
    raise ValueError(f'target {target} is a {backbone}, but the model is a '
                     f'{name}; give a budget, as macs<=1.3G.')


def _equal(exp):
  """Scores that prefer no channel."""
  return Scores('random', '', {name: np.zeros(count) for name, count
                               in counts_of(exp.shapes, exp.axes).items()})


def _cost(exp, sizes, key, rule):
  """Multiply-accumulates, parameters or milliseconds of what is left."""
  # Which channels these are changes no cost.
  choice = select.choice(_equal(exp), exp.shapes, exp.axes, sizes, rule)
  if key == 'latency_ms':
    small = experiment.chosen(experiment.whole(exp), choice)
    return latency.measure(small, None, [FULL], 1, 15)[0]['latency_ms']
  shapes = jax.eval_shape(lambda p: exp.cut(p, choice), exp.shapes)
  if key == 'params':
    return elastic.size(shapes)
  return costs.of(exp.model.chosen(choice), shapes, exp.example()).macs
