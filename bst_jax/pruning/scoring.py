"""Scores of every channel of a model, of any kind, from some pictures."""
from collections.abc import Iterable, Mapping, Sequence
import json
import pathlib
import time
from typing import Any

from absl import logging
from bst_jax import elastic
from bst_jax.elastic import base, check_name
from bst_jax.host import alive, files
from bst_jax.pruning import exact, fisher
from bst_jax.pruning import gates as gates_lib
from bst_jax.pruning.scores import counts_of, KINDS, Scores
from bst_jax.run.experiment import Experiment
import jax
import numpy as np

# Sets whose scores are done, and what they are of, in the folder of a run.
PART = 'scores.part.json'


def score(exp: Experiment, params: Any, batches: Sequence[Mapping[str, Any]],
          kind: str = 'hybrid', seed: int = 0,
          folder: pathlib.Path | None = None,
          about: Mapping[str, Any] | None = None) -> Scores:
  """Scores of all channels.

  Exact scores run the model once for each channel and batch. What is done lies
  in `folder`, and a start after a kill goes on from there, to the same bits.

  Args:
    exp: whose model is scored.
    params: its parameters.
    batches: pictures with their labels and `mask`, all of one shape.
    kind: of `scores.KINDS`. `hybrid` is exact where a normalisation counts the
      channels, and Fisher's elsewhere.
    seed: of random scores.
    folder: where what is done is kept; None keeps nothing.
    about: what the pictures are.

  Raises:
    ValueError: no such kind, or a model whose numbers are not finite.
  """
  check_name(kind, KINDS, 'kind of scores')
  about = {**(about or {}), 'pictures': int(sum(
      np.sum(batch['mask']) for batch in batches)), 'seed': seed}
  model = elastic.fingerprint(exp.shapes)
  if kind in ('magnitude', 'random'):
    found = (_magnitudes(params, exp.axes) if kind == 'magnitude' else
             _random(exp, seed))
    return Scores(kind, model, found, about=about)
  found = {}
  if kind != 'kl':
    found = _mean_of_slopes(exp, params, batches, kind)
  sets = [name for name in counts_of(exp.shapes, exp.axes)
          if kind == 'kl' or (kind == 'hybrid'
                              and base(name) not in gates_lib.EXACT)]
  if sets:
    found |= _exact(exp, params, batches, sets, folder, about | {
        'model': model, 'kind': kind})
  return Scores(kind, model, found, about=about)


def _exact(exp, params, batches, sets, folder, settings):
  """Exact scores of some sets; those that are done already are read."""
  counts = counts_of(exp.shapes, exp.axes)
  done = _read(folder, settings)
  run = jax.jit(lambda params, batch: exact.logits(
      exp, exp.model, params, batch))
  teachers = [run(params, batch) for batch in batches]
  shared, began, timed = {}, None, 0
  total = sum(counts[name] for name in sets)
  with alive.counted('scoring channels', total, 'channels') as count:
    for name in sets:
      if name in done:
        count(counts[name], made_before=True)
        continue
      run = exact.scorer(exp, name, shared)
      values = []
      for j in range(counts[name]):
        values.append(_mean(
            (run(params, batch, teacher, j), batch['mask'])
            for batch, teacher in zip(batches, teachers)))
        count(1)
        if began is None:  # The first one compiles.
          began = time.monotonic()
        elif (timed := timed + 1) == 3:
          left = (time.monotonic() - began) / 3 * total
          logging.info('Scoring %s channels one by one will take about %s.',
                       f'{total:,}', alive.duration(left))
      done[name] = values
      _write(folder, settings, done)
  return {name: np.asarray(done[name], np.float64) for name in sets}


def _mean_of_slopes(exp, params, batches, kind):
  """Fisher's or Taylor's scores: means over pictures, summed in float64."""
  run = fisher.taylor(exp) if kind == 'taylor' else fisher.scorer(exp)
  total = {name: np.zeros(count)
           for name, count in counts_of(exp.shapes, exp.axes).items()}
  rows = 0
  with alive.told(f'scoring all channels by {kind}') as stretch:
    for batch in stretch.over(batches):
      mask = np.asarray(batch['mask'])
      for name, values in run(params, batch).items():
        total[name] += np.asarray(values, np.float64)[mask].sum(0)
      rows += int(mask.sum())
  return {name: values / rows for name, values in total.items()}


def _mean(parts: Iterable[tuple[Any, Any]]) -> float:
  """The mean of rows that are no padding, summed in float64."""
  total, rows = 0.0, 0
  for values, mask in parts:
    mask = np.asarray(mask)
    total += float(np.asarray(values, np.float64)[mask].sum())
    rows += int(mask.sum())
  return total / rows


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


def _read(folder, settings) -> dict[str, list[float]]:
  """Scores that an earlier start left, of the same model and pictures."""
  path = folder and pathlib.Path(folder, PART)
  if not path or not path.exists():
    return {}
  try:
    found = json.loads(path.read_text())
    if found['settings'] == settings:
      logging.info('Scoring goes on: %d sets of channels are done in %s.',
                   len(found['done']), path)
      return found['done']
    logging.warning('%s is of another model, kind or pictures; scoring begins '
                    'anew.', path)
  except (ValueError, KeyError, TypeError):
    logging.warning('%s cannot be read; scoring begins anew.', path)
  return {}


def _write(folder, settings, done) -> None:
  if folder:
    with files.beside(pathlib.Path(folder, PART)) as place:
      place.write_text(json.dumps({'settings': settings, 'done': done}))


def ranks(values: np.ndarray) -> np.ndarray:
  """The place of each value, the smallest first; equal ones by their order."""
  order = np.argsort(values, kind='stable')
  found = np.empty(len(values), int)
  found[order] = np.arange(len(values))
  return found


def agreement(first: np.ndarray, second: np.ndarray) -> float:
  """The rank correlation of two lists of scores (Spearman's)."""
  return float(np.corrcoef(ranks(first), ranks(second))[0, 1])


