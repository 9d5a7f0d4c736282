"""Adaptive token sampling: which tokens of an image live on, from their scores.

Reference: Fayyaz et al., "Adaptive Token Sampling for Efficient Vision
  Transformers", ECCV 2022, and its released code.
Differs: widths are static, so that nothing about an example depends on what
  shares its batch; the number of grid points may differ from that of tokens;
  the lowest token's fate (`anchor`) is an argument, where the released code
  looks for padding; equal scores keep the order of their slots.
"""
from typing import NamedTuple

from bst_jax.elastic import check_name
from bst_jax.layers.linear import wide
import jax
import jax.numpy as jnp

ORDERS = ('score', 'raster')
RULES = ('auto', 'nearest', 'inverse')
ANCHORS = ('keep_lowest', 'drop_lowest')
METHODS = ('its', 'topk')
GRADS = ('hard', 'ste', 'ste_smooth')
OUT_ORDERS = ('ascending', 'descending')
FORMS = ('sort', 'pairwise')
_KNOWN = {
    'order': (ORDERS, 'order'), 'rule': (RULES, 'rule'),
    'anchor': (ANCHORS, 'anchor'), 'method': (METHODS, 'method'),
    'grad': (GRADS, 'gradient'), 'out_order': (OUT_ORDERS, 'output order'),
    'form': (FORMS, 'form')}
_AUTO = {'score': 'nearest', 'raster': 'inverse'}  # The rule of an order.

# Below it the grid has no extent: one token holds all there is to sample.
_FLAT = 1e-6


class Selection(NamedTuple):
  """The tokens that one sampling step keeps, in a fixed number of slots.

  Attributes:
    index: int32[..., capacity], slots of the tokens that live, then padding.
    valid: bool[..., capacity], true where a slot holds such a token.
    count: int32[...], tokens that were sampled; those above capacity are lost.
    gate: float32[..., capacity], one for a living token, else zero; with
      straight-through gradients it carries them to the scores.
    hits: int32[..., n], how many grid points chose each token.
  """

  index: jax.Array
  valid: jax.Array
  count: jax.Array
  gate: jax.Array
  hits: jax.Array

  @property
  def overflow(self) -> jax.Array:
    """int32[...]: sampled tokens that the capacity could not hold."""
    return jnp.maximum(self.count - self.index.shape[-1], 0)


def check(slots: int, *, num_points: int | jax.Array, capacity: int | None,
          method: str, grad: str, **options: str) -> None:
  """Raises a ValueError if `ats_select` cannot sample `slots` tokens so."""
  for name, value in dict(options, method=method, grad=grad).items():
    known, what = _KNOWN[name]
    check_name(value, known, f'{what} of token sampling')
  if capacity is not None and not 1 <= capacity <= slots:
    raise ValueError(f'a capacity of {capacity} tokens does not fit {slots} '
                     f'candidates; choose 1 to {slots}.')
  least = 2 if method == 'its' else 1
  if isinstance(num_points, int) and num_points < least:
    raise ValueError(f'{num_points} grid points sample no tokens; choose at '
                     f'least {least}.')
  if method == 'topk' and grad != 'hard':
    raise ValueError(f'gradient {grad!r} is that of sampling, and method topk '
                     'does not sample; use gradient hard or method its.')


