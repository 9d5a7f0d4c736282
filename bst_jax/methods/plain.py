"""Ordinary training of the full model on labels: a teacher, or a model alone."""
from bst_jax import tasks
from bst_jax.elastic import FULL
from bst_jax.learn import state as states
from bst_jax.learn.state import Method, Pass
import jax


def make(model, task, tx, *, axes, space, micro_batches) -> Method:
  """Trains the full model on the annotators' answers.

  Args:
    model: a module called as model(batch, train=...).
    task: gives the loss.
    tx: an optax transformation.
    axes: axis names, unused here.
    space: submodels, unused here.
    micro_batches: parts of a batch that are worked on one after the other.
  """
  del axes, space

  def init(rng, params):
    return states.start(rng, params, tx)

  def step(state, batch):
    def grads_of(state, batch, key):
      def loss(params):
        outputs, written = states.forward(model, params, batch, key)
        return tasks.hard(task, outputs, batch, key), written
      (loss, written), grads = jax.value_and_grad(
          loss, has_aux=True)(state.params)
      return grads, {'loss/full': loss}, written

    grads, metrics, written = states.accumulate(
        grads_of, state, batch, micro_batches, mean=task.mean)
    return states.update(state, grads, tx, metrics, written)

  return Method(init, step, (Pass(FULL),))
