"""Models as files that run without this package: StableHLO and ONNX.

A program is a function of the arrays in `batch`, its weights inside it, with a
batch of any size or, where one is asked for, of a fixed one; what has no axis is
one number for all rows. It gives one array, `logits`, or several by name.
"""
from collections.abc import Callable, Mapping
import contextlib
import logging as python_logging
import os
from typing import Any

from bst_jax.layers import platforms
from bst_jax.report import lean, operators, pools
from bst_jax.report import originals as originals_lib
import jax
from jax import export as jax_export
import numpy as np

PLATFORMS = ('cpu', 'cuda', 'tpu')

Batch = Mapping[str, Any]
Given = np.ndarray | dict[str, np.ndarray]
_LOGITS = 'logits'


def stablehlo(run: Callable[[Batch], Any], batch: Batch,
              rows: int | None = None) -> bytes:
  """The program as jax.export serialises it, for CPU, CUDA and TPU.

  Args:
    run: batch -> float[B, A], or {name: array}.
    batch: arrays, or their shapes, of one row; every first axis becomes B times
      what it is, and what has none stays.
    rows: B; None for any.
  """
  size, = (rows,) if rows else jax_export.symbolic_shape('b')
  abstract = {name: jax.ShapeDtypeStruct(
      (*(first * size for first in x.shape[:1]), *x.shape[1:]), x.dtype)
              for name, x in batch.items()}
  with platforms.portable():
    return bytes(jax_export.export(
        jax.jit(run), platforms=PLATFORMS)(abstract).serialize())


def run_stablehlo(data: bytes, batch: Batch) -> Given:
  """What a serialised program gives on this machine's device."""
  return read_stablehlo(data)(batch)


def read_stablehlo(data: bytes, written_by: str = jax.__version__
                   ) -> Callable[[Batch], Given]:
  """A serialised program, as batch -> float[B, A], or {name: array}.

  Args:
    data: what `stablehlo` wrote.
    written_by: version of jax that did.

  Raises:
    ValueError: this version of jax does not read it.
  """
  try:
    program = jax_export.deserialize(bytearray(data))
    call = jax.jit(program.call)
  except Exception as error:  # jax raises anything from ValueError up.
    raise _unread(written_by, error) from error

  def run(batch):
    try:
      return jax.tree.map(np.asarray, call(dict(batch)))
    except jax.errors.JaxRuntimeError as error:
      if 'eserialize' in str(error):
        raise _unread(written_by, error) from error
      raise

  return run


def _unread(written_by, error):
  return ValueError(
      f'The StableHLO program was written by jax {written_by} and is to be read'
      f' by jax {jax.__version__}, which does not know it '
      f'({str(error).splitlines()[0][:100]}). Read it with jax {written_by} or '
      'later, or write it for a fixed number of rows, which older versions read '
      'too: python -m bst_jax.export --batch N.')


def onnx(run: Callable[[Batch], Any], batch: Batch,
         rows: int | None = None) -> bytes:
  """The program as an ONNX file, inputs and outputs named as in both dicts.

  Args:
    run: batch -> float[B, A], whose name is `logits`, or {name: array}.
    batch, rows: as for `stablehlo`.
  """
  originals = originals_lib.Originals()
  names, outputs = sorted(batch), [_LOGITS]
  given = jax.eval_shape(run, batch)
  if isinstance(given, dict):
    outputs = sorted(given)

  def call(*arrays):
    converted = pools.functions()
    with (originals.used(), pools.replaced(converted), operators.used(),
          platforms.portable()):
      found = run(dict(zip(names, arrays)))
    return tuple(found[name] for name in outputs) if isinstance(
        found, dict) else found

  def spec(x):
    first = [rows * n if rows else 'B' if n == 1 else f'{n}*B'
             for n in x.shape[:1]]
    return jax.ShapeDtypeStruct((*first, *x.shape[1:]), x.dtype)

  with originals.kept(), silent('jax2onnx', 'onnx_ir', 'root'):
    import jax2onnx  # Of the extra `export`.

    model = jax2onnx.to_onnx(call, inputs=[spec(batch[n]) for n in names],
                             input_names=names, output_names=outputs)
    return lean.lean(model).SerializeToString()


@contextlib.contextmanager
def silent(*names: str):
  """Nothing but errors from these loggers, which tell of every shape."""
  loggers = [python_logging.getLogger(name) for name in names]
  levels = [logger.level for logger in loggers]
  try:
    for logger in loggers:
      logger.setLevel(python_logging.ERROR)
    yield
  finally:
    for logger, level in zip(loggers, levels):
      logger.setLevel(level)


def used(run: Callable[[Batch], jax.Array], batch: Batch) -> Batch:
  """The part of `batch` that `run` reads."""
  names = sorted(batch)
  program = jax.make_jaxpr(
      lambda *arrays: run(dict(zip(names, arrays))))(*map(batch.get, names))
  read = {id(v) for e in program.jaxpr.eqns for v in e.invars}
  return {name: batch[name] for name, v in zip(names, program.jaxpr.invars)
          if id(v) in read}


class Session:
  """An ONNX program in ONNX Runtime on a CPU."""

  def __init__(self, model: bytes | str | os.PathLike, threads: int = 1):
    """Takes the file or its bytes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = 3
    model = model if isinstance(model, bytes) else os.fspath(model)
    self._session = onnxruntime.InferenceSession(
        model, options, providers=['CPUExecutionProvider'])

  def __call__(self, batch: Batch) -> Given:
    """float[B, A] logits where there is nothing else, or all by name."""
    names = {i.name for i in self._session.get_inputs()}
    arrays = {k: np.asarray(x) for k, x in batch.items() if k in names}
    outputs = [one.name for one in self._session.get_outputs()]
    found = dict(zip(outputs, self._session.run(outputs, arrays)))
    return found[_LOGITS] if outputs == [_LOGITS] else found
