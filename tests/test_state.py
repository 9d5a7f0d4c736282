"""Accumulation of gradients over the parts of a batch."""
from bst_jax import elastic, methods, tasks
import chex
import jax
import jax.numpy as jnp
import models
import optax
import pytest


def sgd_step(micro, **method):
  """What one step of rate one subtracts: the gradients, and the metrics."""
  model, batch, params, axes = models.toy(num_layers=2)
  made = methods.create(
      dict(name='plain') | method, model=model, task=tasks.create(dict(name='vqa')),
      tx=optax.sgd(1.0), axes=axes, micro_batches=micro,
      space=elastic.Space(('1/2', '1'), ('1/2', '1')))
  new, metrics = jax.jit(made.step)(
      made.init(jax.random.key(0), params), {'train': batch})
  assert int(new.step) == 1
  return jax.tree.map(jnp.subtract, params, new.params), metrics


def test_parts_of_a_batch_give_the_gradients_of_the_whole():
  whole, metrics = sgd_step(1)
  for micro in (2, 8):
    parts, summed = sgd_step(micro)
    chex.assert_trees_all_close(parts, whole, rtol=1e-4, atol=1e-5)
    chex.assert_trees_all_close(summed, metrics, rtol=1e-5)


def test_parts_must_divide_the_batch():
  with pytest.raises(ValueError, match=(
      "3 micro-batches do not divide the 8 pictures .*config.micro_batches")):
    sgd_step(3)
