"""Statements about two pictures, true or false, as NLVR2 has them."""
from bst_jax import tasks
from bst_jax.scores import accuracy
from bst_jax.tasks import losses
import jax

NAMES = 'false', 'true'


def make(reduction: str = 'mean_batch') -> 'tasks.Task':
  """The task whose labels are `pair` int[B], 1 for a true statement.

  Args:
    reduction: name in `losses.REDUCTIONS`.

  Reference: Suhr et al., "A Corpus for Reasoning About Natural Language
    Grounded in Photographs", ACL 2019.
  """
  def rows(outputs, target, batch):
    logits = outputs['pair']
    return {'pair': tasks.Rows(
        losses.cross_entropy(logits, target),
        batch['mask'].astype(logits.dtype), logits.shape[-1])}

  soften = lambda outputs: jax.nn.softmax(outputs['pair'])
  return tasks.Task(
      form='pairs', outputs=('pair',),
      loss=lambda outputs, batch, key: rows(outputs, batch['pair'], batch),
      terms={'pair': (1.0, reduction)},
      soften=soften, student=rows,
      measure=accuracy.make('pair', 'pair'),
      tell=lambda outputs, names: tasks.ranked(soften(outputs), NAMES),
      card=f'softmax: the probabilities of {" and ".join(NAMES)}',
      pictures=2)
