"""What our layers are in ONNX: operators of its own, in place of their parts.

While a program is traced for ONNX, dense layers, LSTMs, normalisations, softmax
and GELU are primitives, which jax2onnx asks the functions here to write. Traced
as they are, an LSTM is a loop of a dozen operators a step, a normalisation is
up to 25 operators, and every dense layer asks for the shape of its input twice.
"""
from collections.abc import Callable, Iterator
import contextlib
import functools
import math
from typing import Any

from bst_jax.layers import cached, linear, recurrent, tokens
import jax
from jax.extend import core
import jax.numpy as jnp
import numpy as np

# Of ONNX's LSTM: input, output, forget, cell; ours are i, f, g, o.
_GATES = (0, 3, 1, 2)
# Added to a variance so that a constant row is no division by zero.
_TINY = 1e-30


@contextlib.contextmanager
def used() -> Iterator[None]:
  """Our layers are traced as primitives within; of float32 alone."""
  _register()
  replaced = {(linear, 'product'): _product,
              (linear, 'rows'): _rows,
              (linear, 'by_rows'): _by_rows,
              (cached, 'put'): _put,
              (linear, 'layer_norm'): _layer_norm,
              (tokens, 'nonzero_rows'): _nonzero_rows,
              (recurrent, 'unroll'): _unroll,
              (jax.nn, 'softmax'): _softmax,
              (jax.nn, 'gelu'): _gelu}
  before = {key: getattr(*key) for key in replaced}
  try:
    for (owner, name), by in replaced.items():
      setattr(owner, name, functools.partial(by, before[owner, name]))
    yield
  finally:
    for (owner, name), value in before.items():
      setattr(owner, name, value)


def _primitive(name, shape, dtype=jnp.float32):
  """A primitive that gives an array of the shape that `shape` tells."""
  primitive = core.Primitive(f'bst_jax_{name}')
  primitive.def_abstract_eval(lambda *args, **params: jax.core.ShapedArray(
      shape(*(x.shape for x in args), **params), dtype))
  return primitive


_SAME = lambda x, *others, **params: x
_PRODUCT = _primitive('product', lambda x, kernel, *bias, inp, out: (
    *x[:len(x) - inp], *out))
_NORM = _primitive('layer_norm', _SAME)
_LSTM = _primitive('lstm', lambda x, kernel, recurrent, bias: (
    *x[:2], recurrent[-1]))
_ROWS = _primitive('rows', lambda table, ids: (*ids, table[-1]))
_BY_ROWS = _primitive('by_rows', lambda x, table: (*x[:-1], table[0]))
_NONZERO = _primitive('nonzero_rows', lambda x: x[:-1], jnp.bool_)
_SOFTMAX = _primitive('softmax', _SAME)
_GELU = _primitive('gelu', _SAME)


def _single(*arrays):
  return all(x is None or x.dtype == jnp.float32 for x in arrays)


def _product(original, x, kernel, bias, inp, out):
  if not _single(x, kernel, bias):
    return original(x, kernel, bias, inp, out)
  flat = kernel.reshape(math.prod(inp), -1)
  rest = () if bias is None else (bias.reshape(-1),)
  return _PRODUCT.bind(x, flat, *rest, inp=len(inp), out=tuple(out))


def _rows(original, table, ids):
  if not _single(table) or ids.dtype != jnp.int32:
    return original(table, ids)
  return _ROWS.bind(table, ids)


def _by_rows(original, x, table):
  return _BY_ROWS.bind(x, table) if _single(x, table) else original(x, table)


def _put(original, kept, new, place):
  del original
  at = jnp.arange(kept.shape[2])[:, None]
  for i in range(new.shape[2]):
    kept = jnp.where(at == place + i, new[:, :, i:i + 1], kept)
  return kept


def _nonzero_rows(original, features):
  return (_NONZERO.bind(features) if _single(features)
          else original(features))


def _layer_norm(original, x, scale, bias, *, form, eps):
  if not _single(x, scale, bias):
    return original(x, scale, bias, form=form, eps=eps)
  return _NORM.bind(x, scale, bias, form=form, eps=eps)


def _unroll(original, x, *weights):
  if not _single(x, *weights):
    return original(x, *weights)

  def ordered(z):  # The last axis, of gates, comes first.
    gates = jnp.split(z.T, 4)
    return jnp.concatenate([gates[i] for i in _GATES])[None]

  kernel, recurrent, *biases = map(ordered, weights)
  return _LSTM.bind(x, kernel, recurrent, jnp.concatenate(biases, -1))


def _softmax(original, x, axis=-1, **options):
  if options or not isinstance(axis, int) or not _single(x):
    return original(x, axis, **options)
  return _SOFTMAX.bind(x, axis=axis % x.ndim)


def _gelu(original, x, approximate=True):
  if not _single(x):
    return original(x, approximate)
  return _GELU.bind(x, approximate='tanh' if approximate else 'none')


