"""Pyramids as exported files, of grids that no level divides, for any batch."""
from bst_jax import elastic
from bst_jax.elastic import Axis
from bst_jax.layers.bifpn import BiFpn
from bst_jax.layers.fpn import Fpn
from bst_jax.report import portable
import jax
import jax.numpy as jnp
import models
import numpy as np
import pytest

pytest.importorskip('jax2onnx', reason='pip install bst_jax[export]')

WIDTH = 4, 6, 8
TAPS = tuple(Axis('embed', n, f'stage_{n}') for n in WIDTH)


@pytest.mark.parametrize('pyramid', [
    BiFpn(TAPS, 5, 1), BiFpn(TAPS, 5, 1, padding='same'), Fpn(TAPS, 5)],
                         ids=['bifpn', 'bifpn_same', 'fpn'])
def test_files_give_the_levels_for_any_batch(pyramid):
  rng = np.random.default_rng(0)
  batch = {f'grid_{i}': rng.standard_normal(
      (3, -(-11 // 2 ** i), -(-14 // 2 ** i), n), np.float32)
           for i, n in enumerate(WIDTH)}
  shapes = elastic.unbox(jax.eval_shape(
      pyramid.init, jax.random.key(0), [*batch.values()])['params'])
  params = models.random_params(shapes)
  run = lambda batch: jnp.concatenate([
      level.mean((1, 2)) for level in pyramid.apply(
          {'params': params}, [batch[f'grid_{i}'] for i in range(3)])], -1)
  jitted = jax.jit(run)
  want = np.asarray(jitted(batch))
  assert want.shape == (3, 25) and np.ptp(want) > 0.05
  one = {key: x[:1] for key, x in batch.items()}
  bound = 1e-5 * np.abs(want).max()
  np.testing.assert_allclose(portable.run_stablehlo(
      portable.stablehlo(jitted, one), batch), want, rtol=0, atol=bound)
  session = portable.Session(portable.onnx(run, one))
  np.testing.assert_allclose(session(batch), want, rtol=0, atol=bound)
