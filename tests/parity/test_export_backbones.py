"""Every backbone as every exported file, run by the runtimes that will run it.

Files are made of a batch of one row and run with others.
"""
from bst_jax import models as backbones
from bst_jax.report import int8, portable
from flax import linen as nn
import jax
import jax.numpy as jnp
import models
import numpy as np
import pytest

pytest.importorskip('jax2onnx', reason='pip install bst_jax[export]')

# Outputs of heads that are asked for, beside those that are there anyway.
HEADS = {f'{name}_{head}': (name, head) for name, head in (
    ('uniter', 'pair'), ('uniter', 'match'), ('mcan_vqa', 'match'))}


def small(name):
  """Fewer layers than a row of `models.TINY` has: converting takes its time."""
  sizes, make_batch = models.TINY[name]
  several = isinstance(sizes['num_layers'], tuple)
  sizes = sizes | {'num_layers': (1, 2) if several else 2}
  if 'ats' in sizes:
    # Twice in one of them; of clips once is long enough.
    sizes['ats'] = (dict(blocks=(0,), capacity=(12,)) if 'clip_size' in sizes
                    else dict(blocks=(0, 1), capacity=(12, 9)))
  if 'sampling_layers' in sizes:
    sizes['sampling_layers'] = 2
  return sizes, make_batch


def made(name):
  """(run, batch of three rows, batch of one row) of a row, or of a head."""
  name, head = HEADS.get(name, (name, None))
  sizes, make_batch = small(name)
  pictures = 2 if head == 'pair' else 1
  if head:
    sizes = sizes | dict(outputs=(head,))
  batch = make_batch(questions=3, pictures=3 * pictures)
  model = backbones.create(sizes)
  params, _ = models.prepare(model, batch)
  rows = {k: x.shape[0] // 3 for k, x in batch.items()}
  run = lambda batch: models.only(model.apply({'params': params}, batch))
  return run, batch, {k: x[:rows[k]] for k, x in batch.items()}


def off(got, want):
  return np.abs(np.asarray(got) - want).max() / np.abs(want).max()


@pytest.mark.parametrize('name', [*models.TINY, *HEADS])
def test_files_give_the_logits_for_any_batch(name):
  run, batch, one = made(name)
  jitted = jax.jit(run)
  want = np.asarray(jitted(batch))
  assert np.ptp(want) > 0.05
  program = portable.stablehlo(jitted, one)
  assert off(portable.run_stablehlo(program, batch), want) < 1e-5

  file = portable.onnx(run, one)
  session = portable.Session(file)
  assert off(session(batch), want) < 1e-5
  assert off(session(one), want[:1]) < 1e-5
  quantised = portable.Session(int8.quantise(file))
  # Products are really of int8 numbers, and near; random neurons of PVTv2 that
  # see their neighbours carry the rounding of nine cells on.
  assert 1e-4 < off(quantised(batch), want) < (0.3 if name == 'pvt' else 0.15)


def test_nothing_of_jax_or_flax_is_another_after_an_export():
  before = {(owner, name): value for owner in (jnp, jax.lax, jax.nn, nn)
            for name, value in vars(owner).items()}
  before |= {(nn.Conv, '__call__'): vars(nn.Conv).get('__call__')}
  portable.onnx(lambda batch: jnp.cumsum(batch['x'], 1),
                {'x': np.ones((1, 3), np.float32)})
  for (owner, name), value in before.items():
    assert vars(owner).get(name) is value, (owner, name)
  np.testing.assert_array_equal(jnp.cumsum(jnp.ones(3)), [1, 2, 3])


@pytest.mark.parametrize('pool, padding', [
    (nn.max_pool, ((1, 1), (0, 1))), (nn.max_pool, 'SAME'),
    (nn.avg_pool, ((0, 1), (1, 1))), (nn.avg_pool, 'VALID')])
def test_pools_are_converted(pool, padding):
  x = np.random.default_rng(0).standard_normal((3, 5, 7, 2), np.float32)
  run = lambda batch: getattr(nn, pool.__name__)(
      batch['x'], (3, 2), (2, 2), padding)
  got = portable.Session(portable.onnx(run, {'x': x[:1]}))({'x': x})
  np.testing.assert_allclose(got, pool(x, (3, 2), (2, 2), padding), atol=1e-6)


def test_a_fixed_batch_is_one():
  run = lambda batch: batch['x'] * 2
  one = {'x': np.ones((1, 3), np.float32)}
  program, file = (make(run, one, 2)
                   for make in (portable.stablehlo, portable.onnx))
  two = {'x': np.arange(6, dtype=np.float32).reshape(2, 3)}
  for call in (lambda batch: portable.run_stablehlo(program, batch),
               portable.Session(file)):
    np.testing.assert_array_equal(call(two), 2 * two['x'])
    with pytest.raises(Exception, match='(?i)dimension|shape'):
      call(one)


def test_one_large_row_of_a_table_leaves_the_others_alone():
  rng = np.random.default_rng(0)
  table = rng.standard_normal((50, 32), np.float32)
  table[7] *= 300
  tokens = rng.permutation(50).astype(np.int32)[None]
  file = portable.onnx(lambda batch: jnp.asarray(table)[batch['tokens']],
                       {'tokens': tokens})
  small = int8.quantise(file)
  assert len(small) < len(file) / 2
  got = portable.Session(small)({'tokens': tokens})[0]
  error = np.abs(got - table[tokens[0]]).max(1)
  # Half a step of each row's own scale.
  assert (error <= np.abs(table[tokens[0]]).max(1) / 253).all()


@pytest.mark.parametrize('run, shape', [
    (lambda x, w: jax.lax.conv_general_dilated(
        x, w[:, :, :, :8], (1, 1), 'VALID',
        dimension_numbers=('NHWC', 'HWIO', 'NHWC')), (4, 4, 16, 8)),
    (lambda x, w: jnp.einsum('bhwc,cd->bhwd', x, w), (16, 64)),
    (lambda x, w: jax.lax.scan(lambda h, row: (jnp.tanh(h @ w) + row, None),
                               x[:, 0, 0], x[:, 0].swapaxes(0, 1))[0],
     (32, 32))])
def test_large_kernels_are_stored_small(run, shape):
  rng = np.random.default_rng(0)
  kernel = rng.standard_normal(shape, np.float32) / 8
  kernel[..., 1] *= 100  # A channel of its own scale.
  x = rng.standard_normal((3, 5, 5, shape[-2]), np.float32)
  file = portable.onnx(lambda batch: run(batch['x'], jnp.asarray(kernel)),
                       {'x': x[:1]})
  small = int8.quantise(file)
  assert len(file) - len(small) > 2 * kernel.size
  got, want = portable.Session(small)({'x': x}), np.asarray(run(x, kernel))
  others = np.delete(np.arange(want.shape[-1]), 1)
  assert 0 < off(got[..., others], want[..., others]) < 0.03
