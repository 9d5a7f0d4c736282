"""Scores of every channel of a model, of any kind, from some pictures."""
from collections.abc import Mapping, Sequence
import dataclasses
import math
import pathlib
from typing import Any

from bst_jax import elastic
from bst_jax.elastic import base, check_name
from bst_jax.host import alive, processes
from bst_jax.pruning import exact, fisher, one_by_one
from bst_jax.pruning import gates as gates_lib
from bst_jax.pruning.scores import BLIND, counts_of, KINDS, Scores
from bst_jax.run.experiment import Experiment
import jax
import numpy as np


def score(exp: Experiment, params: Any, batches: Sequence[Mapping[str, Any]],
          kind: str = 'hybrid', seed: int = 0,
          folder: pathlib.Path | None = None,
          about: Mapping[str, Any] | None = None, chunk: int = 0) -> Scores:
  """Scores of all channels.

  Exact scores run the model once for each channel and batch. What is done lies
  in `folder`, and a start after a kill goes on from there, to the same bits.

  Args:
    exp: whose model is scored.
    params: its parameters.
    batches: this host's pictures with their labels and `mask`, all of one shape.
    kind: of `scores.KINDS`. `hybrid` is exact where a normalisation counts the
      channels, and Fisher's elsewhere, see `refined`.
    seed: of random scores.
    folder: where what is done is kept; None keeps nothing.
    about: what the pictures are.
    chunk: see `one_by_one.score`.

  Raises:
    ValueError: no such kind, one that is not of this task, or a model whose
      numbers are not finite.
  """
  check_name(kind, KINDS, 'kind of scores')
  rows = _halves_of(batches)
  about = {**(about or {}), 'seed': seed, 'parameters': elastic.checksum(params),
           'pictures': int(rows.sum())}
  model = elastic.fingerprint(exp.shapes)
  if kind in BLIND:
    found = (_magnitudes(params, exp.axes) if kind == 'magnitude' else
             _random(exp, seed))
    return Scores(kind, model, found, about=about)
  sets = {name: np.arange(count)
          for name, count in counts_of(exp.shapes, exp.axes).items()
          if kind == 'kl' or (kind == 'hybrid'
                              and base(name) not in gates_lib.EXACT)}
  if sets and not exp.task.exclusive:
    raise ValueError(
        f'scores of kind {kind} are divergences of one distribution, but in '
        'this task each answer may be right for itself; take kind fisher.')
  if kind != 'taylor':
    _check_one_answer(exp, params, batches[0], kind)
  found = {}
  if kind != 'kl':
    found = _means_of_slopes(exp, params, batches, kind, rows)
  if sets:
    found |= one_by_one.score(exp, params, batches, sets, folder, about | {
        'model': model, 'kind': kind}, chunk)
  return Scores(kind, model, {
      name: _joined(values, rows) for name, values in found.items()},
                about=about | {'agreement': {
                    name: round(agreement(*values), 4)
                    for name, values in found.items()} if min(rows) else {}})


def refined(scores: Scores, exp: Experiment, params: Any,
            batches: Sequence[Mapping[str, Any]], sizes: Mapping[str, Any],
            rule: str, share: float, folder: pathlib.Path | None = None
            ) -> Scores:
  """Scores whose order around the cut is that of exact ones.

  Of each set that Fisher ranked, the channels on both sides of the cut are
  scored one by one. They hand the same scores around in the exact order, so
  that all stand to the others as before.

  Args:
    scores: of kind hybrid.
    exp, params, batches, folder: as of `score`.
    sizes: how many are to be left, as of `select.choice`; others stay.
    rule: of `select.RULES`; whole heads stay as they are ranked.
    share: of the channels that compete, on each side of the cut.
  """
  bands = {}
  for name, size in sizes.items():
    if base(name) not in gates_lib.EXACT:
      continue
    values, rows = scores.channels[name], 1
    if base(name) == 'heads':
      if rule == 'heads':
        continue
      rows, size = size
    table = np.argsort(values.reshape(rows, -1), axis=1, kind='stable')
    width, cut = math.ceil(share * table.shape[1]), table.shape[1] - size
    if cut:  # Places within a row become channels of the set.
      near = table[:, max(cut - width, 0):cut + width]
      bands[name] = near + table.shape[1] * np.arange(rows)[:, None]
  if not share or not bands:
    return scores
  found = one_by_one.score(
      exp, params, batches, {name: band.reshape(-1)
                             for name, band in bands.items()}, folder,
      {'model': scores.model, 'rule': rule, 'share': share,
       'sizes': {name: sizes[name] for name in bands}} | dict(scores.about),
      part=one_by_one.REFINED)
  channels, counts = dict(scores.channels), _halves_of(batches)
  for name, band in bands.items():
    exact = _joined(found[name], counts).reshape(band.shape)
    channels[name] = channels[name].copy()
    for places, order in zip(band, np.argsort(exact, axis=1, kind='stable')):
      channels[name][places[order]] = np.sort(channels[name][places])
  return dataclasses.replace(scores, channels=channels, about={
      **scores.about, 'refined': share})


