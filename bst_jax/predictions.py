"""Answers of submodels, in files that evaluation servers take."""
from collections.abc import Iterator, Sequence
import pathlib
from typing import Any

from bst_jax import sharding
from bst_jax.elastic import Submodel
from bst_jax.experiment import Experiment
import jax


def predict(exp: Experiment, data: Any, params: Any, sub: Submodel, split: str,
            mesh: Any) -> dict[str, str]:
  """{question id: answer} of a submodel for every question of a split."""
  if jax.process_count() > 1:
    raise ValueError(
        f'Answers were to be written by {jax.process_count()} processes, but '
        'each knows only its own. Evaluate with --results in one process.')
  small = exp.model.at(sub)
  weights = jax.jit(lambda p: exp.extract(p, sub))(params)
  run = jax.jit(lambda p, batch: small.apply({'params': p}, batch).argmax(-1))
  ids, written, found = data.ids(split), data.written(), {}
  batches = data.evaluation(split)
  for batch, rows in zip(batches, batches.rows()):
    picked = jax.device_get(run(weights, sharding.place(batch, mesh)))
    for row, pick in zip(rows.tolist(), picked.tolist()):
      if row >= 0:
        answer = data.answers[pick]
        found[ids[row]] = written.get(answer, answer)
  return found


def write(exp: Experiment, data: Any, params: Any, subs: Sequence[Submodel],
          split: str, mesh: Any,
          workdir: str | pathlib.Path) -> Iterator[pathlib.Path]:
  """Writes a file for each submodel, see `results.name`; yields the paths."""
  from bst_jax.data import results  # Not everything that has a model has data.

  form = 'gqa' if data.rule.startswith('gqa') else 'vqa'
  for sub in subs:
    small = exp.model.at(sub)
    path = pathlib.Path(workdir) / results.name(
        split, sub.path, small.width, small.num_layers)
    results.write(path, form, predict(exp, data, params, sub, split, mesh))
    yield path
