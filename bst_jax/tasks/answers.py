"""Answers to questions, of a closed list, as VQA-v2 and GQA have them."""
from bst_jax import tasks
from bst_jax.elastic import check_name
from bst_jax.scores import accuracy
from bst_jax.tasks import losses
import jax

# How several right answers are read: as a yes or no to each, since annotators
# disagree, or as a distribution over all, of which the most agreed is right.
LOSSES = {
    'yes_or_no': (losses.binary_cross_entropy, jax.nn.sigmoid, lambda t: t,
                  'sigmoid: the probability of each answer'),
    'one_of_many': (
        losses.kl_divergence, jax.nn.softmax,
        lambda t: jax.nn.one_hot(t.argmax(-1), t.shape[-1]),
        'softmax: the probabilities of the answers'),
}


def make(loss: str = 'yes_or_no', reduction: str = 'sum',
         scored_only: bool = False) -> 'tasks.Task':
  """The task whose labels are `target` float[B, A], soft scores of answers.

  Args:
    loss: name in `LOSSES`.
    reduction: name in `losses.REDUCTIONS`.
    scored_only: questions of which no answer of the list scores anything teach
      nothing, as if the data had been without them.

  Reference: MiniVLM, arXiv 2012.06946, trains with
    reduction='sum_over_soft_targets' and scored_only=True, OSCAR (ECCV 2020)
    with 'mean_batch'.
  """
  check_name(loss, LOSSES, 'loss of task answers')
  pointwise, soften, target, card = LOSSES[loss]

  def real(batch):
    return batch['mask'] & (batch['target'] > 0).any(-1) if (
        scored_only) else batch['mask']

  def rows(logits, soft, batch):
    return {'answers': tasks.Rows(
        pointwise(logits, soft), real(batch).astype(logits.dtype),
        logits.shape[-1], soft.sum(-1))}

  def weights(batch):
    by_targets = reduction == losses.BY_TARGETS
    return {'answers': real(batch) * (
        target(batch['target']).sum(-1) if by_targets else 1)}

  return tasks.Task(
      form='questions', outputs=('answers',),
      loss=lambda outputs, batch, key: rows(
          outputs['answers'], target(batch['target']), batch),
      terms={'answers': (1.0, reduction)},
      soften=lambda outputs: soften(outputs['answers']),
      student=lambda outputs, soft, batch: rows(
          outputs['answers'], soft, batch),
      measure=accuracy.make('answers'),
      tell=lambda outputs, names: tasks.ranked(
          soften(outputs['answers']), names),
      card=card, exclusive=loss == 'one_of_many', weights=weights)
