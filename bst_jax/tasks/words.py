"""Words that are masked in a text, and whether it belongs to the picture."""
from bst_jax import tasks
from bst_jax.elastic import check_name
from bst_jax.scores import masked
from bst_jax.tasks import losses
from bst_jax.tasks import match as matches
import jax


def make(match: float = 0.0, match_loss: str = 'one_of_many',
         reduction: str = 'mean_batch') -> 'tasks.Task':
  """The task of pre-training, whose labels are `words` int[B, K].

  Args:
    match: weight of the loss of `tasks.match` beside that of words; 0 leaves
      it and the output `match` out.
    match_loss: of a match, see `tasks.match`; 'yes_or_no' where a batch has one
      text of a picture, as with config.data.negatives='tags'.
    reduction: name in `losses.REDUCTIONS`, over words, and over texts that
      match, or over all pairs.

  Reference: Devlin et al., "BERT", NAACL 2019, section 3.1, of texts beside
    pictures as Chen et al., "UNITER", ECCV 2020, section 3.2; MiniVLM, arXiv
    2012.06946, gives words and matches equal weights.
  """
  check_name(match_loss, matches.LOSSES, 'loss of a match')

  def loss(outputs, batch, key):
    logits = outputs['words']                               # [B, K, V]
    found = {'words': tasks.Rows(
        losses.cross_entropy(logits, batch['words']).reshape(-1),
        told(batch).astype(logits.dtype), logits.shape[-1])}
    return found | (matches.LOSSES[match_loss](outputs, batch) if match else {})

  def weights(batch):
    return {'words': told(batch)} | (
        {'match': matches.WEIGHTS[match_loss](batch)} if match else {})

  return tasks.Task(
      form='pretraining', outputs=('words', *(('match',) if match else ())),
      loss=loss, terms={'words': (1.0, reduction)} | (
          {'match': (match, reduction)} if match else {}),
      soften=lambda outputs: jax.nn.softmax(outputs['words']), student=None,
      measure=masked.make(),
      tell=lambda outputs, answers: [
          [(f'word {place.argmax()}', float(place.max())) for place in row]
          for row in jax.nn.softmax(outputs['words'])],
      card='logits of words at the masked places', row='text', told='words',
      rivals=bool(match) and match_loss == 'one_of_many', weights=weights)


def told(batch: 'tasks.Arrays') -> jax.Array:
  """bool[B K], the masked places of a batch whose words are to be told."""
  return (batch['told'] & batch['mask'][:, None]).reshape(-1)
