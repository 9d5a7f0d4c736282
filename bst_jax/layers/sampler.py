"""Where in a transformer tokens are sampled, from which scores, and how many.

Reference: Fayyaz et al., "Adaptive Token Sampling for Efficient Vision
  Transformers", ECCV 2022, and its released code.
Differs: tokens are selected before most queries are made, which is the same,
  as every query has a softmax of its own; queries and scores of tokens that go
  are never computed. `attention='reference'` keeps the published order.
"""
from collections.abc import Callable, Mapping, Sequence
import dataclasses

from bst_jax.elastic import check_name
from bst_jax.layers import ats
from bst_jax.layers.ats import ats_select, Selection
from bst_jax.layers.linear import wide
from bst_jax.layers.tokens import gather_tokens
import jax
import jax.numpy as jnp

SCORES = ('concat', 'per_head', 'attn_only', 'attn_colsum')
ATTENTIONS = ('select_first', 'reference')


def significance(attention: jax.Array, values: jax.Array,
                 score: str) -> jax.Array:
  """How much every token matters to those that look at it.

  Args:
    attention: float32[B, h, M], what the tokens receive.
    values: float[B, M, h, K].
    score: `concat`: attention summed over heads x the norm of all heads'
      values (released); `per_head`: the sum of the heads' products;
      `attn_only`, `attn_colsum`: attention alone.

  Returns:
    float32[B, M], whose scale means nothing.
  """
  summed = attention.sum(1)
  if score.startswith('attn'):
    return summed
  square = jnp.square(wide(values))
  if score == 'concat':
    return summed * _root(square.sum((2, 3)))
  return jnp.einsum('bhm,bmh->bm', attention, _root(square.sum(3)))


def _root(x):
  """A square root whose slope at zero is zero."""
  some = x > 0
  return jnp.where(some, jnp.sqrt(jnp.where(some, x, 1.0)), 0.0)


@dataclasses.dataclass(frozen=True)
class Stage:
  """The sampling of one layer: decides which rows of x attend.

  Attributes:
    lead: tokens in front that always live, the first of which is the class.
    score: of `SCORES`; `attn_colsum` is the mean over all living rows where
      the others take the class token's.
    reference: all rows attend before some are picked.
    options: of `ats_select`, as pairs.
    group: rows of a batch, one after the other, that share a selection: that
      from the sum of their scores.
  """

  lead: int
  score: str
  reference: bool
  options: tuple[tuple[str, object], ...]
  group: int = 1

  def __call__(self, x: jax.Array, valid: jax.Array | None, query: Callable,
               attend: Callable, values: jax.Array,
               spread: Callable | None = None,
               judge: tuple[Callable, jax.Array] | None = None
               ) -> tuple[jax.Array, Selection]:
    """Attention of the rows that live.

    Args:
      x: float[B, N, d].
      valid: bool[B, N] or None.
      query: maps rows of x to float[B, n, h, K].
      attend: maps queries to probabilities float[B, h, n, M], in the dtype
        that is named.
      values: float[B, M, h, K].
      spread: maps scores of what is attended to, float[B, M - lead], to those
        of the candidates, float[B, N - lead]; None where they are the same.
      judge: attend and values that scores are made with, where they are not
        those of the output; only where a row is scored before others attend.

    Returns:
      Probabilities float[B, h, lead + capacity, M] and the selection among the
      N - lead tokens behind the lead.
    """
    lead = self.lead
    if self.reference:
      every = attend(query(x), x.dtype)                     # [B, h, N, M]
      seen = every[:, :, 0]
      if self.score == 'attn_colsum':
        rows = (jnp.ones(x.shape[:2]) if valid is None else valid)
        rows = rows.astype(jnp.float32)
        seen = jnp.einsum('bhnm,bn->bhm', every, rows)
        seen /= rows.sum(-1)[:, None, None]
      picked = self.pick(seen, valid, values, spread)
      behind = jnp.take_along_axis(
          every[:, :, lead:], picked.index[:, None, :, None], axis=2)
      return jnp.concatenate([every[:, :, :lead], behind], 2), picked
    first = query(x[:, :lead])                              # [B, lead, h, K]
    scoring, scored = judge or (attend, values)
    precise = jnp.promote_types(x.dtype, jnp.float32)
    seen = scoring(first[:, :1], precise)[:, :, 0]
    picked = self.pick(seen, valid, scored, spread)
    behind = query(gather_tokens(x[:, lead:], picked.index))
    return attend(jnp.concatenate([first, behind], 1), x.dtype), picked

  def pick(self, seen: jax.Array, valid: jax.Array | None, values: jax.Array,
           spread: Callable | None = None) -> Selection:
    """The selection from what float[B, h, M] the tokens receive."""
    scores = significance(wide(seen), values, self.score)
    scores = scores[:, self.lead:]
    scores = spread(scores) if spread else scores
    groups = lambda z: z.reshape(-1, self.group, z.shape[1])
    picked = ats_select(
        groups(scores).sum(1),
        None if valid is None else groups(valid[:, self.lead:])[:, 0],
        **dict(self.options))
    if self.group == 1:
      return picked
    return jax.tree.map(lambda z: jnp.repeat(z, self.group, 0), picked)


