"""Time of collectives over the links of a slice, and between slices.

All chips of a slice take part in a collective, data parallel as training is.
An array is cut into parts, one for every direction of every axis, and each part
goes round its own rings, so that all links carry it at once: the bound that
torus algorithms reach for large arrays. An axis that does not close is a line,
whose two directions together are worth one ring. GPUs hang on a switch, each by
one link. Each step of a ring adds a
fixed delay. Between slices every chip exchanges its own share of the array over
the data-centre network, after the slice has reduced it.
"""
import math

from bst_jax.ahead.chips import Slice

# Seconds from a chip to its neighbour; not published. A microsecond is the
# order of what users measure.
HOP = 1e-6
# Seconds from a slice to another; likewise.
DCN_HOP = 50e-6


def directions(part: Slice) -> int:
  """Links of a chip that carry a collective at once, each one way."""
  if part.chip.links == 1:  # To a switch, which joins all of them.
    return 1
  total = 0
  for size in part.shape:
    total += 0 if size == 1 else 2 if _closes(size, part) else 1
  return total


def _closes(size, part):
  """Whether an axis of so many chips is a ring."""
  return size > 2 and size % part.chip.wraps == 0


def seconds(kind: str, size: float, part: Slice, slices: int = 1) -> float:
  """Time of a collective over all chips.

  Args:
    kind: as XLA calls it.
    size: bytes of the whole array on a device, as of `traffic.Collective`.
    part: the slice.
    slices: of this kind, joined by the data-centre network.

  Raises:
    ValueError: no rate between slices of this chip is published.
  """
  chips = part.chips
  # All chips receive what they lack, (n - 1) / n of the whole; a reduction
  # that all get the result of goes round twice.
  rounds = 2 if kind == 'all-reduce' else 1
  time = 0.0
  if chips > 1:
    if kind == 'collective-permute':
      return size / part.chip.link_rate + HOP
    lacking = size * (chips - 1) / chips
    hops = 1 if part.chip.links == 1 else sum(
        n // 2 if _closes(n, part) else n - 1 for n in part.shape)
    time = rounds * (lacking / (directions(part) * part.chip.link_rate)
                     + hops * HOP)
  if slices > 1:
    if part.chip.dcn_rate is None:
      raise ValueError(
          f'{slices} slices {part} were asked for, but the rate of their chips '
          f'between slices is not published; at most {part.chip.pod} chips.')
    share = size / chips * (slices - 1) / slices
    delay = math.ceil(math.log2(slices)) * DCN_HOP  # As of a binary tree.
    time += rounds * (share / part.chip.dcn_rate + delay)
  return time