def _check_one_answer(exp, params, batch, kind):
  """Raises where a row has several answers, as words of a text are."""
  shape = jax.eval_shape(
      lambda params: exact.logits(exp, exp.model, params, batch), params).shape
  if len(shape) > 2:
    raise ValueError(
        f'scores of kind {kind} are of the one answer of a row, but this task '
        f'has {shape[1]} of each; take kind taylor, of the loss of labels, or '
        f'{" or ".join(sorted(BLIND))}.')


def _halves_of(batches):
  """int[2], pictures of every host in the two halves, see `one_by_one.halves`."""
  mine = sum((one_by_one.halves(mask, mask[None])[:, 0]
              for mask in (np.asarray(batch['mask']) for batch in batches)),
             np.zeros(2))
  return np.sum([one['rows'] for one in processes.gather(
      {'rows': mine.astype(int).tolist()})], axis=0)


def _joined(halves, rows):
  """The mean over all pictures, from those over two parts of them."""
  return sum(n * half for n, half in zip(rows, halves)) / sum(rows)


def _means_of_slopes(exp, params, batches, kind, rows):
  """Fisher's or Taylor's scores float64[2, n], of two halves of the pictures."""
  run = fisher.taylor(exp) if kind == 'taylor' else fisher.scorer(exp)
  total = {name: np.zeros((2, count))
           for name, count in counts_of(exp.shapes, exp.axes).items()}
  with alive.told(f'scoring all channels by {kind}') as stretch:
    for batch in stretch.over(batches):
      for name, values in run(params, batch).items():
        total[name] += one_by_one.halves(
            np.asarray(batch['mask']), np.asarray(values, np.float64).T)
  everyone = processes.gather({
      name: values.tolist() for name, values in total.items()})
  rows = np.maximum(rows, 1)[:, None]  # One picture has no second half.
  return {name: sum(np.asarray(one[name]) for one in everyone) / rows
          for name in total}


def _magnitudes(params, axes):
  """Euclidean norms of all parameters of a channel."""
  flat, counts = elastic.flatten(params), counts_of(params, axes)
  found = {name: np.zeros(count) for name, count in counts.items()}
  for name, members in elastic.groups(axes).items():
    for path, dim in members:
      leaf = np.square(np.asarray(flat[path], np.float64))
      if base(name) == 'heads':
        leaf = leaf.reshape(*leaf.shape[:dim], -1, *leaf.shape[dim + 2:])
      rest = tuple(i for i in range(leaf.ndim) if i != dim)
      found[name] += leaf.sum(rest)
  return {name: np.sqrt(values) for name, values in found.items()}


def _random(exp, seed):
  rng = np.random.default_rng(seed)
  return {name: rng.random(count)
          for name, count in counts_of(exp.shapes, exp.axes).items()}


def told(scores: Scores) -> str:
  """A sentence about how far two halves of the pictures agree; '' if unknown."""
  kinds: dict[str, list[float]] = {}
  for name, value in scores.about.get('agreement', {}).items():
    kinds.setdefault(base(name), []).append(value)
  if not kinds:
    return ''
  return 'Two halves of the pictures rank channels alike by ' + ', '.join(
      f'{np.mean(values):.2f} ({kind}'
      + (f', lowest {min(values):.2f})' if len(values) > 1 else ')')
      for kind, values in kinds.items()) + '.'


def ranks(values: np.ndarray) -> np.ndarray:
  """The place of each value, the smallest first; equal ones by their order."""
  order = np.argsort(values, kind='stable')
  found = np.empty(len(values), int)
  found[order] = np.arange(len(values))
  return found


def agreement(first: np.ndarray, second: np.ndarray) -> float:
  """The rank correlation of two lists of scores (Spearman's)."""
  if len(first) < 2:
    return 1.0
  return float(np.corrcoef(ranks(first), ranks(second))[0, 1])


