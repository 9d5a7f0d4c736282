"""DINOv2-small as it was really trained, against ONNX Runtime.

  python tests/parity/fetch.py && pytest -n 0 tests/parity/test_real_dinov2.py

The weights are inside an ONNX file. They are written as a standard folder,
which `convert` reads without a flag.
"""
import json
import sys
import warnings

from bst_jax import convert
from bst_jax.interop import files
from bst_jax.run import experiment
from bst_jax.store import checkpoint
import fetch
import jax
import numpy as np
import pytest

onnx = pytest.importorskip('onnx', reason='pip install bst_jax[export]')
ort = pytest.importorskip('onnxruntime', reason='pip install bst_jax[export]')

NAME = 'vit_s_focus.onnx'
if not fetch.is_there(NAME):
  message = (f'NO REAL DINOV2 IS CONVERTED: {NAME} is not there; run python '
             'tests/parity/fetch.py')
  warnings.warn(message, stacklevel=1)
  print(message, file=sys.__stderr__)
  pytest.skip(message, allow_module_level=True)

CONFIG = dict(
    model_type='dinov2', architectures=['Dinov2Model'], hidden_size=384,
    num_hidden_layers=12, num_attention_heads=6, mlp_ratio=4, image_size=518,
    patch_size=14, hidden_act='gelu', layer_norm_eps=1e-6, qkv_bias=True,
    use_swiglu_ffn=False)
PICTURES = dict(
    do_resize=True, size={'shortest_edge': 256}, do_center_crop=True,
    crop_size={'height': 224, 'width': 224}, resample=3,
    image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225])
_PREFIX = 'backbone.'


def weights(graph):
  """Tensors of the backbone under transformers' names.

  Matrices of linear layers lost theirs, and stand the other way round: the
  path of the product that reads one tells it.
  """
  values = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
  found = {name.removeprefix(_PREFIX): value for name, value in values.items()
           if name.startswith(_PREFIX)}
  first, places = [], []
  for node in graph.node:
    if node.op_type == 'MatMul' and node.input[1] in values:
      path = node.output[0].removeprefix('/backbone/').removesuffix(
          '/MatMul_output_0').replace('/', '.')
      found[f'{path}.weight'] = values[node.input[1]].T
    if node.op_type == 'Concat' and node.input[0].startswith('onnx::'):
      first = values.get(node.input[0], first)
    if node.op_type == 'Reshape' and node.input[0] in values:
      places = values[node.input[0]]
  found['embeddings.position_embeddings'] = np.concatenate([first, places], 1)
  return found


def test_tokens_behind_the_last_layer(tmp_path):
  model = onnx.load(str(fetch.place(NAME)))
  files.save(tmp_path / 'model.safetensors', weights(model.graph))
  (tmp_path / 'config.json').write_text(json.dumps(CONFIG))
  (tmp_path / 'preprocessor_config.json').write_text(json.dumps(PICTURES))
  convert.read(None, None, tmp_path, tmp_path / 'work')
  exp = experiment.load(tmp_path / 'work')
  assert exp.model.token_grid == (16, 16)  # Of 37 x 37 places.
  params = checkpoint.load_params(tmp_path / 'work', exp.shapes)

  # Smooth, and as varied as pictures are.
  rng = np.random.default_rng(0)
  coarse = rng.integers(0, 256, (2, 14, 14, 3))
  image = np.kron(coarse, np.ones((1, 16, 16, 1))).astype(np.uint8)
  with jax.default_matmul_precision('highest'):
    _, kept = exp.model.apply(
        {'params': params}, {'image': image}, mutable=['intermediates'],
        capture_intermediates=lambda module, _: module.name == 'norm')
  got = np.asarray(kept['intermediates']['norm']['__call__'][0])

  last, = (node.output[0] for node in model.graph.node
           if f'{_PREFIX}layernorm.bias' in node.input)
  del model.graph.output[:]
  model.graph.output.append(onnx.helper.make_tensor_value_info(
      last, onnx.TensorProto.FLOAT, None))
  session = ort.InferenceSession(model.SerializeToString(),
                                 providers=['CPUExecutionProvider'])
  mean, std = (np.array(PICTURES[f'image_{key}']) for key in ('mean', 'std'))
  ready = ((image / 255 - mean) / std).astype(np.float32)
  want, = session.run([last], {
      session.get_inputs()[0].name: ready.transpose(0, 3, 1, 2)})
  assert got.shape == want.shape == (2, 257, 384)
  assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max()
  assert np.std(want, axis=1).min() > 1e-2
