"""Keys and values that come in part from the frames before and after.

Reference: Bulat et al., "Space-time Mixing Attention for Video Transformer",
  NeurIPS 2021.
Differs: a submodel shifts the same share of the channels that it has, which
  are fewer than those that the full model shifts.
"""
import jax
import jax.numpy as jnp


def shift(x: jax.Array, segment: int, share: int, *,
          ids: jax.Array | None = None, slots: int = 0) -> jax.Array:
  """Takes 1 / share of the channels from the next frame, as many from the last.

  Where there is no such frame, or the token does not live in it, they are 0.

  Args:
    x: float[R, N, h, K]; rows are frames in order, of segments that do not see
      one another. Channels count head by head.
    segment: frames of a segment.
    share: one in so many channels moves each way, rounded down.
    ids: int32[R, N - lead], the patch of every token behind the lead, or -1
      for none, where frames may hold other patches; tokens of the same patch
      are shifted. None if all frames hold the same in the same order.
    slots: number of patches that `ids` name.

  Returns:
    float[R, N, h, K].
  """
  flat = x.reshape(*x.shape[:2], -1)                        # [R, N, h K]
  size = flat.shape[-1] // share
  if ids is None:
    move = lambda z, step: _frame(z, segment, step, 0)
  else:
    names, where = _places(ids, x.shape[1] - ids.shape[1], slots)

    def move(z, step):
      there = jnp.take_along_axis(
          _frame(where, segment, step, -1), jnp.maximum(names, 0), 1)
      lives = (there >= 0) & (names >= 0)
      found = jnp.take_along_axis(_frame(z, segment, step, 0),
                                  jnp.maximum(there, 0)[..., None], 1)
      return jnp.where(lives[..., None], found, 0)

  following = move(flat[..., :size], 1)
  previous = move(flat[..., size:2 * size], -1)
  return jnp.concatenate(
      [following, previous, flat[..., 2 * size:]], -1).reshape(x.shape)


def _frame(x, segment, step, fill):
  """Rows of the frame that many steps ahead; `fill` outside of the segment."""
  folded = x.reshape(-1, segment, *x.shape[1:])
  there = jnp.arange(segment) + step
  inside = (there >= 0) & (there < segment)
  inside = inside.reshape(-1, *[1] * (x.ndim - 1))
  return jnp.where(inside, jnp.roll(folded, -step, 1), fill).reshape(x.shape)


def _places(ids, lead, slots):
  """What every token is, int32[R, N], and where that stands, int32[R, P].

  The lead comes before the patches; -1 is nothing and nowhere.
  """
  rows, width = ids.shape
  first = jnp.broadcast_to(jnp.arange(lead), (rows, lead))
  names = jnp.concatenate([first, jnp.where(ids < 0, -1, ids + lead)], 1)
  # Padding is written behind the last place, which is cut off.
  target = jnp.where(names < 0, lead + slots, names)
  where = jnp.full((rows, lead + slots + 1), -1, jnp.int32)
  where = where.at[jnp.arange(rows)[:, None], target].set(
      jnp.arange(lead + width, dtype=jnp.int32))
  return names, where[:, :-1]
