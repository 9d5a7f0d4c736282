"""Answers of submodels, in files that evaluation servers take."""
from collections.abc import Iterator, Sequence
import functools
import pathlib
from typing import Any

from bst_jax.elastic import Submodel
from bst_jax.host import alive
from bst_jax.run import forward
from bst_jax.run.experiment import Experiment
import jax
import numpy as np


def check(exp: Experiment) -> None:
  """Raises where a row has not one answer, but several boxes."""
  if exp.task.form == 'objects':
    raise ValueError(
        '--results writes one answer for each row, but task '
        f'{exp.config.task.name!r} finds several boxes in a picture. Evaluate '
        'without it; scores.boxes.results and report.boxes.write make a file '
        "for COCO's server from Python.")


def ids(data: Any, split: str) -> list[str]:
  """Ids of a split's questions, by which servers know them.

  Raises:
    ValueError: they have none, or no process knows all answers.
  """
  if jax.process_count() > 1:
    raise ValueError(
        f'Answers were to be written by {jax.process_count()} processes, but '
        'each knows only its own. Evaluate with --results in one process.')
  return data.ids(split)


def pick(exp: Experiment, data: Any, params: Any, subs: Sequence[Submodel],
         split: str, mesh: Any) -> list[np.ndarray]:
  """Answers int[len(subs), B] to each batch of a split that nobody scores."""
  run = forward.make_runner(exp, mesh, functools.partial(
      picked, exp))
  with alive.told(f'answers of {len(subs)} submodels on {split}') as stretch:
    return [np.stack(picks) for picks in run(
        params, subs, stretch.over(data.evaluation(split)))]


def picked(exp: Experiment, outputs: Any, *_: Any) -> jax.Array:
  """int[B], the most probable entry of the main output of a task."""
  return outputs[exp.task.outputs[0]].argmax(-1)


def write(exp: Experiment, data: Any, ids: Sequence[str],
          picks: Sequence[np.ndarray], subs: Sequence[Submodel], split: str,
          workdir: str | pathlib.Path) -> Iterator[pathlib.Path]:
  """Writes a file for each submodel, see `results.name`; yields the paths.

  Args:
    exp: the experiment.
    data: of it.
    ids: of the split's questions.
    picks: answers int[len(subs), B] to each batch of the split, in their order.
    subs: submodels.
    split: of the data.
    workdir: folder of the files.
  """
  from bst_jax.data import results  # Not everything that has a model has data.

  form = 'gqa' if data.rule.startswith('gqa') else 'vqa'
  written = data.written()
  rows = np.concatenate(list(data.evaluation(split).rows()))
  for sub, answers in zip(subs, np.concatenate(picks, 1), strict=True):
    answers = [data.answers[answer] for answer in answers.tolist()]
    said = {ids[row]: written.get(answer, answer)
            for row, answer in zip(rows.tolist(), answers) if row >= 0}
    small = exp.model.at(sub)
    path = pathlib.Path(workdir) / results.name(
        split, sub.path, small.width, small.num_layers)
    results.write(path, form, said)
    yield path
