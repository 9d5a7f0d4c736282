"""Another model as a frozen teacher: `config.teacher_from`, any workdir."""
from collections.abc import Mapping
import pathlib
from typing import Any

from bst_jax.run import experiment
from bst_jax.run import start as starts
from bst_jax.run.experiment import Experiment
from bst_jax.store import checkpoint
import jax


def of(config: Mapping[str, Any]) -> Experiment | None:
  """The experiment that `config.teacher_from` names; None for none."""
  workdir = config.get('teacher_from')
  return experiment.load(workdir) if workdir else None


def params(config: Mapping[str, Any], teacher: Experiment) -> Any:
  """The teacher's parameters, on the host."""
  return checkpoint.load_params(config['teacher_from'], teacher.shapes)


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
