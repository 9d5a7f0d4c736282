#!/usr/bin/env bash
# onnxruntime 1.32.0 with onnx 1.23.2, Python 3.11, Linux, CPU.
#
# quantize_dynamic with per_channel=True gives a table that Gather reads a single
# scale, as it does with per_channel=False: the table is taken for an activation.
# One row that is 300 times as large as the others then makes zeros of nearly all
# numbers of these. A MatMul's weights have a scale a column in the same call.
#
# Seen:
#   scales of a MatMul of 64 columns: 64
#   scales of a table of 1000 rows of 64: 1
#   numbers of the 999 other rows that became 0: 100 %
#
# Exits 1 when a line changes.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/table.py" <<'PYTHON'
import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto
import onnxruntime
from onnxruntime import quantization

rng = np.random.default_rng(0)
table = rng.standard_normal((1000, 64), np.float32)
table[7] *= 300
kernel = rng.standard_normal((64, 64), np.float32)
output = lambda name: helper.make_tensor_value_info(
    name, TensorProto.FLOAT, [None, 64])
graph = helper.make_graph(
    [helper.make_node('Gather', ['table', 'ids'], ['rows']),
     helper.make_node('MatMul', ['rows', 'kernel'], ['y'])],
    'look_up',
    [helper.make_tensor_value_info('ids', TensorProto.INT64, [None])],
    [output('rows'), output('y')],
    [numpy_helper.from_array(table, 'table'),
     numpy_helper.from_array(kernel, 'kernel')])
onnx.save(helper.make_model(graph, ir_version=8, opset_imports=[
    helper.make_opsetid('', 17)]), 'float.onnx')
quantization.quantize_dynamic('float.onnx', 'int8.onnx', per_channel=True,
                              weight_type=quantization.QuantType.QInt8)
sizes = {one.name: int(np.prod(one.dims))
         for one in onnx.load('int8.onnx').graph.initializer}
rows = onnxruntime.InferenceSession('int8.onnx').run(
    ['rows'], {'ids': np.arange(1000)})[0]
print(f'scales of a MatMul of 64 columns: {sizes["kernel_scale"]}')
print(f'scales of a table of 1000 rows of 64: {sizes["table_scale"]}')
lost = 100 * (np.delete(rows, 7, 0) == 0).mean()
print(f'numbers of the 999 other rows that became 0: {lost:.0f} %')
PYTHON

python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    onnxruntime==1.32.0 onnx==1.23.2
cd "$folder"
timeout 120 venv/bin/python table.py 2> log | tee seen
diff seen - <<'SEEN'
scales of a MatMul of 64 columns: 64
scales of a table of 1000 rows of 64: 1
numbers of the 999 other rows that became 0: 100 %
SEEN
