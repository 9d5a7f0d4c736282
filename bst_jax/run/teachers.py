"""Another model as a frozen teacher: `config.teacher_from`, any workdir."""
from collections.abc import Mapping
import dataclasses
import pathlib
from typing import Any

from bst_jax import elastic
from bst_jax.layers import features
from bst_jax.run import experiment
from bst_jax.run import start as starts
from bst_jax.run.experiment import Experiment
from bst_jax.store import checkpoint
from bst_jax.store import workdir as workdirs
import jax
import numpy as np


def of(config: Mapping[str, Any]) -> Experiment | None:
  """The experiment that `config.teacher_from` names; None for none."""
  workdir = config.get('teacher_from')
  return experiment.load(workdir) if workdir else None


def params(config: Mapping[str, Any], teacher: Experiment) -> Any:
  """The teacher's parameters, on the host."""
  return checkpoint.load_params(config['teacher_from'], teacher.shapes)


def paired(config: Mapping[str, Any], teacher: Experiment | None,
           exp: Experiment, start: starts.Start | None) -> Any:
  """Which of a teacher's features are the student's, as its choice kept them.

  Args:
    config: of the student.
    teacher: whose workdir `config.teacher_from` is; None for none.
    exp: the student.
    start: whose parameters the student starts from, a part of the teacher's.

  Returns:
    int[d]; None where all are, or nothing is learnt from features.

  Raises:
    ValueError: nothing tells which are, or one of the two has no features.
  """
  weight = config['method'].get('feature_weight')
  if not weight or teacher is None:
    return None
  theirs, ours = (_features(one, where) for one, where in (
      (teacher, f'config.teacher_from ({config["teacher_from"]})'),
      (exp, 'config.model')))
  kept = _kept(start, teacher, *theirs)
  if kept is not None and len(kept) == ours[1]:
    return np.asarray(kept)
  if theirs[1] == ours[1] and kept is None:
    return None
  raise ValueError(
      f'config.method.feature_weight is {weight}, but the teacher has '
      f'{theirs[1]} features and the model {ours[1]}, and nothing tells which '
      'of them these are: start from a workdir whose choice.json was made for '
      f'{config["teacher_from"]} (train --from PRUNED), or set feature_weight '
      'to 0.')


def _features(exp, where):
  """Axis name and number of the features of a model."""
  name = features.axis(exp.axes)
  sown = jax.eval_shape(lambda params: exp.model.apply(
      {'params': params}, exp.example(), mutable=[features.SOWN])[1], exp.shapes)
  found = features.of(sown)
  if name is None or found is None:
    raise ValueError(
        f'config.method.feature_weight asks for the features of {where}, a '
        f'{exp.config.model.name}, which hands out none; ViT, PVTv2, CvT, '
        'PS-ViT, TimeSformer and X-ViT do. Set it to 0.')
  return name, found.shape[-1]


def _kept(start, teacher, name, count):
  """Indices of the teacher's features that a start kept; None where unknown."""
  if start is None:
    return None
  choice, of = start.choice, elastic.fingerprint(teacher.shapes)
  if choice is None:
    path = start.workdir / workdirs.CHOICE
    choice = experiment.read_choice(path) if path.exists() else None
  elif not choice.model:  # Of the workdir that it cuts.
    here = elastic.fingerprint(checkpoint.shapes(start.workdir))
    choice = dataclasses.replace(choice, model=here)
  if choice is None or choice.model != of:
    return None
  index = choice.keep.get(name, tuple(range(count)))
  axis = elastic.Axis(elastic.base(name), len(index))
  return tuple(index)[:choice.submodel.units(axis)]


def check(config: Mapping[str, Any], teacher: Experiment, exp: Experiment,
          data: Any) -> None:
  """Raises where a model cannot teach another; computes nothing.

  Args:
    config: of the student.
    teacher: whose workdir `config.teacher_from` is.
    exp: the student.
    data: what both read.

  Raises:
    ValueError: the teacher was converted in part, knows other words or answers,
      reads what the data have not, or returns what the task does not read.
  """
  workdir = pathlib.Path(config['teacher_from'])
  starts.check_known(workdir, data)
  for what, folder in starts.other_names(workdir, data).items():
    raise ValueError(
        f'config.teacher_from is {workdir}, but its {what} ({folder}) are '
        'others than those of the data, or stand in another order: it would '
        'teach the wrong ones. Use a teacher that was trained with the same '
        'config.data; or copy that folder into the new workdir, whose data '
        'then take them.')
  batch = {name: array for name, array in data.example.items()}
  try:
    outputs = jax.eval_shape(
        lambda params: teacher.model.apply({'params': params}, batch),
        teacher.shapes)
  except Exception as error:
    reason = ' '.join(str(error).split())[:200]
    raise ValueError(
        f'config.teacher_from is {workdir}, a {teacher.config.model.name} for '
        f'data of the sizes {dict(teacher.sizes)}, but it cannot read a batch '
        f'of these data, whose sizes are {dict(exp.sizes)} ({reason}). Use a '
        'teacher of data with the same inputs, of the same size.') from error
  missing = [name for name in exp.task.outputs if name not in outputs]
  if missing:
    raise ValueError(
        f'config.teacher_from is {workdir}, which returns '
        f'{", ".join(outputs)}, but task {exp.config.task.name} learns from '
        f'{", ".join(missing)}. Use a teacher that was trained for that task.')
