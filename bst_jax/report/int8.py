"""ONNX programs with int8 weights; activations are quantised as they run."""
import os
import pathlib
import tempfile
from typing import Any

from bst_jax.report import portable
import numpy as np

# Entries of the smallest weights that are worth two more operators.
_LEAST = 1024
# What reads weights that are stored as int8 and computed with in float32.
_STORED = ('Conv', 'Einsum', 'Loop', 'Scan')
ABOUT = ('weights are int8: of products with a scale a column, of tables of '
         'words with a scale a row, of convolutions and recurrent layers with a '
         'scale a channel, all else float32; what meets the products and LSTMs '
         'is quantised as the program runs')


def quantise(model: bytes) -> bytes:
  """The ONNX program with int8 weights. No data are needed.

  Weights are symmetric. Those of matrix products have a scale a column, and the
  activations that meet them are quantised as the program runs; so are those of
  LSTMs. They are stored without a sign, 128 for 0: of numbers with a sign,
  processors without VNNI add two products in 16 bits, which may not hold them.
  Those of tables that rows are looked up in have a scale a row: ONNX Runtime
  would give a table a single one, and a single large row would cost all others
  their precision. Those of convolutions and loops, which ONNX Runtime is slow
  with or leaves alone, are int8 in the file and float32 once it is loaded.
  """
  import onnx
  from onnxruntime import quantization
  from onnxruntime.quantization import shape_inference

  with tempfile.TemporaryDirectory() as folder:
    paths = [os.path.join(folder, f'{i}.onnx') for i in range(3)]
    pathlib.Path(paths[0]).write_bytes(model)
    # Folds constants, so that weights are seen where products read them.
    shape_inference.quant_pre_process(paths[0], paths[1],
                                      skip_symbolic_shape=True)
    folded = onnx.load(paths[1])
    _plain_products(folded.graph)
    _tables_by_row(folded.graph)
    _stored_small(folded.graph)
    onnx.save(folded, paths[1])
    with portable.silent('root'):  # It tells of every product that is none.
      quantization.quantize_dynamic(
          paths[1], paths[2], op_types_to_quantize=['MatMul', 'LSTM'],
          per_channel=True, weight_type=quantization.QuantType.QUInt8,
          extra_options={'EnableSubgraph': True, 'WeightSymmetric': True})
    small = onnx.load(paths[2])
    _unsigned(small.graph)
    return small.SerializeToString()


def _unsigned(graph: Any) -> None:
  """Makes the weights of recurrent layers unsigned too, in place."""
  from onnx import numpy_helper

  arrays = {one.name: one for one in graph.initializer}
  for node in graph.node:
    if node.op_type != 'DynamicQuantizeLSTM':
      continue
    for at in (1, 2, 9, 11):  # Weights, and what stands for 0 in them.
      one = arrays[node.input[at]]
      moved = numpy_helper.to_array(one).astype(np.int16) + 128
      one.CopyFrom(numpy_helper.from_array(moved.astype(np.uint8), one.name))


def _plain_products(graph: Any) -> None:
  """Makes a MatMul of every Gemm that adds nothing, in place.

  jax2onnx writes dense layers as `1 A B + 0 C`, which ONNX Runtime leaves in
  float32.
  """
  for node in graph.node:
    for inner in _inner(node):  # The body of a loop.
      _plain_products(inner)
    if node.op_type != 'Gemm':
      continue
    _turn(graph, node)
    given = {a.name: a.f if a.name in ('alpha', 'beta') else a.i
             for a in node.attribute}
    adds = len(node.input) > 2 and given.get('beta', 1.0) != 0
    if not adds and given.get('alpha', 1.0) == 1 and not (
        given.get('transA') or given.get('transB')):
      node.op_type = 'MatMul'
      del node.attribute[:], node.input[2:]


def _turn(graph: Any, node: Any) -> None:
  """Stores the weights of a product as it reads them, in place.

  A table whose rows are looked up and which scores words becomes two: that of
  the rows has a scale a row, that of the product one a word.
  """
  from onnx import numpy_helper

  turned = next((a for a in node.attribute if a.name == 'transB' and a.i), None)
  table = next((one for one in graph.initializer
                if one.name == node.input[1]), None)
  if turned is None or table is None:
    return
  name = f'{table.name}_turned'
  if all(one.name != name for one in graph.initializer):
    graph.initializer.append(numpy_helper.from_array(
        np.ascontiguousarray(numpy_helper.to_array(table).T), name))
  node.input[1] = name
  node.attribute.remove(turned)


