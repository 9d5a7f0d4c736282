"""Products of bfloat16 with float32 sums: what is rounded, and what is not."""
import os
import subprocess
import sys

from bst_jax.host import processor
from bst_jax.layers import platforms, products
from bst_jax.run import narrow
import jax
from jax.extend.core import jaxprs_in_params
import jax.numpy as jnp
import numpy as np
import pytest

from tests import models


def rounded(x):
  return np.asarray(x.astype(jnp.bfloat16), np.float64)


@pytest.mark.parametrize('form, x, y', [
    ('nd,df->nf', (5, 8), (8, 3)), ('and,df->anf', (2, 5, 8), (8, 3)),
    ('bhnk,bhmk->bhnm', (2, 3, 5, 4), (2, 3, 6, 4)),
    ('bhnm,bhmk->bhnk', (2, 3, 5, 6), (2, 3, 6, 4))])
def test_factors_are_rounded_in_both_passes_and_sums_are_not(form, x, y):
  keys = jax.random.split(jax.random.key(0), 3)
  x, y = (jax.random.normal(key, shape) for key, shape in zip(keys, (x, y)))

  def run(x, y):
    with products.used('bfloat16'):
      return products.einsum(form, x, y)

  got, pull = jax.vjp(run, x, y)
  g = jax.random.normal(keys[2], got.shape)
  ins, out = form.split('->')
  a, b = ins.split(',')
  want = [np.einsum(form, rounded(x), rounded(y)),
          np.einsum(f'{out},{b}->{a}', rounded(g), rounded(y)),
          np.einsum(f'{a},{out}->{b}', rounded(x), rounded(g))]
  for one, other in zip((got, *pull(g)), want):
    assert one.dtype == jnp.float32
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
  if form[0] in 'na' and 'h' not in form:
    with products.used('bfloat16'):
      np.testing.assert_array_equal(products.matmul(x, y), got)


def dots(jaxpr):
  """Types of the operands and of the sum of all products in a program."""
  for eqn in jaxpr.eqns:
    if eqn.primitive.name == 'dot_general':
      yield tuple(v.aval.dtype.name for v in (*eqn.invars, *eqn.outvars))
    for inner in jaxprs_in_params(eqn.params):
      yield from dots(inner)


def program(model, batch, params):
  loss = lambda params: (models.only(
      model.apply({'params': params}, batch)) ** 2).sum()
  return list(dots(jax.make_jaxpr(jax.grad(loss))(params).jaxpr))


def test_a_model_rounds_what_dense_layers_attention_and_lstm_multiply():
  model, batch, params, _ = models.build('mcan_vqa', num_layers=1)
  wide = 'float32', 'float32', 'float32'
  narrow_one = 'bfloat16', 'bfloat16', 'float32'
  assert set(program(model, batch, params)) == {wide}
  small = model.clone(products='bfloat16')
  kinds = program(small, batch, params)
  # Two pools: a sum of tokens by their weights, and its gradients.
  assert set(kinds) == {wide, narrow_one}
  assert kinds.count(wide) == 2 * 3
  with platforms.portable():  # As exported: who knows where that will run.
    assert set(program(small, batch, params)) == {wide}


@pytest.mark.parametrize('platform, more, there', [
    ('tpu', {}, True), ('gpu', {'compute_capability': '7.5'}, False),
    ('gpu', {'compute_capability': '9.0'}, True),
    ('gpu', {'compute_capability': 'gfx90a'}, True)])
def test_a_device_without_them_is_told(platform, more, there, caplog):
  device = type('Device', (), more | dict(
      platform=platform, device_kind='a chip'))()
  narrow.tell({'products': 'float32'}, [device])
  assert not caplog.text
  narrow.tell({'products': 'bfloat16'}, [device])
  assert ('a chip has no products of bfloat16' in caplog.text) != there


def test_processors_are_known_by_their_instructions(tmp_path, monkeypatch):
  path = tmp_path / 'cpuinfo'
  monkeypatch.setattr(processor, '_ABOUT', path)
  cpu = jax.devices('cpu')[0]
  for flags, there in ((None, True),  # No Linux: not known.
                       ('flags : avx2 fma', False), ('flags : amx_bf16', True),
                       ('Features : asimd bf16', True)):
    if flags:
      path.write_text(flags + '\n\nflags : avx512_bf16')  # Another's.
    processor.about.cache_clear()
    assert narrow.has_products(cpu) == there


@pytest.fixture(autouse=True)
def forgotten():
  """Nobody reads what a test says of the processor."""
  yield
  processor.about.cache_clear()


_WIDE = 'vendor_id : AuthenticAMD\nflags : avx2 avx512f\n'


@pytest.mark.parametrize('about, xla, version, wide', [
    (_WIDE, None, '0.10.2', True),
    (_WIDE, None, '0.12.0.dev1', True),
    (_WIDE, None, '0.13.0', False),  # Nobody knows its options.
    (_WIDE, '', '0.10.2', False),  # Somebody chose.
    (_WIDE.replace(' avx512f', ''), None, '0.10.2', False),
    (_WIDE.replace('AuthenticAMD', 'GenuineIntel'), None, '0.10.2', False)])
def test_wide_vectors_are_used_where_they_help(
    about, xla, version, wide, tmp_path, monkeypatch):
  (tmp_path / 'cpuinfo').write_text(about)
  monkeypatch.setattr(processor, '_ABOUT', tmp_path / 'cpuinfo')
  monkeypatch.setattr(processor.metadata, 'version', lambda name: version)
  processor.about.cache_clear()
  monkeypatch.setenv('XLA_FLAGS', xla or '')
  if xla is None:
    monkeypatch.delenv('XLA_FLAGS')
  assert processor.use_wide_vectors() == wide
  assert ('512' in os.environ.get('XLA_FLAGS', '')) == wide


def test_the_compiler_knows_the_option_for_wide_vectors():
  """Else it would end every command."""
  run = 'import jax; print(jax.jit(lambda x: x + 1)(1))'
  done = subprocess.run(
      [sys.executable, '-c', run], capture_output=True, text=True, check=False,
      env=os.environ | {'XLA_FLAGS': processor._WIDE, 'JAX_PLATFORMS': 'cpu'})
  assert done.stdout == '2\n', done.stderr
