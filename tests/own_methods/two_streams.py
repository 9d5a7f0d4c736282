"""A method for tests: learns from one stream and notes what another reads."""
from bst_jax import elastic
from bst_jax.learn.state import Method, Pass
from bst_jax.methods import plain
import jax.numpy as jnp


def make(model, task, tx, *, axes, space, micro_batches, every=3) -> Method:
  """Plain training that notes, step by step, a sum over the held-out batch."""
  inner = plain.make(model, task, tx, axes=axes, space=space,
                     micro_batches=micro_batches)

  def init(rng, params):
    return inner.init(rng, params).replace(extra={'seen': jnp.zeros(8)})

  def step(state, batches):
    number = batches['held_out']['regions'].sum()
    seen = state.extra['seen'].at[state.step].set(number)
    return inner.step(state.replace(extra={'seen': seen}), batches)

  return Method(
      init, step, (Pass(elastic.FULL),),
      streams={'train': 1, 'held_out': every},
      choice=lambda state: elastic.Choice(
          skip=(f'layer_{int(state.step)}',)))
