"""Statements about two pictures, true or false, as NLVR2 has them."""
from bst_jax import tasks
from bst_jax.tasks import classes

NAMES = 'false', 'true'


def make(reduction: str = 'mean_batch') -> 'tasks.Task':
  """The task whose labels are `pair` int[B], 1 for a true statement.

  Args:
    reduction: name in `losses.REDUCTIONS`.

  Reference: Suhr et al., "A Corpus for Reasoning About Natural Language
    Grounded in Photographs", ACL 2019.
  """
  return classes.of('pairs', 'pair', 'pair', reduction, 'statement', NAMES,
                    pictures=2)
