"""A vision transformer on one buffer of all images' living tokens.

Linear layers and norms, nine tenths of the work, see a token no matter whose it
is. So they run on the tokens of a batch one behind the other, in a buffer whose
static length is that of the batch's mean and a margin; attention alone, which
sees images apart, runs on padded views. The sum over many images varies less
than any of them. A batch that does not fit runs in its capacities instead.
"""
from collections.abc import Callable, Sequence
import functools
import math
from typing import Any

from bst_jax.elastic import Axis
from bst_jax.layers import linear
from bst_jax.layers.activations import ACTIVATIONS
from bst_jax.layers.ats import ats_select
from bst_jax.layers.linear import Dense
from bst_jax.layers.sampler import Ats, significance
from bst_jax.layers.tokens import masked_softmax
from bst_jax.layers.vit import Tokens
import jax
import jax.numpy as jnp


def lengths(means: Sequence[float], batch: int, lead: int,
            margin: float = 0.03) -> tuple[int, ...]:
  """Buffers behind each sampling layer, in tokens.

  Args:
    means: tokens of an image behind each, the lead not counted.
    batch: images.
    lead: tokens in front of each image.
    margin: share above the mean; the deviation of an image over its mean and
      the root of the batch is that of the sum.
  """
  return tuple(math.ceil(batch * (mean + lead) * (1 + margin))
               for mean in means)


def runs(ats: Ats) -> bool:
  """Whether a network that samples so has a ragged run."""
  return bool(ats.blocks) and not ats.policy_eps and (
      ats.grad == 'hard' and ats.attention == 'select_first')


def make(model: Any, buffers: Sequence[int]) -> Callable:
  """A function (params, batch) -> (outputs, fits bool[]).

  Args:
    model: a `models.vit.Model` that samples with capacities, which bound the
      padded views; plain attention, hard selection.
    buffers: tokens behind each sampling layer, over the batch, see `lengths`.

  Raises:
    ValueError: the model samples in a way that has no such form.
  """
  ats = model.ats
  if model.skip != ():
    raise ValueError('a ragged run needs a model whose layers all run; this one '
                     'has adapters, see its skip.')
  if model.head_reads != 'class':
    raise ValueError(
        'a ragged run hands on the tokens in front alone, and the head of this '
        f'model reads {model.head_reads!r}; run it in its capacities.')
  if not runs(ats):
    raise ValueError(
        'a ragged run needs a model that samples tokens with hard selection, '
        "attention 'select_first' and no policy_eps.")
  if len(buffers) != len(ats.blocks):
    raise ValueError(f'{len(buffers)} buffers for the {len(ats.blocks)} layers '
                     f'that sample, {list(ats.blocks)}; give one for each.')
  depth, first = model.num_layers, ats.blocks[0]
  stages = ats.stages(tuple(range(depth)), model.slots, model.lead)
  sizes = dict(zip(ats.blocks, buffers))

  def run(params, batch):
    x = model.apply({'params': params}, batch, part=range(first)).x
    images, tokens = x.shape[:2]
    x = x.reshape(images * tokens, -1)                      # [T, d]
    rows = _Rows(jnp.full(images, tokens), images * tokens, tokens)
    fits = jnp.array(True)
    for i in range(first, depth):
      layer = _Layer(model, params['encoder'][f'layer_{i}'])
      x, rows = layer(x, rows, stages.get(i), sizes.get(i))
      fits &= rows.fits
    lead = x[rows.at[:, :model.lead]]                       # [B, lead, d]
    outputs = model.apply({'params': params}, Tokens(lead),
                          part=range(depth, depth))
    return jax.lax.cond(
        fits, lambda: outputs,
        lambda: model.apply({'params': params}, batch)), fits

  return jax.jit(run)