def ats_select(
    scores: jax.Array, valid: jax.Array | None = None, *,
    num_points: int | jax.Array,
    capacity: int | None = None, order: str = 'score', rule: str = 'auto',
    anchor: str = 'keep_lowest', method: str = 'its', grad: str = 'hard',
    fill: bool = False, out_order: str = 'ascending',
    form: str = 'sort') -> Selection:
  """Samples tokens at evenly spaced points of their cumulated score.

  A token lives if a point falls into its cell, so that important tokens live
  and one in a while of many unimportant ones does. All but the scores and
  their validity is static.

  Args:
    scores: float[..., n], not negative; the class token is no candidate.
    valid: bool[..., n], false for tokens that are gone; None for none.
    num_points: M, grid points, of which several may choose the same token; it
      alone may be traced too.
    capacity: static number of output slots, n if None. Where more tokens are
      sampled, those of the highest scores live.
    order: `score` cumulates from the lowest score up, over a grid from the
      lowest token's place to 1 (released); `raster` cumulates in the order of
      the slots, over the points (2 i - 1) / 2 M.
    rule: a point takes the `nearest` cumulated score or, `inverse`, the first
      that reaches it; `auto` is nearest in order of score, else inverse.
    anchor: the lowest token in order of score: `keep_lowest` keeps it and
      `drop_lowest` drops it (released: at the first sampling of a network).
    method: `its` as above; `topk` keeps the M highest scores instead.
    grad: `hard`: no gradient reaches the scores; `ste`: that of min(1, M S),
      where S are the scores over their sum, the chance of a token under a
      random shift of the grid; `ste_smooth`: that of 1 - exp(-M S).
    fill: with straight-through gradients, fill spare slots with the best of
      the dropped tokens, whose gates are zero but have a gradient.
    out_order: of the living tokens by score. Padding comes last.
    form: `sort`, or `pairwise`: n x n comparisons in place of sorting.

  Raises:
    ValueError: an unknown option, or numbers that cannot be.
  """
  slots = scores.shape[-1]
  check(slots, num_points=num_points, capacity=capacity, order=order, rule=rule,
        anchor=anchor, method=method, grad=grad, out_order=out_order, form=form)
  capacity = slots if capacity is None else capacity
  valid = jnp.ones(scores.shape, bool) if valid is None else valid

  share = _normalise(scores, valid)
  rank, hits = jax.tree.map(jax.lax.stop_gradient, _sample(
      jax.lax.stop_gradient(share), valid, num_points, order,
      _AUTO[order] if rule == 'auto' else rule, anchor, method, form))
  keep = hits > 0

  index, lives = _slots(rank, keep, capacity, out_order)
  gate = lives.astype(jnp.float32)
  if grad != 'hard':
    real = jnp.take_along_axis(valid, index, -1) if fill else lives
    gate += jnp.where(real, _surrogate(share, index, num_points, grad), 0.0)
  return Selection(index, lives, keep.sum(-1, dtype=jnp.int32), gate, hits)


def _slots(rank, keep, capacity, out_order):
  """int32[..., capacity], tokens in the slots, and bool: which of them live."""
  slots = rank.shape[-1]
  # Living tokens before all others, the best first; ranks make keys unique.
  keys, index = jax.lax.top_k(jnp.where(keep, rank + slots, rank), capacity)
  lives = keys >= slots
  if out_order == 'ascending':
    place = jnp.arange(capacity)
    last = lives.sum(-1, keepdims=True) - 1
    index = jnp.take_along_axis(
        index, jnp.where(lives, last - place, place), -1)
  return index, lives


def _surrogate(share, index, num_points, grad):
  """Zeros with the gradient of the chance that a slot's token is sampled."""
  chance = (jnp.minimum(1.0, num_points * share) if grad == 'ste'
            else -jnp.expm1(-num_points * share))
  chance = jnp.take_along_axis(chance, index, -1)
  return chance - jax.lax.stop_gradient(chance)


def _normalise(scores, valid):
  """float32[..., n] that sum to one; all zeros count as all equal."""
  scores = jnp.where(valid, wide(scores), 0.0)
  total = scores.sum(-1, keepdims=True)
  even = valid.astype(scores.dtype)
  even /= jnp.maximum(even.sum(-1, keepdims=True), 1.0)
  return jnp.where(total > 0, scores / jnp.maximum(total, 1e-12), even)


def _sample(share, valid, num_points, order, rule, anchor, method, form):
  """Ranks int32[..., n] by score, of all slots, and hits int32[..., n]."""
  slots = share.shape[-1]
  ladder = (_sorted if form == 'sort' else _pairwise)(share, valid, order)
  rank = ladder.rank
  top = (rank == slots - 1) & valid
  if method == 'topk':
    return rank, (valid & (rank >= slots - num_points)).astype(jnp.int32)

  total, candidates = ladder.total, valid & (share > 0)
  start = jnp.zeros_like(total)
  if order == 'score' and anchor == 'drop_lowest':
    lowest = rank == slots - valid.sum(-1, keepdims=True)
    start = jnp.where(lowest & valid, share, 0.0).sum(-1, keepdims=True)
    candidates &= ~lowest
  extent = total - start
  scale = lambda c: (c - start) / jnp.where(extent > 0, extent, 1.0)
  here, after = map(scale, ladder.ahead(candidates))

  # The upper edge of each cell; the last cell is open.
  edge = (here + after) / 2 if rule == 'nearest' else here
  edge = jnp.where(jnp.isinf(after), jnp.inf, edge)
  if order == 'raster':
    upto = jnp.floor(num_points * edge + 0.5)
    flat = jnp.zeros_like(total, bool)
  else:
    first = jnp.where(candidates, here, jnp.inf).min(-1, keepdims=True)
    flat = ~(1 - first > _FLAT)
    first = jnp.where(flat, 0.0, first)
    # The first point is the first candidate's, whatever rounding says.
    upto = jnp.maximum(1.0, jnp.floor(
        (edge - first) / (1 - first) * (num_points - 1)) + 1)
  # Points up to an edge are counted once and for all, so that none is lost and
  # none is given twice.
  upto = jnp.clip(upto, 0, num_points).astype(jnp.int32)
  hits = jnp.where(candidates, upto - ladder.behind(candidates, upto), 0)
  return rank, jnp.where(flat, num_points * top, hits)


