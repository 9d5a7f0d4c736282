"""Dense layers as libraries that quantise see them."""
from bst_jax.elastic import Axis, FULL, Submodel
from bst_jax.layers.linear import Dense
import jax
import jax.numpy as jnp
import pytest

EMBED, MLP = Axis('embed', 8), Axis('mlp', 12)


@pytest.mark.parametrize('sub, reader', [
    (FULL, 'dot_general'), (Submodel('1/2', '1'), 'slice')])
def test_a_kernel_that_nothing_narrows_reaches_the_product(sub, reader):
  layer = Dense((EMBED,), (MLP,))
  params = layer.init(jax.random.key(0), jnp.ones((3, 5, 8)))['params']
  x = jnp.ones((3, 5, sub.units(EMBED)))
  program = jax.make_jaxpr(lambda kernel: layer.apply(
      {'params': params | {'kernel': kernel}}, x, sub=sub))(
          params['kernel'].unbox()).jaxpr
  stored, = program.invars
  assert [equation.primitive.name for equation in program.eqns
          if stored in equation.invars] == [reader]
