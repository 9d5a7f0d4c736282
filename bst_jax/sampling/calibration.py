"""How many grid points and token slots a network needs for a budget.

Sampling as such bounds nothing: how many tokens live depends on the images. So
some images decide: a number of grid points, the same in all layers, is found by
bisection, and the slots of each layer are a quantile of the counts there.

Reference: Fayyaz et al., "Adaptive Token Sampling for Efficient Vision
  Transformers", ECCV 2022: fewer points for a lower budget.
"""
from collections.abc import Callable, Iterable, Sequence
import dataclasses
import functools
from typing import Any

from bst_jax import elastic
from bst_jax.data import kinds
from bst_jax.layers.sampler import Ats
from bst_jax.learn import sharding
from bst_jax.report import token_macs
from bst_jax.report.budget import Budget
from bst_jax.run.experiment import Experiment
from bst_jax.scores import tokens as token_counts
import jax
import numpy as np

# Grid points that are tried, over tokens: several points may choose one token,
# so that more of them keep more, with ever less of a difference.
_MOST = 8


@dataclasses.dataclass(frozen=True)
class Found:
  """A way to sample that fits a budget.

  Attributes:
    ats: the sampling, with its points and capacities.
    macs: multiply-accumulates of the program, for every image.
    mean_macs: of an image for its own tokens, on average over those seen.
    tried: (points, cost of the budget's kind), in the order of the search.
  """

  ats: Ats
  macs: int
  mean_macs: float
  tried: tuple[tuple[int, float], ...]


def counter(exp: Experiment, params: Any, ats: Ats, batches: Iterable,
            mesh: Any) -> Callable[[int], np.ndarray]:
  """A function: points -> int32[n, L], tokens of each image behind each layer.

  All points share one program, in which no width shrinks. For `topk` the points
  are the tokens that are kept.
  """
  batches = list(batches)

  @jax.jit
  def run(params, batch, points):
    model = exp.model.clone(ats=dataclasses.replace(
        ats, num_points=points, capacity=None))
    _, sown = model.apply({'params': params}, batch,
                          mutable=['intermediates'])
    return token_counts.read(sown)['count']

  @functools.cache
  def counts(points):
    tokens = []
    for batch in batches:
      real = np.asarray(batch['mask'], bool)
      read = {k: v for k, v in batch.items() if k in kinds.KINDS}
      got = jax.device_get(run(params, sharding.place(read, mesh), points))
      tokens.append(got[np.repeat(real, len(got) // len(real))])
    return np.concatenate(tokens)

  return counts


def capacities(counts: np.ndarray, quantile: float, slots: int, lead: int,
               multiple: int = 1) -> tuple[int, ...]:
  """Slots of each layer, the lead not counted, from int32[n, L] counts.

  Args:
    counts: tokens of the images behind each layer; of their frames, where there
      is a third axis.
    quantile: share of the images whose tokens all fit into a layer.
    slots: tokens that reach the first layer.
    lead: tokens in front.
    multiple: widths, with the lead, are rounded up to this.
  """
  fitting = []
  for column in np.moveaxis(counts, 1, 0):
    need = int(np.ceil(np.quantile(column, quantile)))
    need = -(-(need + lead) // multiple) * multiple - lead
    slots = max(1, min(slots, need))
    fitting.append(slots)
  return tuple(fitting)


def search(exp: Experiment, params: Any, ats: Ats, batches: Iterable,
           mesh: Any, budget: Budget, quantile: float = 0.99,
           multiple: int = 1, log: Callable[[str], None] = print) -> Found:
  """The most grid points whose network fits a budget.

  Args:
    exp: the experiment; its model has `ats`, `slots` and `lead`.
    params: of the full model.
    ats: which layers sample, and how; points and capacities are found here.
    batches: images to count tokens in.
    mesh: splits the batches.
    budget: of `macs`, the program's with all slots, or of `mean_macs`, an
      image's for its own tokens.
    quantile, multiple: see `capacities`.
    log: told of every number of points that is tried.

  Raises:
    ValueError: the budget cannot be met, or bounds something else.
  """
  elastic.check_name(budget.key, ('macs', 'mean_macs'),
                     'budget key of token sampling')
  if not ats.blocks:
    raise ValueError('no layer samples; name some, as --blocks 3-11.')
  count = counter(exp, params, ats, batches, mesh)
  slots, lead, tried = exp.model.slots, exp.model.lead, {}
  macs_of = token_macs.fit(exp.model.clone(ats=ats), exp.example())

  def allows(points):
    counts = count(points)
    fit = capacities(counts, quantile, slots, lead, multiple)
    sampled = dataclasses.replace(ats, num_points=points, capacity=fit)
    living = [np.minimum(counts[:, i], n) for i, n in enumerate(fit)]
    mean = float(np.mean(macs_of(living)))
    tried[points] = Found(sampled, macs_of(fit), mean, ())
    log(f'{points} points: {tried[points].macs:,} multiply-accumulates, '
        f'{mean:,.0f} for the tokens of an image')
    return budget.allows(vars(tried[points]))

  least, most = (1, slots) if ats.method == 'topk' else (2, _MOST * slots)
  points = largest(allows, least, slots, most)
  if points is None:
    raise ValueError(
        f'the budget {budget} cannot be met by sampling in the layers '
        f'{list(ats.blocks)}: with {least} points it is '
        f'{getattr(tried[least], budget.key):,.4g} still. Raise the budget, or '
        'sample in earlier layers (--blocks).')
  return dataclasses.replace(tried[points], tried=tuple(
      (points, getattr(found, budget.key)) for points, found in tried.items()))


def largest(allows: Callable[[int], bool], least: int, first: int,
            most: int) -> int | None:
  """The largest number from `least` to `most` that is allowed, if any is.

  A number is allowed if a larger one is. `first` is tried first, then twice as
  many; what is left is halved.
  """
  fits, high = None, first
  while allows(high):
    if high == most:
      return high
    fits, high = high, min(2 * high, most)
  if fits is None:
    if not allows(least):
      return None
    fits = least
  while high - fits > 1:
    middle = (fits + high) // 2
    fits, high = (middle, high) if allows(middle) else (fits, middle)
  return fits


def layers(text: str, num_layers: int) -> tuple[int, ...]:
  """Numbers of layers of a text as `3-11` or `3,6,9`; checked by the model."""
  numbers = []
  try:
    for part in text.split(','):
      first, dash, last = part.strip().partition('-')
      numbers += range(int(first), int(last if dash else first) + 1)
  except ValueError:
    raise ValueError(f'layers {text!r} are not numbers; write them as 3-11 or '
                     f'3,6,9, of 0 to {num_layers - 1}.') from None
  return tuple(numbers)


def usual_layers(num_layers: int) -> Sequence[int]:
  """All but the first quarter, as DeiT samples in 3 to 11 of 12."""
  return tuple(range(num_layers // 4, num_layers))