class _Sorted(NamedTuple):
  """Cumulated scores along an order of the slots.

  Attributes:
    rank: int32[..., n] of every slot by score; slots that are gone come first.
    place: int32[..., n], of every slot in the order that is cumulated.
    slot: int32[..., n], the inverse.
    cumulated: float32[..., n], by place.
  """

  rank: jax.Array
  place: jax.Array
  slot: jax.Array
  cumulated: jax.Array

  @property
  def total(self):
    return self.cumulated[..., -1:]

  def _by_slot(self, x):
    return jnp.take_along_axis(x, self.place, -1)

  def _by_place(self, x):
    return jnp.take_along_axis(x, self.slot, -1)

  def ahead(self, candidates):
    """Cumulated score of every slot, and of the next candidate or infinite."""
    c = jnp.where(self._by_place(candidates), self.cumulated, jnp.inf)
    least = jax.lax.cummin(c, c.ndim - 1, reverse=True)[..., 1:]
    after = jnp.concatenate([least, jnp.full_like(c[..., :1], jnp.inf)], -1)
    return self._by_slot(self.cumulated), self._by_slot(after)

  def behind(self, candidates, counts):
    """The largest of the counts of earlier candidates, or zero."""
    # As floats, which hold them exactly: ONNX has no maxima of integers.
    n = self._by_place(jnp.where(candidates, counts, 0)).astype(jnp.float32)
    most = jax.lax.cummax(n, n.ndim - 1)[..., :-1]
    return self._by_slot(jnp.concatenate(
        [jnp.zeros_like(n[..., :1]), most], -1)).astype(counts.dtype)


def _sorted(share, valid, order):
  by_score = jnp.argsort(jnp.where(valid, share, -1.0), axis=-1)  # Stable.
  rank = jnp.argsort(by_score, axis=-1)
  slot, place = by_score, rank
  if order == 'raster':
    slot = place = jnp.broadcast_to(jnp.arange(share.shape[-1]), share.shape)
  return _Sorted(rank, place, slot, jnp.cumsum(
      jnp.take_along_axis(share, slot, -1), axis=-1))


class _Pairwise(NamedTuple):
  """The same from comparisons: `upto[..., j, i]`, i comes no later than j."""

  rank: jax.Array
  upto: jax.Array
  cumulated: jax.Array

  @property
  def total(self):
    return self.cumulated.max(-1, keepdims=True)

  def ahead(self, candidates):
    later = ~self.upto & candidates[..., None, :]
    after = jnp.where(later, self.cumulated[..., None, :], jnp.inf).min(-1)
    return self.cumulated, after

  def behind(self, candidates, counts):
    itself = jnp.eye(counts.shape[-1], dtype=bool)
    earlier = self.upto & ~itself & candidates[..., None, :]
    return jnp.where(earlier, counts[..., None, :], 0).max(-1)


def _pairwise(share, valid, order):
  key = jnp.where(valid, share, -1.0)
  mine, other = key[..., :, None], key[..., None, :]
  slot = jnp.arange(share.shape[-1])
  earlier = slot[None, :] <= slot[:, None]
  upto = (other < mine) | ((other == mine) & earlier)
  rank = upto.sum(-1, dtype=jnp.int32) - 1
  if order == 'raster':
    upto = jnp.broadcast_to(earlier, upto.shape)
  # In full precision: cells are as narrow as single scores.
  cumulated = jnp.einsum('...ji,...i->...j', upto.astype(share.dtype), share,
                         precision=jax.lax.Precision.HIGHEST)
  return _Pairwise(rank, upto, cumulated)
