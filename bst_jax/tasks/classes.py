"""The class of a picture or video; mixed pictures have shares of classes."""
from bst_jax import tasks
from bst_jax.scores import accuracy
from bst_jax.tasks import losses
import jax


def make(reduction: str = 'mean_batch') -> 'tasks.Task':
  """The task whose labels are `label` int[B], or shares float[B, A].

  Args:
    reduction: name in `losses.REDUCTIONS`.
  """
  def rows(outputs, target, batch):
    logits = accuracy.averaged(outputs['classes'], len(batch['mask']))
    return {'classes': tasks.Rows(
        losses.cross_entropy(logits, target),
        batch['mask'].astype(logits.dtype), logits.shape[-1])}

  soften = lambda outputs: jax.nn.softmax(outputs['classes'])
  return tasks.Task(
      form='labels', outputs=('classes',),
      loss=lambda outputs, batch, key: rows(outputs, batch['label'], batch),
      terms={'classes': (1.0, reduction)},
      soften=soften, student=rows,
      measure=accuracy.make('classes', 'label'),
      tell=lambda outputs, names: tasks.ranked(soften(outputs), names),
      card='softmax: the probabilities of the answers')