class _Writer:
  """Writes nodes into the graph that jax2onnx builds for an equation."""

  def __init__(self, context: Any, equation: Any):
    self._context, self._builder = context, context.builder
    self.inputs = [context.get_value_for_var(v) for v in equation.invars]
    self.shapes = [v.aval.shape for v in equation.invars]
    self._var = equation.outvars[0]
    self._spec = context.get_value_for_var(self._var)

  def node(self, kind: str, *inputs: Any, shape: Any = None,
           **attributes: Any) -> Any:
    """The output of a new node, of the first input's shape if none is given."""
    import onnx_ir

    value = getattr(self._builder, kind)(
        *inputs, _outputs=[self._context.fresh_name(kind.lower())],
        **attributes)
    value.type = (self._spec.type if kind == 'Equal' else
                  onnx_ir.TensorType(inputs[0].dtype))
    value.shape = onnx_ir.Shape(inputs[0].shape if shape is None else shape)
    return value

  def constant(self, value: Any, dtype: Any = np.float32) -> Any:
    """An array that is part of the file."""
    return self._builder.add_initializer_from_array(
        self._context.fresh_name('constant'), np.asarray(value, dtype))

  def finish(self, value: Any) -> None:
    """Says which output is the equation's."""
    value.type, value.shape = self._spec.type, self._spec.shape
    self._context.bind_value_for_var(self._var, value)


def _write_product(write, inp, out):
  x, kernel, *bias = write.inputs
  lead, width = x.shape[:len(x.shape) - inp], kernel.shape[0]
  if sum(not isinstance(d, int) for d in lead) > 1:
    return _write_wide_product(write, lead, out)
  # ONNX Runtime adds the bias inside the product of two matrices alone.
  if len(x.shape) > 2 or inp > 1:
    x = write.node('Reshape', x, write.constant([-1, width], np.int64),
                   shape=[None, width])
  y = write.node('Gemm', x, kernel, *bias, shape=[None, kernel.shape[1]])
  if len(lead) == len(out) == 1:
    return y
  sizes = [d if isinstance(d, int) else -1 for d in (*lead, *out)]
  return write.node('Reshape', y, write.constant(sizes, np.int64))


def _write_wide_product(write, lead, out):
  """One of several axes of any size."""
  x, kernel, *bias = write.inputs
  width = kernel.shape[0]
  # A 0 keeps an axis as it is.
  sizes = lambda *last: write.constant([0] * len(lead) + list(last), np.int64)
  x = write.node('Reshape', x, sizes(width), shape=[*lead, width])
  y = write.node('MatMul', x, kernel, shape=[*lead, kernel.shape[1]])
  if bias:
    y = write.node('Add', y, bias[0])
  return write.node('Reshape', y, sizes(*out))


def _write_by_rows(write):
  x, table = write.inputs
  rows, width = table.shape
  # What is turned here is turned in the product, not in the file.
  flat = write.node('Reshape', x, write.constant([-1, width], np.int64),
                    shape=[None, width])
  y = write.node('Gemm', flat, table, transB=1, shape=[None, rows])
  sizes = [d if isinstance(d, int) else -1 for d in (*x.shape[:-1], rows)]
  return write.node('Reshape', y, write.constant(sizes, np.int64))


def _write_norm(write, form, eps):
  x, scale, bias = write.inputs
  if form == 'standard':
    return write.node('LayerNormalization', x, scale, bias, axis=-1,
                      epsilon=eps)
  # The deviation is the length of what is centred, over sqrt(d - 1).
  root = math.sqrt(write.shapes[0][-1] - 1)
  over = dict(shape=[*x.shape[:-1], 1])
  mean = write.node('ReduceMean', x, write.constant([-1], np.int64), **over)
  centred = write.node('Sub', x, mean)
  length = write.node('ReduceL2', centred, write.constant([-1], np.int64),
                      **over)
  length = write.node('Add', length, write.constant(eps * root))
  scale = write.node('Mul', scale, write.constant(root))
  return write.node('Add', write.node(
      'Mul', write.node('Div', centred, length), scale), bias)


def _write_lstm(write):
  x, kernel, recurrent, bias = write.inputs
  rows, steps, _ = x.shape
  size = recurrent.shape[-1]
  # ONNX Runtime reads the steps first alone.
  x = write.node('Transpose', x, perm=[1, 0, 2],
                 shape=[steps, rows, x.shape[-1]])
  y = write.node('LSTM', x, kernel, recurrent, bias, hidden_size=size,
                 shape=[steps, 1, rows, size])
  y = write.node('Squeeze', y, write.constant([1], np.int64),
                 shape=[steps, rows, size])
  return write.node('Transpose', y, perm=[1, 0, 2], shape=[rows, steps, size])


def _write_nonzero_rows(write):
  x, = write.inputs
  # Nothing cancels in a sum of what has no sign. Two operators, as ONNX Runtime
  # takes three times as long for ReduceL1.
  total = write.node('ReduceSum', write.node('Abs', x), write.constant(
      [-1], np.int64), keepdims=0, shape=x.shape[:-1])
  return write.node('Not', write.node('Equal', total, write.constant(0)))


_WRITE: dict[Any, Callable[..., Any]] = {
    _PRODUCT: _write_product, _NORM: _write_norm, _LSTM: _write_lstm,
    _NONZERO: _write_nonzero_rows,
    _ROWS: lambda write: write.node('Gather', *write.inputs),
    _BY_ROWS: _write_by_rows,
    _SOFTMAX: lambda write, axis: write.node(
        'Softmax', write.inputs[0], axis=axis),
    _GELU: lambda write, approximate: write.node(
        'Gelu', write.inputs[0], approximate=approximate)}


@functools.cache
def _register():
  """Tells jax2onnx of the primitives."""
  from jax2onnx.plugins import plugin_system

  for primitive, function in _WRITE.items():
    class Plugin(plugin_system.PrimitiveLeafPlugin):
      """Of one primitive."""

      def lower(self, ctx, eqn, function=function):
        write = _Writer(ctx, eqn)
        write.finish(function(write, **eqn.params))

    plugin_system.register_primitive(jaxpr_primitive=primitive.name)(Plugin)
