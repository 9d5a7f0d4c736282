"""ONNX programs without the operators that only ask for and make shapes."""
from collections.abc import Iterator, Sequence
import hashlib
from typing import Any

import numpy as np

# Operators that broadcast their inputs themselves.
_BROADCASTS = frozenset((
    'Add', 'And', 'Div', 'Equal', 'Greater', 'GreaterOrEqual', 'Less',
    'LessOrEqual', 'Max', 'Min', 'Mul', 'Or', 'Pow', 'Sub', 'Where', 'Xor'))
# What acts on every number alone, and may as well act before a Reshape.
_ACTIVATIONS = frozenset(('Gelu', 'Relu', 'Sigmoid', 'Tanh'))
_LARGE = 1024  # Entries of an array that is worth a look for its like.
# What is computed beforehand where its inputs are constants: it grows nothing.
_FOLDED = frozenset(('Cast', 'Concat', 'Gather', 'Mul', 'Reshape', 'Slice',
                     'Split', 'Squeeze', 'Transpose', 'Unsqueeze'))


def lean(model: Any) -> Any:
  """The ONNX program, which gives the same, with fewer operators.

  jax2onnx writes a reshape of a batch of any size as one to a shape that is
  computed, and repeats what meets a larger array until it is as large.

  Args:
    model: an onnx.ModelProto.
  """
  import onnx_ir
  from onnx_ir.passes import common

  program = onnx_ir.from_proto(model)
  for graph in _graphs(program.graph):
    for step in (_fix_sizes, _leave_to_readers, _fold, _multiply, _rectify,
                 _activate_first, _join_reshapes):
      for node in list(graph):
        step(graph, node)
  _store_once(program.graph)
  for step in (common.IdentityEliminationPass(),
               common.RemoveUnusedNodesPass(),
               common.CommonSubexpressionEliminationPass()):
    step(program)
  return onnx_ir.to_proto(program)


def _store_once(graph: Any) -> None:
  """Keeps one of equal large arrays, as of words that go in and come out."""
  kept = {}
  for value in list(graph.initializers.values()):
    array = _array(value)
    if array is None or array.size < _LARGE:
      continue
    key = (array.shape, array.dtype.str, hashlib.sha256(
        np.ascontiguousarray(array).view(np.uint8).data).digest())
    first = kept.setdefault(key, value)
    if first is not value:
      for node, index in list(value.uses()):
        node.replace_input_with(index, first)


def _graphs(graph: Any) -> Iterator[Any]:
  """A graph and those inside of its nodes."""
  yield graph
  for node in graph:
    for attribute in node.attributes.values():
      if attribute.type.name == 'GRAPH':
        yield from _graphs(attribute.value)


def _dims(value: Any) -> list[int | str] | None:
  """Sizes of a value, names for those of any size; None if one is unknown."""
  if value is None or value.shape is None:
    return None
  dims = [d if isinstance(d, int) else d.value for d in value.shape]
  return None if None in dims else dims


def _array(value: Any) -> np.ndarray | None:
  """The array that a value always is; None where it depends on the inputs."""
  if value is None or value.const_value is None or value.is_graph_input():
    return None
  return value.const_value.numpy()


def _constant(graph: Any, name: str, array: np.ndarray) -> Any:
  """A new array of the file."""
  import onnx_ir

  tensor = onnx_ir.tensor(array, name=name)
  value = onnx_ir.Value(name=name, const_value=tensor, shape=tensor.shape,
                        type=onnx_ir.TensorType(tensor.dtype))
  graph.initializers[name] = value
  return value


def _before(graph: Any, node: Any, kind: str, inputs: Sequence[Any],
            dims: Sequence[Any], **attributes: Any) -> Any:
  """The output of a new node in front of another."""
  import onnx_ir

  new = onnx_ir.node(kind, inputs, attributes)
  value, = new.outputs
  value.name = f'{node.outputs[0].name}_{kind.lower()}_{len(graph)}'
  value.type, value.shape = node.outputs[0].type, onnx_ir.Shape(dims)
  graph.insert_before(node, new)
  return value


def _use(old: Any, new: Any) -> None:
  """Gives all readers of a value another in its place."""
  if not old.is_graph_output():
    old.replace_all_uses_with(new)


def _fix_sizes(graph, node):
  """Gives a Reshape constant sizes, where no more than one is of any size."""
  if node.op_type != 'Reshape' or _array(node.inputs[1]) is not None:
    return
  old, new = map(_dims, (node.inputs[0], node.outputs[0]))
  if new is None or 0 in new:
    return
  sizes = [d if isinstance(d, int) else
           0 if old and i < len(old) and d == old[i] else -1
           for i, d in enumerate(new)]
  if sum(not isinstance(d, int) for d in new) == 1:
    sizes = [d if isinstance(d, int) else -1 for d in new]
  if sizes.count(-1) <= 1:
    node.replace_input_with(1, _constant(
        graph, f'{node.outputs[0].name}_sizes', np.array(sizes, np.int64)))


def _leave_to_readers(graph, node):
  """Takes an Expand out of the way of operators that broadcast on their own."""
  del graph
  if node.op_type != 'Expand':
    return
  source, wide = node.inputs[0], node.outputs[0]
  before, after = _dims(source), _dims(wide)
  if before is None or after is None:
    return
  if before == after:
    _use(wide, source)
  for reader, index in list(wide.uses()):
    if reader.op_type in _BROADCASTS and _covered(reader, wide, source):
      reader.replace_input_with(index, source)


