"""Sequences of tokens with padding: masks and masked softmax."""
import jax
import jax.numpy as jnp

# Finite, so that a row without any valid key attends evenly and stays finite.
FILL = -1e9


def masked_softmax(scores: jax.Array, mask: jax.Array | None,
                   axis: int = -1) -> jax.Array:
  """Softmax over the true places of a boolean mask, in float32.

  Args:
    scores: float[...].
    mask: bool that broadcasts to scores, true = attend; None attends to all.
    axis: of the softmax.

  Returns:
    float[...] in the dtype of scores. A row without a true place is even.
  """
  wide = scores.astype(jnp.float32)
  if mask is not None:
    wide = jnp.where(mask, wide, FILL)
  return jax.nn.softmax(wide, axis).astype(scores.dtype)


def nonzero_rows(features: jax.Array) -> jax.Array:
  """bool[..., N]: rows of float[..., N, F] that are not padding."""
  return (features != 0).any(-1)


def per_question(x: jax.Array, questions: int) -> jax.Array:
  """Rows of pictures, [P, ...], for the questions about them: [B, ...].

  Args:
    x: one row a picture.
    questions: B. The questions of one picture stand together.
  """
  pictures = x.shape[0]
  if pictures == questions:
    return x
  if questions % pictures:
    raise ValueError(
        f'{questions} questions do not split evenly over {pictures} pictures; '
        'a batch has equally many questions, standing together, for each.')
  return jnp.repeat(x, questions // pictures, axis=0)