class _Rows:
  """Where each image's tokens stand in a buffer, one image behind the other.

  Attributes:
    count: int32[B], tokens of each image, its lead among them.
    start: int32[B], the first of them.
    length: of the buffer.
    image, slot: int32[length], whose token it is and which; padding behind the
      last is the last image's.
    at: int32[B, width], places of each image's tokens.
    there: bool[B, width], whether there are so many.
    fits: bool[], whether the buffer holds all.
  """

  def __init__(self, count, length, width):
    end = jnp.cumsum(count)
    self.count, self.start, self.length = count, end - count, length
    place = jnp.arange(length)
    self.image = jnp.minimum(
        jnp.searchsorted(end, place, side='right'), len(count) - 1)
    self.slot = jnp.minimum(place - self.start[self.image], width - 1)
    slots = jnp.arange(width)
    self.there = slots < count[:, None]
    self.at = jnp.minimum(self.start[:, None] + slots, length - 1)
    self.fits = end[-1] <= length


class _Layer:
  """A layer of models/vit.py on a buffer; the same parameters."""

  def __init__(self, model, params):
    self._params = params
    self._activation = ACTIVATIONS[model.activation]
    embed = Axis('embed', model.width)
    # Of this layer: others may have other sizes.
    split = params['attention']['query']['kernel'].shape[1:]
    heads = tuple(map(Axis, ('heads', 'head_dim'), split))
    mlp = Axis('mlp', params['ffn']['fc1']['kernel'].shape[1])
    dense = functools.partial(Dense, dtype=model.dtype)
    self._modules = {
        **{f'attention/{name}': dense(
            (embed,), heads, use_bias=model.qkv_bias)
           for name in ('query', 'key', 'value')},
        'attention/out': dense(heads, (embed,)),
        'ffn/fc1': dense((embed,), (mlp,)),
        'ffn/fc2': dense((mlp,), (embed,)),
        **{name: linear.LayerNorm(embed, eps=model.eps)
           for name in ('norm1', 'norm2')}}

  def _apply(self, path, x):
    params = functools.reduce(lambda tree, key: tree[key], path.split('/'),
                              self._params)
    return self._modules[path].apply({'params': params}, x)

  def __call__(self, x, rows, stage, length):
    """Buffers [T, d] -> [length, d], and the rows of it."""
    h = self._apply('norm1', x)
    k, v = (self._apply(f'attention/{name}', h)[rows.at]    # [B, M, h, K]
            for name in ('key', 'value'))
    wide = lambda z: jnp.where(rows.there[..., None, None], z, 0)
    k, v, new = wide(k), wide(v), rows
    if stage is not None:
      new, source = self._pick(h, k, v, rows, stage, length)
      x, h = x[source], h[source]
    q = self._apply('attention/query', h)[new.at]           # [B, n, h, K]
    probs = _attend(q, k, rows.there, x.dtype)
    z = jnp.einsum('bhnm,bhmk->bhnk', probs, v.swapaxes(1, 2))
    z = z.swapaxes(1, 2)[new.image, new.slot]               # [T, h, K]
    z = self._apply('attention/out', z)                     # [T, d]
    x = x + self._scaled('layer_scale1', z)
    z = self._apply('ffn/fc1', self._apply('norm2', x))
    z = self._apply('ffn/fc2', self._activation(z))
    return x + self._scaled('layer_scale2', z), new

  def _scaled(self, name, z):
    """A branch by its gains, where it has any."""
    gain = self._params.get(name)
    return z if gain is None else z * gain.astype(z.dtype)

  def _pick(self, h, k, v, rows, stage, length):
    """Rows of the tokens that live, and where they stood: int32[length]."""
    lead = stage.lead
    first = self._apply('attention/query', h[rows.start])[:, None]
    seen = _attend(first, k, rows.there, jnp.float32)[:, :, 0]
    scores = significance(seen, v, stage.score)[:, lead:]
    picked = ats_select(scores, rows.there[:, lead:], **dict(stage.options))
    living = lead + picked.valid.sum(1)
    front = jnp.broadcast_to(jnp.arange(lead), (len(living), lead))
    slots = jnp.concatenate([front, lead + picked.index], 1)
    new = _Rows(living, length, slots.shape[1])
    old = slots[new.image, new.slot]
    return new, jnp.minimum(rows.start[new.image] + old, rows.length - 1)


def _attend(q, k, there, dtype):
  # Heads first, as in `layers.attention`.
  scores = jnp.einsum(
      'bhnk,bhmk->bhnm', (q * q.shape[-1] ** -0.5).swapaxes(1, 2),
      k.swapaxes(1, 2), preferred_element_type=dtype)
  return masked_softmax(scores, there[:, None, None, :])
