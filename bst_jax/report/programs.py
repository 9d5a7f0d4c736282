"""A model as programs in files, which give what the model gives."""
from collections.abc import Callable, Iterator, Mapping, Sequence
import functools
from typing import Any

from absl import logging
from bst_jax import elastic, tasks
from bst_jax.elastic import Submodel
from bst_jax.report import costs, int8, latency, portable, scoring
from bst_jax.run.experiment import Experiment
import jax
import numpy as np

SUFFIXES = {'stablehlo': 'stablehlo', 'onnx': 'onnx', 'int8': 'int8.onnx'}
FORMATS = tuple(SUFFIXES)
TOLERANCE = 1e-4  # of the greatest logit, between files and the JAX model

Batch = Mapping[str, Any]
Call = Callable[[Batch], Any]


def file_name(program: str, form: str) -> str:
  """Of a program in a format, as model.int8.onnx."""
  return f'{program}.{SUFFIXES[form]}'


def of(exp: Experiment, params: Any, sub: Submodel, words: Any = None
       ) -> tasks.Files:
  """The programs that a submodel is, as its task says; most are a single one.

  Args:
    exp: the experiment.
    params: of the full model.
    sub: the submodel.
    words: vocabulary of texts; None where nobody knows any.
  """
  model, task = exp.model.at(sub), exp.task
  params = jax.tree.map(np.asarray, exp.extract(params, sub))
  if task.files is not None:
    return task.files(exp, model, params, words)

  def logits(batch):
    outputs = model.apply({'params': params}, batch)
    return ({name: outputs[name] for name in task.exported} if task.exported
            else outputs[task.outputs[0]])

  def outputs(calls, batch):
    found = calls['model'](batch)
    return found if task.exported else {task.outputs[0]: found}

  return tasks.Files(
      {'model': tasks.Program(logits, portable.used(logits, exp.example()))},
      outputs, lambda batch: jax.tree.map(np.asarray, logits(batch)),
      lambda calls, batch, wanted: {
          'difference': difference(calls['model'](batch), wanted)})


def in_jax(files: tasks.Files) -> dict[str, Call]:
  """The programs as JAX runs them."""
  return {name: jax.jit(program.run)
          for name, program in files.programs.items()}


def made(files: tasks.Files, formats: Sequence[str], rows: int | None
         ) -> Iterator[tuple[str, dict[str, bytes], dict[str, Call]]]:
  """(format, {program: bytes}, {program: call}) of each, in a fixed order.

  Args:
    files: the programs.
    formats: of `FORMATS`.
    rows: that files take at a time; None for any number.
  """
  models = {}
  for form in FORMATS:
    blobs, calls = {}, {}
    for name, program in files.programs.items() if form in formats else ():
      logging.info('making %s', file_name(name, form))
      run, inputs = program.run, program.inputs
      if form == 'stablehlo':
        blobs[name] = portable.stablehlo(run, inputs, rows)
        calls[name] = functools.partial(portable.run_stablehlo, blobs[name])
        continue
      if name not in models:
        models[name] = portable.onnx(run, inputs, rows)
      blobs[name] = (int8.quantise(models[name]) if form == 'int8' else
                     models[name])
      calls[name] = portable.Session(blobs[name])
    if blobs:
      yield form, blobs, calls