def _tables_by_row(graph: Any) -> None:
  """Quantises float tables that nothing but look-ups of rows read, in place."""
  from onnx import numpy_helper

  tables = {name: one for name, one in _large(graph).items()
            if len(one.dims) == 2}
  for name in _looked_up(graph, tables):
    _replace(graph, tables[name], *scaled(numpy_helper.to_array(tables[name])))
    nodes = [part for node in graph.node
             for part in (_look_up(node, name) if name in node.input
                          else [node])]
    del graph.node[:]
    graph.node.extend(nodes)


def _stored_small(graph: Any) -> None:
  """Makes int8 of other large weights, which become float32 again, in place."""
  from onnx import helper, numpy_helper, TensorProto

  for name, weights in _large(graph).items():
    readers = {node.op_type for node in graph.node if name in node.input}
    if not readers or not readers <= set(_STORED) or len(weights.dims) < 2:
      continue
    # Of a convolution, outputs come first.
    axis = 0 if 'Conv' in readers else len(weights.dims) - 1
    _replace(graph, weights, *scaled(numpy_helper.to_array(weights), axis))
    nodes = [helper.make_node('Cast', [f'{name}_int8'], [f'{name}_float'],
                              to=TensorProto.FLOAT),
             helper.make_node('Mul', [f'{name}_float', f'{name}_scale'], [name]),
             *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _large(graph: Any) -> dict[str, Any]:
  """{name: float32 weights} of those that are worth it."""
  from onnx import TensorProto

  return {one.name: one for one in graph.initializer
          if np.prod(one.dims) >= _LEAST
          and one.data_type == TensorProto.FLOAT}


def _replace(graph: Any, weights: Any, small: np.ndarray,
             scale: np.ndarray) -> None:
  """Puts int8 numbers and their scales in the place of weights."""
  from onnx import numpy_helper

  name = weights.name
  graph.initializer.remove(weights)
  graph.initializer.extend([
      numpy_helper.from_array(small, f'{name}_int8'),
      numpy_helper.from_array(scale, f'{name}_scale')])


def _looked_up(graph: Any, names: Any) -> list[str]:
  """Those of the names that are read by look-ups of rows alone."""
  readers = {name: [node for node in graph.node if name in node.input]
             for name in names}
  inside = {name for node in graph.node for one in _inner(node)
            for inner in one.node for name in inner.input}
  by_rows = lambda node, name: (
      node.op_type == 'Gather' and node.input[0] == name
      and not any(a.name == 'axis' and a.i for a in node.attribute))
  return [name for name, nodes in readers.items()
          if nodes and name not in inside
          and all(by_rows(node, name) for node in nodes)]


def _inner(node: Any) -> list[Any]:
  """The graphs inside of a node."""
  return [one for a in node.attribute for one in [a.g, *a.graphs] if one.node]


def _look_up(node: Any, name: str) -> list[Any]:
  """Nodes that look up int8 rows and their scales, and multiply them."""
  from onnx import helper, TensorProto

  index, out = node.input[1], node.output[0]
  return [
      helper.make_node('Gather', [f'{name}_int8', index], [f'{out}_int8']),
      helper.make_node('Cast', [f'{out}_int8'], [f'{out}_float'],
                       to=TensorProto.FLOAT),
      helper.make_node('Gather', [f'{name}_scale', index], [f'{out}_scale']),
      helper.make_node('Mul', [f'{out}_float', f'{out}_scale'], [out])]


def scaled(weights: np.ndarray, axis: int = 0
           ) -> tuple[np.ndarray, np.ndarray]:
  """int8 numbers and float32 scales, one along an axis, whose product is near.

  Args:
    weights: float32[...].
    axis: each of its entries has a scale; all others share it.
  """
  others = tuple(i for i in range(weights.ndim) if i != axis)
  scale = np.abs(weights).max(others, keepdims=True) / np.float32(127)
  scale = np.where(scale > 0, scale, np.float32(1)).astype(np.float32)
  return np.rint(weights / scale).astype(np.int8), scale
