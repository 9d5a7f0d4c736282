"""Answers, boxes and captions of submodels, in files of evaluation servers."""
from collections.abc import Iterator, Mapping, Sequence
import functools
import json
import pathlib
from typing import Any

from bst_jax.elastic import Submodel
from bst_jax.host import alive, files
from bst_jax.report import boxes
from bst_jax.run import forward
from bst_jax.run.experiment import Experiment
from bst_jax.scores import boxes as box_scores
from bst_jax.scores import captions as caption_scores
import jax
import numpy as np


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
         split: str, mesh: Any) -> list[list[Any]]:
  """What submodels say of each batch of a split that nobody scores.

  Returns:
    For each batch a list of what `picked` gives of each submodel.
  """
  run = forward.make_runner(exp, mesh, functools.partial(
      picked, exp))
  with alive.told(f'answers of {len(subs)} submodels on {split}') as stretch:
    return [*run(params, subs, stretch.over(data.evaluation(split)))]


def picked(exp: Experiment, outputs: Any, batch: Any, *_: Any
           ) -> dict[str, jax.Array]:
  """{'answer': int[B]}, the most probable entry of a task's main output.

  Of detectors the boxes of each picture, see `scores.boxes.read`; of those
  that write, the captions, see `scores.captions.read`.
  """
  if exp.task.decode is not None:
    return caption_scores.read(outputs[exp.task.decoded], batch)
  if exp.task.form == 'objects':
    return box_scores.read(outputs, batch)
  return {'answer': outputs[exp.task.outputs[0]].argmax(-1)}


def write(exp: Experiment, data: Any, ids: Sequence[str],
          picks: Sequence[Sequence[Mapping[str, np.ndarray]]],
          subs: Sequence[Submodel], split: str,
          workdir: str | pathlib.Path) -> Iterator[pathlib.Path]:
  """Writes a file for each submodel, see `results.name`; yields the paths.

  Args:
    exp: the experiment.
    data: of it.
    ids: of the split's questions.
    picks: of each batch of the split, in their order, what `picked` gave of
      every submodel.
    subs: submodels.
    split: of the data.
    workdir: folder of the files.
  """
  from bst_jax.data import results  # Not everything that has a model has data.

  form = 'gqa' if data.rule.startswith('gqa') else 'vqa'
  numbers = np.concatenate(list(data.evaluation(split).rows()))
  for sub, said in zip(subs, zip(*picks), strict=True):
    rows = {key: np.concatenate([one[key] for one in said])[numbers >= 0]
            for key in said[0]}
    small = exp.model.at(sub)
    hidden, layers = (getattr(small, name, 0)
                      for name in ('width', 'num_layers'))
    path = pathlib.Path(workdir) / results.name(split, sub.path, hidden, layers)
    mine = [ids[i] for i in numbers[numbers >= 0].tolist()]
    written = data.written()
    if exp.task.form == 'objects':
      boxes.write(path, box_scores.results(
          rows, mine, [written[name] for name in data.answers]))
    elif exp.task.decode is not None:
      _write_captions(path, rows, mine, data.vocabularies['words'])
    else:
      answers = [data.answers[answer] for answer in rows['answer'].tolist()]
      results.write(path, form, {
          i: written.get(answer, answer) for i, answer in zip(mine, answers)})
    yield path


def _write_captions(path, rows, ids, words):
  """Writes a caption of each picture, as COCO's server takes them."""
  said, _ = caption_scores.texts(rows, words)
  _, first = np.unique(rows['picture'], return_index=True)
  found = caption_scores.results(said, [ids[i] for i in first.tolist()])
  with files.beside(path) as place:
    place.write_text(json.dumps(found, ensure_ascii=False), 'utf-8')
