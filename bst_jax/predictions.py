"""Answers of submodels, in files that evaluation servers take."""
from collections.abc import Iterator, Sequence
import pathlib
from typing import Any

from bst_jax import forward
from bst_jax.elastic import Submodel
from bst_jax.experiment import Experiment
import jax
import numpy as np
import tqdm


def predict(exp: Experiment, data: Any, params: Any, subs: Sequence[Submodel],
            split: str, mesh: Any) -> Iterator[dict[str, str]]:
  """{question id: answer} of each submodel for every question of a split."""
  if jax.process_count() > 1:
    raise ValueError(
        f'Answers were to be written by {jax.process_count()} processes, but '
        'each knows only its own. Evaluate with --results in one process.')
  run = forward.make_runner(exp, mesh, lambda logits, *_: logits.argmax(-1))
  ids, written = data.ids(split), data.written()
  batches = data.evaluation(split)
  picked = np.concatenate([*run(params, subs, tqdm.tqdm(
      batches, f'{len(subs)} submodels', unit='batch', disable=None))], 1)
  rows = np.concatenate(list(batches.rows()))  # [n], picked is [subs, n].
  for picks in picked.tolist():
    answers = [data.answers[pick] for pick in picks]
    yield {ids[row]: written.get(answer, answer)
           for row, answer in zip(rows.tolist(), answers) if row >= 0}


def write(exp: Experiment, data: Any, params: Any, subs: Sequence[Submodel],
          split: str, mesh: Any,
          workdir: str | pathlib.Path) -> Iterator[pathlib.Path]:
  """Writes a file for each submodel, see `results.name`; yields the paths."""
  from bst_jax.data import results  # Not everything that has a model has data.

  form = 'gqa' if data.rule.startswith('gqa') else 'vqa'
  found = predict(exp, data, params, subs, split, mesh)
  for sub, answers in zip(subs, found):
    small = exp.model.at(sub)
    path = pathlib.Path(workdir) / results.name(
        split, sub.path, small.width, small.num_layers)
    results.write(path, form, answers)
    yield path