@dataclasses.dataclass(frozen=True)
class Ats:
  """Adaptive token sampling of a network; numbers and texts only.

  Attributes:
    blocks: layers that sample, ascending from 0; none is the plain network.
    num_points: grid points, one number or one a block; as many as there are
      candidates at the network's input if None.
    capacity: tokens that a block hands on at most, the lead not counted, one
      number or one a block. None keeps the width and masks tokens that are
      gone: nothing is saved, nothing lost.
    anchor: `auto` drops the lowest token at the first sampling and keeps it
      later; or of `ats.ANCHORS`.
    order, rule, method, grad, fill, form: see `ats.ats_select`.
    score: see `significance`.
    attention: `select_first`, or `reference`, which `attn_colsum` needs.
    policy_eps: share of the softmax that leaks to all keys, masked or not; the
      released code has 1e-6.
  """

  blocks: tuple[int, ...] = ()
  num_points: int | tuple[int, ...] | None = None
  capacity: int | tuple[int | None, ...] | None = None
  anchor: str = 'auto'
  order: str = 'score'
  rule: str = 'auto'
  method: str = 'its'
  grad: str = 'hard'
  fill: bool = False
  form: str = 'sort'
  score: str = 'concat'
  attention: str = 'select_first'
  policy_eps: float = 0.0

  def __post_init__(self):
    for field in ('blocks', 'num_points', 'capacity'):
      value = getattr(self, field)
      if isinstance(value, Sequence):  # Lists are what JSON makes of tuples.
        object.__setattr__(self, field, tuple(value))
    if list(self.blocks) != sorted(set(self.blocks)):
      raise ValueError(f'ats.blocks {self.blocks} are not ascending; name '
                       'every layer that samples once, in order.')
    for field in ('num_points', 'capacity'):
      value = getattr(self, field)
      if isinstance(value, tuple) and len(value) != len(self.blocks):
        raise ValueError(
            f'ats.{field} has {len(value)} numbers for {len(self.blocks)} '
            'blocks; give one number for all or one for each.')
    check_name(self.anchor, ('auto', 'keep_lowest', 'drop_lowest'),
               'anchor of token sampling')
    check_name(self.score, SCORES, 'score of token sampling')
    check_name(self.attention, ATTENTIONS, 'attention of token sampling')
    if self.score == 'attn_colsum' and self.attention != 'reference':
      raise ValueError("ats.score 'attn_colsum' needs the attention of all "
                       "tokens; set ats.attention to 'reference'.")

  @classmethod
  def of(cls, ats: 'Ats | Mapping[str, object] | None') -> 'Ats':
    """The sampling that a model is given: itself, its arguments, or none."""
    if isinstance(ats, cls):
      return ats
    for option in (ats := dict(ats or {})):
      check_name(option, cls.__dataclass_fields__, 'option of model.ats')
    return cls(**ats)

  def changed(self, options: Mapping[str, object]) -> 'Ats':
    """The sampling with some of its options changed."""
    for option in options:
      check_name(option, self.__dataclass_fields__, 'option of model.ats')
    return dataclasses.replace(self, **options)

  def _each(self, field):
    value = getattr(self, field)
    return value if isinstance(value, tuple) else (value,) * len(self.blocks)

  def at(self, layers: Sequence[int]) -> 'Ats':
    """The sampling of a network that keeps these layers, numbered anew."""
    kept = sorted((i for i, block in enumerate(self.blocks) if block in layers),
                  key=lambda i: layers.index(self.blocks[i]))
    cut = lambda field: (
        tuple(self._each(field)[i] for i in kept)
        if isinstance(getattr(self, field), tuple) else getattr(self, field))
    return dataclasses.replace(
        self, blocks=tuple(layers.index(self.blocks[i]) for i in kept),
        num_points=cut('num_points'), capacity=cut('capacity'))

  def widths(self, slots: int) -> tuple[int, ...]:
    """Slots that every sampling block hands on, the lead not counted.

    Raises:
      ValueError: a capacity above the tokens that reach a block.
    """
    result = []
    for block, capacity in zip(self.blocks, self._each('capacity')):
      if capacity is not None and not 1 <= capacity <= slots:
        raise ValueError(
            f'ats.capacity {capacity} of layer {block} does not fit: {slots} '
            f'tokens reach it; choose 1 to {slots}, or None to mask only.')
      slots = slots if capacity is None else capacity
      result.append(slots)
    return tuple(result)

  def stages(self, layers: Sequence[int], slots: int, lead: int,
             group: int = 1) -> dict[int, Stage]:
    """What samples in each of the layers that run.

    Args:
      layers: those that run, ascending.
      slots: tokens at the network's input, the lead not counted.
      lead: tokens in front that always live.
      group: rows of a batch that share a selection, see `Stage`.
    """
    runs = self.at(layers)
    result, given = {}, runs._each('capacity')
    for i, (block, width, points) in enumerate(zip(
        runs.blocks, runs.widths(slots), runs._each('num_points'))):
      anchor = self.anchor
      if anchor == 'auto':
        anchor = 'keep_lowest' if i else 'drop_lowest'
      options = dict(
          num_points=slots if points is None else points,
          # A mask keeps whatever width comes.
          capacity=None if given[i] is None else width,
          anchor=anchor, **{name: getattr(self, name) for name in (
              'order', 'rule', 'method', 'grad', 'fill', 'form')})
      result[layers[block]] = Stage(
          lead, self.score, self.attention == 'reference',
          tuple(options.items()), group)
    return result

  def check(self, num_layers: int, slots: int) -> None:
    """Raises a ValueError if a network of such sizes cannot sample so."""
    outside = [block for block in self.blocks if not 0 <= block < num_layers]
    if outside:
      raise ValueError(
          f'ats.blocks names the layers {outside}, but the network has '
          f'{num_layers}; choose from 0 to {num_layers - 1}.')
    every = tuple(range(num_layers))
    for stage in self.stages(every, slots, 1).values():
      # All but one, of which either value will do.
      ats.check(slots, **{name: value for name, value in stage.options
                          if name != 'fill'})
