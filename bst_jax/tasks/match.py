"""Which text belongs to a picture, for retrieval both ways."""
from bst_jax import tasks
from bst_jax.scores import recall
import jax
import jax.numpy as jnp

_LEAST = -1e9  # The score of a text that is not there.


def make(reduction: str = 'mean_batch') -> 'tasks.Task':
  """The task whose labels are `match` int[B], 1 where a text is the picture's.

  A picture's own text has to outscore the others that the batch has for the
  same number in `picture`: the cross-entropy of a softmax over them.

  Args:
    reduction: name in `losses.REDUCTIONS`, over the texts that match.

  Reference: Kim et al., "ViLT: Vision-and-Language Transformer Without
    Convolution or Region Supervision", ICML 2021, fine-tuning for retrieval.
  """
  return tasks.Task(
      form='retrieval', outputs=('match',),
      loss=lambda outputs, batch, key: among_rivals(outputs, batch),
      terms={'match': (1.0, reduction)},
      soften=lambda outputs: outputs['match'], student=None,
      measure=recall.make(),
      tell=lambda outputs, names: [
          [('match', float(score))] for score in outputs['match']],
      card='a score of text and picture; the higher, the better they match')


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
  weight = (mask & (batch['match'] > 0)).astype(scores.dtype)
  return {'match': tasks.Rows(total - scores, weight)}
