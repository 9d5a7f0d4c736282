"""Losses: pure functions from logits and soft targets to one number a row."""
import jax
import jax.numpy as jnp
import optax


def binary_cross_entropy(logits: jax.Array, target: jax.Array) -> jax.Array:
  """Summed over classes: float[B, A], float[B, A] in 0..1 -> float[B]."""
  return optax.sigmoid_binary_cross_entropy(logits, target).sum(-1)


def kl_divergence(logits: jax.Array, target: jax.Array) -> jax.Array:
  """KL(target || softmax(logits)): float[B, A], rows summing to 1 -> float[B].

  Zeros in the target count nothing, so a one-hot target gives cross-entropy.
  """
  return optax.losses.kl_divergence(jax.nn.log_softmax(logits), target)


def cross_entropy(logits: jax.Array, target: jax.Array) -> jax.Array:
  """Of float[B, A] against classes int[B] or rows that sum to one -> float[B].
  """
  if jnp.issubdtype(target.dtype, jnp.integer):
    return optax.softmax_cross_entropy_with_integer_labels(logits, target)
  return optax.softmax_cross_entropy(logits, target)


def smoothed(logits: jax.Array, target: jax.Array,
             smoothing: float) -> jax.Array:
  """Cross-entropy against a class and, a little, against all others.

  The class has 1 - smoothing of the target, and each of the V - 1 others an
  equal part of the rest.

  Args:
    logits: float[..., V].
    target: int[...].
    smoothing: 0 to less than 1.

  Returns:
    float[...].

  Reference: Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016,
    section 7; MiniVLM spreads the rest over V - 1 classes and not over V.
  """
  loss = optax.softmax_cross_entropy_with_integer_labels(logits, target)
  if not smoothing:
    return loss
  found = jax.nn.log_softmax(logits)
  others = -found.sum(-1) - loss
  return (1 - smoothing) * loss + smoothing / (logits.shape[-1] - 1) * others


# How per-example sums become the loss. The published setups differ, so that a
# task names its own (BST, released code: sum over classes and batch; OSCAR:
# the mean over answers and batch times the number of answers, `mean_batch`;
# MiniVLM's author: by what the targets of a batch sum to).
REDUCTIONS = {
    'sum': lambda total, divisor, classes: total,
    'mean_batch': lambda total, divisor, classes: total / divisor,
    'mean_all': lambda total, divisor, classes: total / divisor / classes,
    'mean_all_x500': lambda total, divisor, classes:
        500 * (total / divisor) / classes,
    'sum_over_soft_targets': lambda total, divisor, classes: total / divisor,
}
# Which divides by what targets sum to, and not by how many examples count.
BY_TARGETS = 'sum_over_soft_targets'


def reduce(loss: jax.Array, mask: jax.Array, classes: int, how: str,
           right: jax.Array | None = None, divisor: jax.Array | None = None
           ) -> jax.Array:
  """One number from the losses of examples.

  Args:
    loss: float[B].
    mask: bool[B] or float[B], the examples that count.
    classes: summed in each loss.
    how: name in `REDUCTIONS`.
    right: float[B], what the target of each sums to; None where nobody knows.
    divisor: float[], what a mean divides by, where these are a part of the
      examples that it is over; None where they are all.

  Raises:
    ValueError: the reduction divides by what targets sum to, and there is none.
  """
  if how == BY_TARGETS and right is None:
    raise ValueError(
        f'config.task.reduction is {how!r}, but targets of this task are no '
        'scores of answers; it is of task vqa. Choose another, as mean_batch.')
  mask = mask.astype(loss.dtype)
  if divisor is None:
    divisor = jnp.maximum((right * mask if how == BY_TARGETS else mask).sum(), 1)
  return REDUCTIONS[how]((loss * mask).sum(), divisor, classes)
