"""Which layers go: two sub-blocks at a time, by what answers lose without them.

Of a stack of L layers, that is of L attentions and L feed-forward parts one after
the other, candidate 2 i takes out layer i, and candidate 2 i + 1 the feed-forward
part of layer i and the attention of layer i + 1, so that what is left of both is
one ordinary layer. A stack has 2 L - 1 candidates.

Reference: Yu & Wu, "A Unified Pruning Framework for Vision Transformers", arXiv
  2111.15127, the pruning of blocks.
"""
from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import Any

from absl import logging
from bst_jax.elastic import Choice
from bst_jax.elastic.choice import halves
from bst_jax.host import alive, processes
from bst_jax.pruning import exact
from bst_jax.pruning.scores import divergence
from bst_jax.run.experiment import Experiment
import jax
import numpy as np

WAYS = {
    'progressive': 'the least needed pair goes, the others are scored again',
    'one_shot': 'scored once, the least needed pairs that share no part go',
}
Entry = tuple[int, int]  # The layers of its attention and its feed-forward part.


def without(entries: Sequence[Entry], candidate: int) -> tuple[Entry, ...]:
  """The layers of a stack that a candidate leaves.

  Args:
    entries: its layers.
    candidate: from 0 to 2 L - 2.
  """
  i, odd = divmod(candidate, 2)
  joined = [(entries[i][0], entries[i + 1][1])] if odd else []
  return (*entries[:i], *joined, *entries[i + 1 + odd:])


def chosen(exp: Experiment, params: Any, batches: Sequence[Mapping[str, Any]],
           layers: Mapping[str, int], way: str = 'progressive'
           ) -> tuple[Choice, dict[str, np.ndarray]]:
  """The layers that stay, and the scores float64[2 L - 1] of all stacks.

  Args:
    exp: whose model it is.
    params: its parameters.
    batches: this host's pictures with `mask`, all of one shape.
    layers: how many are to be left, by stack; of others all.
    way: of `WAYS`.

  Raises:
    ValueError: no layer, or more than there are, were to be left.
  """
  entries = {stack: tuple((i, i) for i in range(order.num_layers))
             for stack, order in exp.model.stacks.items()}
  check(exp, layers)
  layers = losing(exp, layers)
  score = _scorer(exp, params, batches)
  rounds = sum(len(entries[stack]) - left for stack, left in layers.items())
  first: dict[str, np.ndarray] = {}
  with alive.told('scoring pairs of sub-blocks') as stretch:
    for nth in range(rounds if way == 'progressive' else min(rounds, 1)):
      found = {}
      for stack, left in layers.items():
        if len(entries[stack]) == left:
          continue  # It keeps what it has, which may be one layer.
        found[stack] = np.array([
            score(entries | {stack: without(entries[stack], k)})
            for k in range(2 * len(entries[stack]) - 1)])
        stretch.done = f'round {nth + 1}, {stack}, '
      first = first or found
      if way == 'one_shot':
        entries |= {stack: _one_shot(found[stack], left)
                    for stack, left in layers.items()}
        break
      value, stack, k = min(
          (value, stack, k) for stack, values in found.items()
          for k, value in enumerate(values))
      logging.info('%s loses %s: divergence %.3g', stack, said(
          entries[stack], k), value)
      entries[stack] = without(entries[stack], k)
  plain = lambda i, j: i if i == j else {'attention': i, 'ffn': j}
  whole = exp.model.stacks
  return Choice(layers={
      stack: tuple(plain(*entry) for entry in left)
      for stack, left in entries.items()
      if len(left) < whole[stack].num_layers}), first


def said(entries: Sequence[Entry], candidate: int) -> str:
  """What a candidate takes out, in words."""
  i, odd = divmod(candidate, 2)
  if odd:
    return (f'the feed-forward part of layer {entries[i][1]} and the attention '
            f'of layer {entries[i + 1][0]}')
  attention, ffn = entries[i]
  if attention == ffn:
    return f'layer {attention}'
  return f'the attention of layer {attention} and the rest of layer {ffn}'


def check(exp: Experiment, layers: Mapping[str, int]) -> None:
  """Raises where so many layers of every stack cannot be left."""
  there = {stack: order.num_layers for stack, order in exp.model.stacks.items()}
  for stack, left in layers.items():
    if not 1 <= left <= there.get(stack, 0):
      raise ValueError(
          f'{left} layers of {stack!r} were to be left, and this model has '
          f'{there}; leave from 1 to all of them.')


def losing(exp: Experiment, layers: Mapping[str, int]) -> dict[str, int]:
  """Those of `layers` that are fewer than there are."""
  return {stack: left for stack, left in layers.items()
          if left < exp.model.stacks[stack].num_layers}


def _one_shot(scores, left):
  """The layers that the least needed candidates leave; no part goes twice."""
  count, gone = (len(scores) + 1) // 2, set()
  for k in np.argsort(scores, kind='stable'):
    if len(gone) < 2 * (count - left) and not gone & {k, k + 1}:
      gone |= {int(k), int(k) + 1}
  # Parts 2 i and 2 i + 1 are the attention and the feed-forward part of layer i.
  kept = [part for part in range(2 * count) if part not in gone]
  if len(kept) != 2 * left:
    raise ValueError(
        f'{left} of {count} layers were to be left in one go, but candidates '
        'that share no part leave more; take way progressive.')
  return tuple((a // 2, f // 2) for a, f in zip(kept[::2], kept[1::2]))


def _scorer(exp, params, batches) -> Callable[[Mapping[str, Any]], float]:
  """layers by stack -> mean divergence of the answers from the whole model's.
  """
  run = jax.jit(lambda model, params, batch: exact.logits(
      exp, model, params, batch), static_argnums=0)
  teachers = [run(exp.model, params, batch) for batch in batches]
  compare = jax.jit(divergence)

  def score(entries):
    choice = Choice(layers={
        stack: tuple({'attention': i, 'ffn': j} for i, j in left)
        for stack, left in entries.items()})
    # Models of as many layers are equal, and share a program.
    model, small = exp.model.chosen(choice), exp.cut(params, choice)
    total, rows = 0.0, 0
    for batch, teacher in zip(batches, teachers):
      mask = np.asarray(batch['mask'])
      values = np.asarray(compare(teacher, run(model, small, batch)), np.float64)
      total, rows = total + float(values[mask].sum()), rows + int(mask.sum())
    everyone = processes.gather({'total': total, 'rows': rows})
    return (sum(one['total'] for one in everyone)
            / sum(one['rows'] for one in everyone))

  return score


def joined(layers: Choice, keep: Choice) -> Choice:
  """Both choices as one: `keep` is of the model that `layers` leaves.

  Args:
    layers: of the whole model, layers alone.
    keep: in the numbers of the model that is left.
  """
  return dataclasses.replace(
      keep, layers=layers.layers, model=layers.model,
      keep={_before(name, layers.layers): rows
            for name, rows in keep.keep.items()})


def _before(name, layers):
  """The full axis name that a set had before layers went."""
  kind, _, owner = name.partition('@')
  for stack, entries in layers.items():
    if not owner.startswith(f'{stack}/layer_'):
      continue
    number, _, rest = owner.removeprefix(f'{stack}/layer_').partition('/')
    attention, ffn = halves(entries[int(number)])
    old = ffn if rest.split('/')[0] == 'ffn' else attention
    return f'{kind}@{stack}/layer_{old}/{rest}'
  return name
