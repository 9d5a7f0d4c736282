#!/usr/bin/env bash
# onnxruntime 1.32.0 with onnx 1.23.2, Python 3.11, Linux, CPU.
#
# quantize_dynamic makes a product of int8 of a Gemm whose alpha and beta are 1,
# and leaves every other Gemm in float32 without a word, also where it is the
# same product: beta = 0 with nothing to add, which is how jax2onnx 0.17 writes
# a matrix product. The file is then as large and as slow as before. Naming Gemm
# in op_types_to_quantize changes nothing.
#
# Seen:
#   alpha 1.0, beta 1.0: int8
#   alpha 0.5, beta 1.0: float32
#   alpha 1.0, beta 0.0: float32
#   alpha 1.0, beta 0.5: float32
#   warnings about Gemm: 0
#
# Exits 1 when a line changes.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/gemm.py" <<'PYTHON'
import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto
from onnxruntime import quantization

weights = np.random.default_rng(0).standard_normal((64, 64), np.float32)
float_of = lambda name: helper.make_tensor_value_info(
    name, TensorProto.FLOAT, [None, 64])
for alpha, beta in ((1.0, 1.0), (0.5, 1.0), (1.0, 0.0), (1.0, 0.5)):
  graph = helper.make_graph(
      [helper.make_node('Gemm', ['x', 'w', 'b'], ['y'], alpha=alpha,
                        beta=beta)],
      'gemm', [float_of('x')], [float_of('y')],
      [numpy_helper.from_array(weights, 'w'),
       numpy_helper.from_array(np.ones(64, np.float32), 'b')])
  onnx.save(helper.make_model(graph, ir_version=8, opset_imports=[
      helper.make_opsetid('', 17)]), 'float.onnx')
  quantization.quantize_dynamic(
      'float.onnx', 'int8.onnx', op_types_to_quantize=['Gemm', 'MatMul'],
      weight_type=quantization.QuantType.QInt8)
  kinds = {node.op_type for node in onnx.load('int8.onnx').graph.node}
  print(f'alpha {alpha}, beta {beta}: '
        f'{"int8" if "MatMulInteger" in kinds else "float32"}')
PYTHON

python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    onnxruntime==1.32.0 onnx==1.23.2
cd "$folder"
timeout 120 venv/bin/python gemm.py 2> log | tee seen
echo "warnings about Gemm: $(grep -ci gemm log || true)" | tee -a seen
diff seen - <<'SEEN'
alpha 1.0, beta 1.0: int8
alpha 0.5, beta 1.0: float32
alpha 1.0, beta 0.0: float32
alpha 1.0, beta 0.5: float32
warnings about Gemm: 0
SEEN