def in_parts(call: Call, inputs: Batch, rows: int | None) -> Call:
  """A file of fixed rows as one of any number: its last part is filled up.

  Args:
    call: the file as it runs.
    inputs: of one row.
    rows: that it takes; None where it takes any number, and is left as it is.
  """
  if rows is None:
    return call
  several = [name for name, x in inputs.items() if np.ndim(x)]

  def run(batch):
    count = max(len(batch[k]) // len(inputs[k]) for k in several)
    parts = []
    for first in range(0, count, rows):
      index = np.minimum(np.arange(first, first + rows), count - 1)
      parts.append(call(dict(batch) | {
          k: _rows(np.asarray(batch[k]), count, index) for k in several}))
    return jax.tree.map(lambda *each: np.concatenate(each)[:count], *parts)

  return run


def _rows(x, count, index):
  """Some of `count` rows, each of which is one or more entries of x."""
  return x.reshape(count, -1, *x.shape[1:])[index].reshape(-1, *x.shape[1:])


def check(files: tasks.Files, form: str, calls: Mapping[str, Call],
          asked: Batch, wanted: Any) -> dict[str, float]:
  """How far the files of a format are from the model.

  Args:
    files: the programs.
    form: of `FORMATS`; int8 may be as far as it is.
    calls: the files as they run, of any number of rows.
    asked: a batch.
    wanted: what `files.wanted` gave of it.

  Raises:
    ArithmeticError: they give something else than the model.
  """
  found = files.compare(calls, asked, wanted)
  # NaN is not within it either.
  wrong = [name for name, far in found.items() if not far <= TOLERANCE]
  if form != 'int8' and wrong:
    names = ', '.join(file_name(name, form) for name in calls)
    what = ' and '.join(f'{name.replace("_", " ")} is {found[name]:.1e}'
                        for name in wrong)
    raise ArithmeticError(
        f'{names} were to give what the JAX model gives, but {what}, where '
        f'{TOLERANCE:.0e} is rounding; nothing was written. Please report this.')
  return found


def timed(call: Call, inputs: Batch, asked: Batch, rows: int | None) -> float:
  """Milliseconds of as many rows as a file takes at a time, or of one.

  Args:
    call: what runs them.
    inputs: of one row.
    asked: what is run, as far as it has it; zeros in place of the rest.
    rows: that a file takes at a time; None for any number.
  """
  some = {}
  for name, like in inputs.items():
    x = np.asarray(asked.get(name, like))
    some[name] = np.resize(x, ((rows or 1) * len(like), *x.shape[1:])) if (
        np.ndim(like)) else x
  return 1e3 * latency.median_seconds(lambda: call(some), runs=30)


def difference(got: Any, want: Any) -> float:
  """The greatest one of any output, as a share of that output's greatest."""
  def of_one(got, want):
    got, want = (np.asarray(x, np.float64) for x in (got, want))
    return np.abs(got - want).max() / max(np.abs(want).max(), 1e-12)
  return float(max(jax.tree.leaves(jax.tree.map(of_one, got, want))))


def about(exp: Experiment, sub: Submodel, files: tasks.Files, rows: int | None
          ) -> dict[str, Any]:
  """What a card says of programs: sizes, costs, inputs and outputs.

  Of several ones `programs` says the last two of each, `macs` are those of all
  runs of a row, and `beside` are the files that people run them with.
  """
  each = {name: {'inputs': _shapes(program.inputs, rows),
                 'outputs': _shapes(_outputs(program), rows)}
          for name, program in files.programs.items()}
  row, first = scoring.row(exp, sub), next(iter(each.values()))
  if len(each) == 1:
    return row | first
  for name, program in files.programs.items():
    each[name] |= {'times': program.times,
                   'macs': costs.count(program.run, program.inputs).macs}
  return row | first | {
      'programs': each, 'note': files.note, 'beside': [*files.beside],
      'macs': sum(one['macs'] * one['times'] for one in each.values())}


def _outputs(program):
  given = jax.eval_shape(program.run, dict(program.inputs))
  return given if isinstance(given, dict) else {'logits': given}


def _shapes(arrays, rows):
  first = lambda n: rows * n if rows else 'B' if n == 1 else f'{n} B'
  return {name: {'shape': [*map(first, x.shape[:1]), *x.shape[1:]],
                 'dtype': str(x.dtype)} for name, x in sorted(arrays.items())}


def check_formats(formats: Sequence[str]) -> None:
  """Raises a ValueError for a name that is none of `FORMATS`."""
  for form in formats:
    elastic.check_name(form, FORMATS, 'format')