def _covered(reader, wide, source):
  """Whether a reader's result is as large without the repetition."""
  shapes = [_dims(source if x is wide else x) for x in reader.inputs]
  return None not in shapes and (
      _broadcast(shapes) == _dims(reader.outputs[0]))


def _broadcast(shapes: Sequence[Sequence[int | str]]) -> list[int | str]:
  """The shape that arrays of these shapes have together."""
  rank = max(map(len, shapes))
  padded = [[1] * (rank - len(shape)) + list(shape) for shape in shapes]
  return [next((d for d in dims if d != 1), 1) for dims in zip(*padded)]


def _fold(graph, node):
  """Computes once and for all what is made of constants alone."""
  if node.op_type not in _FOLDED:
    return
  arrays = [_array(x) for x in node.inputs]
  if any(x is None for x in arrays) or any(
      x.is_graph_output() for x in node.outputs):
    return
  for old, array in zip(node.outputs, _computed(node, arrays)):
    _use(old, _constant(graph, f'{old.name}_folded', np.asarray(array)))


def _computed(node: Any, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
  """What a node makes of arrays, by onnx's own reference."""
  import onnx
  from onnx import helper
  from onnx.reference import ReferenceEvaluator
  import onnx_ir

  proto = onnx_ir.to_proto(node)
  proto.input[:] = [f'input_{i}' for i in range(len(arrays))]
  info = lambda name: helper.make_value_info(name, onnx.TypeProto())
  graph = helper.make_graph([proto], 'folded', [*map(info, proto.input)],
                            [*map(info, proto.output)])
  model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 23)])
  return ReferenceEvaluator(model).run(None, dict(zip(proto.input, arrays)))


def _multiply(graph, node):
  """Makes a MatMul of an Einsum that is one for every row of a batch.

  ONNX Runtime multiplies one by one what Einsum sums over.
  """
  if node.op_type != 'Einsum' or len(node.inputs) != 2:
    return
  terms, _, out = node.attributes['equation'].value.partition('->')
  first, second = terms.split(',')
  shapes = [_dims(x) for x in node.inputs]
  if None in shapes or not out or '.' in terms:
    return
  size = dict(zip(first + second, shapes[0] + shapes[1]))
  batch = [c for c in out if c in first and c in second]
  summed = [c for c in first if c in second and c not in out]
  rows = [c for c in first if c not in second]
  columns = [c for c in second if c not in first]
  order = ''.join(batch + rows + columns)
  if order != out or len(summed) != 1 or len(rows) > 1 or len(columns) > 1:
    return
  left = _arranged(graph, node, 0, first, batch + rows + summed, size)
  right = _arranged(graph, node, 1, second, batch + summed + columns, size)
  lead, missing = len(batch), []
  axes = lambda *at: _constant(
      graph, f'{node.outputs[0].name}_axes_{len(graph)}',
      np.array(at, np.int64))
  dims = [size[c] for c in batch]
  if not rows:
    left = _before(graph, node, 'Unsqueeze', [left, axes(lead)],
                   [*dims, 1, size[summed[0]]])
    missing.append(lead)
  if not columns:
    right = _before(graph, node, 'Unsqueeze', [right, axes(lead + 1)],
                    [*dims, size[summed[0]], 1])
    missing.append(lead + 1)
  y = _before(graph, node, 'MatMul', [left, right], [
      *dims, size[rows[0]] if rows else 1, size[columns[0]] if columns else 1])
  if missing:
    y = _before(graph, node, 'Squeeze', [y, axes(*missing)],
                [size[c] for c in out])
  _use(node.outputs[0], y)


def _arranged(graph, node, index, letters, order, size):
  """An input of an Einsum with its axes in another order."""
  value = node.inputs[index]
  if list(letters) == order:
    return value
  return _before(graph, node, 'Transpose', [value], [size[c] for c in order],
                 perm=[letters.index(c) for c in order])


def _rectify(graph, node):
  """A maximum with 0 is a Relu, which ONNX Runtime joins with a product."""
  if node.op_type != 'Max' or len(node.inputs) != 2:
    return
  for x, bound in (node.inputs, node.inputs[::-1]):
    array = _array(bound)
    if array is not None and array.size == 1 and not array.any() and (
        x.dtype is not None and x.dtype.is_floating_point()):
      _use(node.outputs[0], _before(
          graph, node, 'Relu', [x], node.outputs[0].shape))
      return


def _activate_first(graph, node):
  """Moves an activation in front of a Reshape, next to what it is of."""
  if node.op_type not in _ACTIVATIONS:
    return
  source = node.inputs[0].producer()
  if source is None or source.op_type != 'Reshape' or (
      len(node.inputs[0].uses()) > 1 or node.inputs[0].is_graph_output()):
    return
  inner = source.inputs[0]
  attributes = {k: a.value for k, a in node.attributes.items()}
  y = _before(graph, node, node.op_type, [inner], inner.shape, **attributes)
  _use(node.outputs[0], _before(
      graph, node, 'Reshape', [y, source.inputs[1]], node.outputs[0].shape))


def _join_reshapes(graph, node):
  """Leaves out a Reshape that another follows, or that changes nothing."""
  del graph
  if node.op_type != 'Reshape':
    return
  sizes, source = _array(node.inputs[1]), node.inputs[0].producer()
  if sizes is None or 0 in sizes:
    return
  if source is not None and source.op_type == 'Reshape':
    node.replace_input_with(0, source.inputs[0])
  shape = node.inputs[0].shape
  if shape is not None and len(shape) == len(sizes) and all(
      size in (-1, dim) for size, dim in zip(sizes, shape)):
    _use(node.outputs[0], node.inputs[0])
