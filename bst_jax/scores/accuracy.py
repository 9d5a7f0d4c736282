"""Percent of rows whose most probable entry is right, or what it earns."""
from collections.abc import Mapping
from typing import Any

from bst_jax.scores import Measure
import jax
import jax.numpy as jnp
import numpy as np

TOP = 5  # Entries among which the right one counts, where there are more.


def make(output: str, label: str = '') -> Measure:
  """Accuracy of an output float[B, A].

  Args:
    output: its name.
    label: of classes int[B] in the batch, of which one is right. Without it
      the batch has `score` float[B, A], what each entry earns.

  The numbers are `overall`, then each type of question, and `top-5` where one
  class of more than five is right.
  """
  def read(outputs, batch):
    logits = averaged(outputs[output], len(batch['mask']))
    pick = logits.argmax(-1)
    if not label:
      earned = jnp.take_along_axis(batch['score'], pick[:, None], 1)[:, 0]
      return {'earned': earned} | (
          {'type': batch['type']} if 'type' in batch else {})
    right = batch[label]
    found = {'earned': (pick == right).astype(jnp.float32)}
    if logits.shape[-1] > TOP:
      best = jax.lax.top_k(logits, TOP)[1] == right[:, None]
      found[f'top-{TOP}'] = best.any(-1)
    return found

  return Measure('accuracy', 'accuracy in percent', read, 'rows', _finish)


def _finish(rows: Mapping[str, np.ndarray], data: Any) -> dict[str, float]:
  percent = lambda values: 100 * float(np.mean(values, dtype=np.float64))
  scores = {'overall': percent(rows['earned'])}
  for i, name in enumerate(data.types if 'type' in rows else ()):
    of_type = rows['earned'][rows['type'] == i]
    if len(of_type):
      scores[name] = percent(of_type)
  return scores | {name: percent(rows[name]) for name in (f'top-{TOP}',)
                   if name in rows}


def averaged(logits: jax.Array, examples: int) -> jax.Array:
  """Log probabilities of V views of each example, averaged.

  Args:
    logits: float[B V, A]; the views of an example stand together. Where V is 1
      they are handed back as they are.
    examples: B.

  Returns:
    float[B, A], the logarithm of the mean of V distributions.
  """
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
