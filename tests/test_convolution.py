"""Convolutions on a CPU are the same numbers as XLA's, gradients too."""
from bst_jax.layers import convolution, platforms
from bst_jax.report import costs
import chex
import jax
import jax.numpy as jnp
import pytest

# (height, width), taps, stride, padding.
CASES = [((9, 8), 3, 1, 1), ((9, 8), 3, 2, 1), ((8, 9), 3, 2, 'SAME'),
         ((13, 12), 5, 4, 2), ((9, 10), 2, 3, 0), ((7, 6), 1, 1, 0),
         ((7, 6), 1, 2, 0), ((5, 5), 1, 1, 1), ((5, 6), 3, 1, 3)]


def arrays(case, depthwise, dtype=jnp.float32):
  (height, width), taps, *_ = case
  keys = jax.random.split(jax.random.key(0))
  kernel = (taps, taps, *((1, 4) if depthwise else (4, 5)))
  return (jax.random.normal(keys[0], (2, height, width, 4), dtype),
          jax.random.normal(keys[1], kernel, dtype))


def run(case, depthwise, x, kernel):
  """Output and gradients of something that depends on all of it."""
  def loss(x, kernel):
    y = convolution.convolve(x, kernel, *case[2:], depthwise)
    return jnp.sin(y.astype(jnp.float32)).sum(), y
  grads, y = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(x, kernel)
  return y, *grads


@pytest.mark.parametrize('depthwise', [False, True], ids=['whole', 'depthwise'])
@pytest.mark.parametrize('case', CASES, ids=str)
def test_values_and_gradients_are_those_of_xla(case, depthwise):
  x, kernel = arrays(case, depthwise)
  with platforms.portable():
    expected = run(case, depthwise, x, kernel)
  chex.assert_trees_all_close(run(case, depthwise, x, kernel), expected,
                              rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('depthwise', [False, True], ids=['whole', 'depthwise'])
def test_types_stay_and_half_precision_is_near(depthwise):
  x, kernel = arrays(CASES[0], depthwise)
  exact = run(CASES[0], depthwise, x, kernel)
  half = run(CASES[0], depthwise, *(z.astype(jnp.bfloat16) for z in (x, kernel)))
  for z, wide in zip(half, exact):
    assert z.dtype == jnp.bfloat16
    assert jnp.linalg.norm(z - wide) < 0.05 * jnp.linalg.norm(wide)


def dimensions(program):
  """How the convolutions of a program, in whatever is called there, are laid.
  """
  found = []
  for eqn in program.eqns:
    if eqn.primitive.name == 'conv_general_dilated':
      found.append(eqn.params['dimension_numbers'])
    for inner in jax.extend.core.jaxprs_in_params(eqn.params):
      found += dimensions(inner)
  return found


def test_within_loops_all_convolutions_are_as_a_cpu_wants_them():
  # XLA mends what is laid otherwise in the outermost program alone.
  plain = jax.lax.conv_dimension_numbers(
      (1,) * 4, (1,) * 4, ('NHWC', 'HWIO', 'NHWC'))
  x, kernel = arrays(CASES[1], False)
  program = lambda: jax.make_jaxpr(
      lambda *z: run(CASES[1], False, *z))(x, kernel).jaxpr
  assert dimensions(program()) == [plain, plain]  # The kernel's is a product.
  with platforms.portable():
    assert len(set(dimensions(program()))) == 3


@pytest.mark.parametrize('depthwise', [False, True], ids=['whole', 'depthwise'])
def test_convolutions_are_convolutions_elsewhere(depthwise, monkeypatch):
  case = CASES[6]
  x, kernel = arrays(case, depthwise)
  def names():
    program = jax.make_jaxpr(
        lambda *z: convolution.convolve(*z, *case[2:], depthwise))(x, kernel)
    return [eqn.primitive.name for eqn in program.jaxpr.eqns]
  assert 'conv_general_dilated' not in names()
  with platforms.portable():
    assert names() == ['conv_general_dilated']
  monkeypatch.setattr(platforms, 'traced_for', lambda: 'tpu')
  assert names() == ['conv_general_dilated']


def test_counts_are_of_convolutions_on_any_device():
  case = (8, 10), 3, 2, 1
  x, kernel = arrays(case, True)
  found = costs.count(lambda *z: convolution.convolve(*z, 2, 1, True), x, kernel)
  assert found.by_kind()['convolution'] == found.macs == 2 * 4 * 5 * 4 * 9
