"""What exported programs are made of: single operators, and all in int8."""
import collections

from bst_jax.elastic import Axis
from bst_jax.layers import activations, linear, recurrent
from bst_jax.layers.tokens import masked_softmax
from bst_jax.report import int8, portable
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_export_backbones

onnx = pytest.importorskip('onnx', reason='pip install bst_jax[export]')


def kinds(file):
  graph = onnx.load_from_string(file).graph
  return collections.Counter(node.op_type for node in graph.node)


def both(run, x):
  """(the file's result, JAX's, counts of operators) of a function of x."""
  file = portable.onnx(lambda batch: run(batch['x']), {'x': x[:1]})
  return portable.Session(file)({'x': x}), np.asarray(run(x)), kinds(file)


@pytest.fixture(scope='module')
def mcan():
  run, batch, one = test_export_backbones.made('mcan_vqa')
  return run, batch, portable.onnx(run, one)


def test_a_question_is_read_by_one_operator_and_no_shape_is_asked_for(mcan):
  counts = kinds(mcan[2])
  assert counts['LSTM'] == 1 and counts['Softmax'] == 8
  for kind in ('Loop', 'Shape', 'Expand', 'Concat', 'Einsum', 'Cast', 'Max'):
    assert not counts[kind], (kind, counts)


def test_every_dense_layer_is_one_of_int8(mcan):
  quantised = onnx.load_from_string(int8.quantise(mcan[2])).graph
  weights = {x.name: x for x in quantised.initializer}
  counts = collections.Counter(node.op_type for node in quantised.node)
  assert counts['MatMulInteger'] == kinds(mcan[2])['Gemm']
  assert counts['DynamicQuantizeLSTM'] == 1 and not counts['Gemm']
  for node in quantised.node:
    if node.op_type == 'MatMul':  # Of activations with each other.
      assert not weights.keys() & set(node.input)


@pytest.mark.parametrize('form, eps', [('standard', 1e-6), ('standard', 1e-12),
                                       ('unbiased_std', 1e-6)])
def test_normalisations_are_few_operators(form, eps):
  rng = np.random.default_rng(0)
  x = rng.standard_normal((3, 4, 24), np.float32)
  x[0, 1] = 0  # As padding is.
  x[0, 2] = 2.5
  x[1] *= 1e-3
  x[2] += 30
  scale, bias = rng.standard_normal((2, 24), np.float32)
  got, want, counts = both(lambda x: linear.layer_norm(
      x, scale, bias, form=form, eps=eps), x)
  np.testing.assert_allclose(got, want, atol=2e-5, rtol=2e-5)
  assert counts.total() == (1 if form == 'standard' else 7)


@pytest.mark.parametrize('run, kind', [
    (activations.gelu, 'Gelu'), (activations.gelu_tanh, 'Gelu'),
    (lambda x: masked_softmax(x, None), 'Softmax')])
def test_activations_are_one_operator(run, kind):
  x = 4 * np.random.default_rng(0).standard_normal((3, 5, 7), np.float32)
  got, want, counts = both(run, x)
  np.testing.assert_allclose(got, want, atol=1e-6)
  assert counts == {kind: 1}


def test_an_lstm_has_its_gates_in_order():
  rng = np.random.default_rng(0)
  lstm = recurrent.Lstm(Axis('word', 6), 5)
  x = rng.standard_normal((3, 7, 6), np.float32)
  params = lstm.init(jax.random.key(0), x)
  got, want, counts = both(lambda x: lstm.apply(params, x), x)
  np.testing.assert_allclose(got, want, atol=1e-6)
  assert counts['LSTM'] == 1 and not counts['Loop']


def test_rows_that_are_not_there_are_refused():
  table = np.ones((4, 3), np.float32)
  file = portable.onnx(lambda batch: linear.rows(table, batch['tokens']),
                       {'tokens': np.zeros((1, 2), np.int32)})
  session = portable.Session(file)
  assert session({'tokens': np.array([[3, 0]], np.int32)}).shape == (1, 2, 3)
  with pytest.raises(Exception, match='(?i)out of'):
    session({'tokens': np.array([[4, 0]], np.int32)})


def test_products_of_int8_are_exact_on_any_processor():
  # Two terms of 255 * 127 do not fit the 16 bits that some processors use.
  x = np.array([[1, 1, 1, 1], [1, 1, 0, 1]], np.float32)
  kernel = np.array([[1, 0.5], [1, -1], [1, 0], [1, 1]], np.float32)
  kernel = np.tile(kernel, (1, 16))
  file = portable.onnx(lambda batch: linear.product(
      batch['x'], kernel, None, (4,), (32,)), {'x': x[:1]})
  small = int8.quantise(file)
  assert kinds(small)['MatMulInteger'] == 1
  got = portable.Session(small)({'x': x})
  np.testing.assert_allclose(got, x @ kernel, atol=0.02)


def test_nothing_of_an_export_is_left_in_training():
  layers = [(linear.product, linear, 'product'), (linear.rows, linear, 'rows'),
            (linear.layer_norm, linear, 'layer_norm'),
            (recurrent.unroll, recurrent, 'unroll')]

  def loss(x):
    y = linear.layer_norm(activations.gelu(x), jnp.ones(4), jnp.zeros(4),
                          form='standard', eps=1e-6)
    return (masked_softmax(y, None) ** 2).sum()

  portable.onnx(lambda batch: loss(batch['x'])[None],
                {'x': np.ones((1, 4), np.float32)})
  for before, owner, name in layers:
    assert getattr(owner, name) is before
  assert np.isfinite(jax.jit(jax.grad(loss))(jnp.arange(4.0)[None])).all()
