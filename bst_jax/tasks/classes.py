"""The class of a picture or video; mixed pictures have shares of classes."""
from collections.abc import Sequence

from bst_jax import tasks
from bst_jax.scores import accuracy
from bst_jax.tasks import losses
import jax


def make(reduction: str = 'mean_batch') -> 'tasks.Task':
  """The task whose labels are `label` int[B], or shares float[B, A].

  Args:
    reduction: name in `losses.REDUCTIONS`.
  """
  return of('labels', 'classes', 'label', reduction, 'picture')


def of(form: str, output: str, label: str, reduction: str, row: str,
       names: Sequence[str] = (), pictures: int = 1) -> 'tasks.Task':
  """A task of which one class is right.

  Args:
    form: of the data.
    output: of the model, float[B, A], which is the name of the term too.
    label: of a batch: int[B], or shares float[B, A].
    reduction: name in `losses.REDUCTIONS`.
    row: what one is called.
    names: of the classes, where the data do not say them.
    pictures: of a row.
  """
  def rows(outputs, target, batch):
    logits = accuracy.averaged(outputs[output], len(batch['mask']))
    return {output: tasks.Rows(
        losses.cross_entropy(logits, target),
        batch['mask'].astype(logits.dtype), logits.shape[-1])}

  soften = lambda outputs: jax.nn.softmax(outputs[output])
  return tasks.Task(
      form=form, outputs=(output,),
      loss=lambda outputs, batch, key: rows(outputs, batch[label], batch),
      terms={output: (1.0, reduction)},
      soften=soften, student=rows,
      measure=accuracy.make(output, label),
      tell=lambda outputs, answers: tasks.ranked(
          soften(outputs), names or answers),
      card='softmax: the probabilities of '
      + (' and '.join(names) or 'the classes'),
      row=row, told='classes', pictures=pictures,
      weights=lambda batch: {output: batch['mask']})
