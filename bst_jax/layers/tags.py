"""Places of a text and of the tags that stand behind it."""
import jax
import jax.numpy as jnp


def places(text: jax.Array, count: int, start: int | None,
           most: int) -> jax.Array:
  """Where the words of a text and tags stand.

  With a start, the tags' places do not tell how long a text is, and a text may
  grow without moving them.

  Args:
    text: int32[B, M], 0 = padding.
    count: G tags.
    start: place of the first tag; None for the place behind the last word.
    most: places that the model has.

  Returns:
    int32[M], or [B, M + G] if there are tags.

  Raises:
    ValueError: words would stand where tags do, or some have no place.

  Reference: MiniVLM and OSCAR, whose tags begin behind the longest text.
  """
  words = text.shape[1]
  if start is not None and words > start:
    raise ValueError(
        f'texts of the batch have {words} tokens, but tags stand from place '
        f'{start} on; shorten max_tokens of the data or raise tag_start of the '
        'model.')
  first = words if start is None else start
  if words > most or count and first + count > most:
    raise ValueError(
        f'{words} tokens of a text and {count} of tags do not fit into {most} '
        'places; shorten them in the data or raise max_positions of the model.')
  if not count:
    return jnp.arange(words)
  first = (text != 0).sum(1)[:, None] if start is None else start
  every = lambda x, size: jnp.broadcast_to(x, (text.shape[0], size))
  return jnp.concatenate([every(jnp.arange(words), words),
                          every(first + jnp.arange(count), count)], 1)
