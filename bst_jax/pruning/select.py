"""Which channels stay, from their scores: a `Choice` of some sizes.

Reference: Yu & Wu, "A Unified Pruning Framework for Vision Transformers", arXiv
  2111.15127: the channels of the highest scores stay, in their order; those of
  attention within contiguous segments, each of which becomes a head.
"""
from collections.abc import Mapping
import math
from typing import Any

from bst_jax import elastic
from bst_jax.elastic import base, check_name, Choice
from bst_jax.pruning.scores import Scores
import numpy as np

# What becomes of heads whose channels are chosen.
RULES = {
    'segment': 'as many segments of all channels as heads are to be left, of '
               'one old head or of several; the best of each are a head',
    'per_head': 'as many of each head; all heads stay',
    'heads': 'whole heads, by the sum of their scores',
}


def best(scores: np.ndarray, count: int) -> tuple[int, ...]:
  """The `count` highest scores' indices, ascending; of equals the later stay.

  Args:
    scores: float[n].
    count: from 1 to n.
  """
  order = np.argsort(scores, kind='stable')
  return tuple(sorted(order[len(order) - count:].tolist()))


def heads(scores: np.ndarray, old: tuple[int, int], new: tuple[int, int],
          rule: str) -> tuple[tuple[int, ...], ...]:
  """Rows of channels, each a head, as of `Choice.keep`.

  Args:
    scores: float[heads x channels], head by head.
    old, new: heads, and channels of each, before and behind.
    rule: of `RULES`.

  Raises:
    ValueError: the rule cannot make such heads.
  """
  check_name(rule, RULES, 'rule of attention')
  (count, width), (left, narrow) = old, new
  if rule == 'segment':
    if scores.size % left or narrow > scores.size // left:
      raise ValueError(
          f'{left} heads of {narrow} channels were to be made of {count} of '
          f'{width}, but {scores.size} channels make no {left} equal segments '
          f'with {narrow} each. Choose a divisor of {scores.size}.')
    rows = scores.reshape(left, -1)
    step = rows.shape[1]
    return tuple(tuple(i * step + j for j in best(row, narrow))
                 for i, row in enumerate(rows))
  rows = scores.reshape(count, width)
  if rule == 'per_head':
    if (left, narrow) != (count, min(narrow, width)):
      raise ValueError(
          f'{left} heads of {narrow} channels were to be made of {count} of '
          f'{width}, but rule per_head keeps all heads and makes none wider; '
          'take rule segment or heads.')
    return tuple(tuple(i * width + j for j in best(row, narrow))
                 for i, row in enumerate(rows))
  if narrow != width or left > count:
    raise ValueError(
        f'{left} heads of {narrow} channels were to be made of {count} of '
        f'{width}, but rule heads leaves heads as they are; take rule segment '
        'or per_head.')
  return tuple(tuple(range(i * width, (i + 1) * width))
               for i in best(rows.sum(1), left))


def choice(scores: Scores, shapes: Any, axes: Any, sizes: Mapping[str, Any],
           rule: str = 'per_head') -> Choice:
  """The choice that leaves so many channels of each set.

  Args:
    scores: of the model.
    shapes: of its parameters.
    axes: tree of tuples of their full axis names.
    sizes: channels that are left, by full axis name; of `heads@…` a pair of
      heads and of channels of each. Sets that are not named stay whole.
    rule: of `RULES`.

  Raises:
    ValueError: scores of another model, more channels than there are, or none.
  """
  scores.check(shapes, axes)
  flat, sets, keep = elastic.flatten(shapes), elastic.groups(axes), {}
  for name, size in sizes.items():
    check_name(name, sets, 'index set of this model')
    path, dim = sets[name][0]
    there = flat[path].shape[dim:dim + 1 + (base(name) == 'heads')]
    wanted = tuple(size) if base(name) == 'heads' else (size,)
    if min(wanted) < 1:
      raise ValueError(f'{size} of {name!r} were to be left, and nothing would '
                       'be; leave one at least.')
    if math.prod(wanted) > math.prod(there):
      raise ValueError(
          f'{_words(wanted)} of {name!r} were to be left, but there are '
          f'{_words(there)}. Pruning makes nothing larger: choose a larger '
          'parent.')
    if wanted == there:
      continue
    if name not in scores.channels:
      raise ValueError(f'{name!r} is to be pruned, but the scores have none of '
                       'it. Score the model again.')
    values = scores.channels[name]
    keep[name] = (heads(values, there, wanted, rule)
                  if base(name) == 'heads' else best(values, *wanted))
  return Choice(keep=keep, model=elastic.fingerprint(shapes))


def uniform(shapes: Any, axes: Any, share: float, multiple: int = 1,
            rule: str = 'per_head') -> dict[str, Any]:
  """Sizes of which each set keeps the same share, as `choice` takes them.

  Where the stream has as many channels as its heads together, so it has behind,
  and hidden units stay the multiple of it that they were: other libraries describe
  no other transformer.

  Args:
    shapes: of a model's parameters.
    axes: tree of tuples of their full axis names.
    share: in (0, 1].
    multiple: sizes are rounded up to it, as far as there are so many; of heads
      it is their channels, and with rule heads or segment nothing is rounded.
    rule: what becomes of heads: with per_head each is narrowed, else their
      number is.
  """
  flat, found = elastic.flatten(shapes), {}
  for name, ((path, dim), *_) in elastic.groups(axes).items():
    size = flat[path].shape[dim]
    if base(name) != 'heads':
      found[name] = _rounded(share * size, size, multiple)
      continue
    width = flat[path].shape[dim + 1]
    found[name] = ((size, _rounded(share * width, width, multiple))
                   if rule == 'per_head' else
                   (_divisor(size, share), width))
  sets = elastic.groups(axes)
  there = {name: math.prod(flat[path].shape[dim:dim + 1 + (
      base(name) == 'heads')]) for name, ((path, dim), *_) in sets.items()}
  for name in [name for name in sets if base(name) == 'embed']:
    _keep_structure(name, there, found)
  return found


def _keep_structure(embed, there, sizes):
  """Sizes of a stream and of its layers that stand to each other as before."""
  scope = embed.partition('@')[2]
  own = lambda kind: [name for name in sizes if base(name) == kind and (
      not scope or name.partition('@')[2].startswith(f'{scope}/'))]
  heads = own('heads')
  if heads and {there[name] for name in heads} == {there[embed]}:
    sizes[embed] = math.prod(sizes[heads[0]])
  for name in own('mlp') + own('reduced'):
    if there[name] % there[embed] == 0:
      sizes[name] = sizes[embed] * (there[name] // there[embed])


def _rounded(wanted, size, multiple):
  """At least `wanted`, a multiple where one fits, at most `size`."""
  return min(size, max(1, math.ceil(wanted / multiple - 1e-9)) * multiple)


def _divisor(heads, share):
  """The least number of heads that is a divisor and no less than the share."""
  return next(n for n in range(1, heads + 1)
              if heads % n == 0 and n >= share * heads - 1e-9)


def _words(sizes):
  return ' heads of '.join(map(str, sizes))
