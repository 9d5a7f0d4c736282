"""Which text belongs to a picture, for retrieval both ways."""
from bst_jax import tasks
from bst_jax.elastic import check_name
from bst_jax.scores import recall
from bst_jax.tasks import losses
import jax
import jax.numpy as jnp

_LEAST = -1e9  # The score of a text that is not there.


def make(loss: str = 'one_of_many', reduction: str = 'mean_batch'
         ) -> 'tasks.Task':
  """The task whose labels are `match` int[B], 1 where a text is the picture's.

  Args:
    loss: 'one_of_many': a picture's own text has to outscore the others that
      the batch has for the same number in `picture`, the cross-entropy of a
      softmax over them. 'yes_or_no': each pair is one that matches or one that
      does not, the cross-entropy of these two.
    reduction: name in `losses.REDUCTIONS`, over the texts that match, or over
      all pairs.

  Reference: Kim et al., "ViLT: Vision-and-Language Transformer Without
    Convolution or Region Supervision", ICML 2021, fine-tuning for retrieval;
    'yes_or_no' as MiniVLM, arXiv 2012.06946, and OSCAR, ECCV 2020.
  """
  check_name(loss, LOSSES, 'loss of a match')
  return tasks.Task(
      form='retrieval', outputs=('match',),
      loss=lambda outputs, batch, key: LOSSES[loss](outputs, batch),
      terms={'match': (1.0, reduction)},
      soften=lambda outputs: outputs['match'], student=None,
      measure=recall.make(),
      tell=lambda outputs, names: [
          [('match', float(score))] for score in outputs['match']],
      card='a score of text and picture; the higher, the better they match',
      row='text', told='texts',
      rivals=loss == 'one_of_many',
      weights=lambda batch: {'match': WEIGHTS[loss](batch)})


def among_rivals(outputs: 'tasks.Arrays', batch: 'tasks.Arrays'
                 ) -> dict[str, 'tasks.Rows']:
  """The term of `make`, of texts against those beside the same picture.

  Args:
    outputs: `match` float[B].
    batch: `match`, `picture` int[B] and `mask` bool[B].
  """
  scores, mask = outputs['match'], batch['mask']
  rivals = (batch['picture'][:, None] == batch['picture']) & mask  # [B, B]
  total = jax.nn.logsumexp(jnp.where(rivals, scores, _LEAST), axis=-1)
  weight = WEIGHTS['one_of_many'](batch).astype(scores.dtype)
  return {'match': tasks.Rows(total - scores, weight)}


def of_each_pair(outputs: 'tasks.Arrays', batch: 'tasks.Arrays'
                 ) -> dict[str, 'tasks.Rows']:
  """The term of `make`, of every pair by itself.

  Args:
    outputs: `match` float[B], the logarithm of the odds that a pair matches:
      of two classes, the difference of their logits.
    batch: `match` int[B] and `mask` bool[B].
  """
  scores = outputs['match']
  return {'match': tasks.Rows(
      losses.binary_cross_entropy(
          scores[:, None], batch['match'][:, None].astype(scores.dtype)),
      WEIGHTS['yes_or_no'](batch).astype(scores.dtype))}


LOSSES = {'one_of_many': among_rivals, 'yes_or_no': of_each_pair}
# Which pairs have a loss: texts that match, or all; bool[B].
WEIGHTS = {'one_of_many': lambda batch: batch['mask'] & (batch['match'] > 0),
           'yes_or_no': lambda batch: batch['mask']}
