"""Tasks: how logits become a loss, a soft target and a score. One row each."""
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from bst_jax.elastic import check_name
from bst_jax.tasks import losses
import jax
import jax.numpy as jnp


class Task(NamedTuple):
  """Attributes:
    pointwise: (logits, target) -> float[B], summed over classes.
    soften: a teacher's logits -> the soft target of its students.
    hard: soft scores of the annotators -> the target from labels.
    reduction: name in `losses.REDUCTIONS`.
    key: of the labels in a batch. Without a `score` of every answer there,
      they are classes int[B], of which one is right.
  """

  pointwise: Callable[[jax.Array, jax.Array], jax.Array]
  soften: Callable[[jax.Array], jax.Array]
  hard: Callable[[jax.Array], jax.Array]
  reduction: str = 'sum'
  key: str = 'target'

  def labels(self, batch: Mapping[str, jax.Array]) -> jax.Array:
    """The target that a batch's labels are."""
    return self.hard(batch[self.key])

  def loss(self, logits: jax.Array, target: jax.Array,
           mask: jax.Array) -> jax.Array:
    """One number from float[B, A] logits and targets of the true examples."""
    return losses.reduce(self.pointwise(logits, target), mask,
                         logits.shape[-1], self.reduction)

  def metrics(self, logits: jax.Array, batch: Mapping[str, jax.Array],
              num_types: int) -> dict[str, jax.Array]:
    """Sums and counts: loss and accuracy, overall and by question type.

    Args:
      logits: float[B, A]; float[B V, A] where an example has V rows, as the
        views of a video, whose softmax is averaged.
      batch: labels and `mask` bool[B]; `score` float[B, A], the accuracy that
        each answer would earn, where several may be right; `type` int32[B]
        where there are types.
      num_types: static number of question types.

    Returns:
      `correct` and `count` float[num_types + 1], the last being overall, and
      `loss` and `examples` float[]; `top5` float[] where one class of more than
      five is right.
    """
    mask = batch['mask'].astype(jnp.float32)
    logits = _averaged(logits, len(mask))
    more, pick = {}, logits.argmax(-1)
    if 'score' in batch:
      earned = jnp.take_along_axis(batch['score'], pick[:, None], 1)[:, 0]
    else:
      right = batch[self.key]
      earned = (pick == right).astype(jnp.float32)
      if logits.shape[-1] > 5:
        best = jax.lax.top_k(logits, 5)[1] == right[:, None]
        more = {'top5': best.any(-1) @ mask}
    earned *= mask
    types = batch['type'] if num_types else jnp.zeros_like(pick)
    kind = jax.nn.one_hot(types, num_types) * mask[:, None]
    by_type = lambda x: jnp.append(x @ kind, x @ mask)
    loss = self.pointwise(logits, self.labels(batch)) * mask
    return more | {'correct': by_type(earned), 'count': by_type(jnp.ones_like(mask)),
                   'loss': loss.sum(), 'examples': mask.sum()}


def _averaged(logits, examples):
  """float[B, A] of float[B V, A]: logits of the mean of V distributions."""
  rows = logits.shape[0]
  if rows == examples:
    return logits
  if rows % examples:
    raise ValueError(
        f'{rows} rows of logits were to be scored as the views of {examples} '
        'examples, but they do not divide evenly. The rows of an example stand '
        'together in a batch, as many for each.')
  each = jax.nn.log_softmax(logits.astype(jnp.float32))
  each = each.reshape(examples, rows // examples, -1)        # [B, V, A]
  return jax.nn.logsumexp(each, axis=1) - jnp.log(rows // examples)


def _most_agreed(target):
  return jax.nn.one_hot(target.argmax(-1), target.shape[-1])


TASKS = {
    # Independent yes or no for every answer, as annotators disagree.
    'vqa': Task(losses.binary_cross_entropy, jax.nn.sigmoid, lambda t: t),
    # One answer of many.
    'gqa': Task(losses.kl_divergence, jax.nn.softmax, _most_agreed),
    # The class of a picture; mixed pictures have a distribution of classes.
    'classify': Task(losses.cross_entropy, jax.nn.softmax, lambda t: t,
                     'mean_batch', 'label'),
}


def create(config: Mapping[str, Any]) -> Task:
  """The task of `{'name': …, 'reduction': …}`."""
  options = dict(config)
  name = options.pop('name')
  check_name(name, TASKS, 'task')
  for option in options:
    check_name(option, ('reduction',), f'option of task {name}')
  if 'reduction' in options:
    check_name(options['reduction'], losses.REDUCTIONS, 'reduction')
  return TASKS[name]._replace(**options)
