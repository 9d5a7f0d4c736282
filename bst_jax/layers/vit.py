"""What vision transformers share: patches, layers, the seam of their tokens."""
from collections.abc import Callable, Mapping, Sequence
import functools
from typing import Any, NamedTuple

from bst_jax.elastic import Axis, FULL, Size, Submodel
from bst_jax.layers.adapters import ATTENTION, beside, FFN, SkipAdapter
from bst_jax.layers.ats import Selection
from bst_jax.layers.attention import Attention
from bst_jax.layers.blocks import FeedForward
from bst_jax.layers.dropout import Dropout
from bst_jax.layers.extra import Extra
from bst_jax.layers.linear import Dense, named
from bst_jax.layers.sampler import Ats, Stage
from bst_jax.layers.tokens import gather_tokens
from flax import linen as nn
import jax
import jax.numpy as jnp


class Tokens(NamedTuple):
  """What goes from layer to layer.

  Attributes:
    x: float[B, N, d], class tokens first.
    valid: bool[B, N], false for tokens that are gone; None for none.
    gate: float32[B, N], one and zero likewise, where gradients pass it or the
      softmax leaks; else None.
    ids: int32[B, N - lead], the patch that each token was, -1 for padding;
      None where nothing is sampled.
    grid: float[B, h * w, d], of networks that read places whose tokens are
      gone, what every place held when the last layer read it; else None.
    real: bool[B, lead], false for padding among the tokens in front, where
      tokens are sampled; None where there is none.
  """

  x: jax.Array
  valid: jax.Array | None = None
  gate: jax.Array | None = None
  ids: jax.Array | None = None
  grid: jax.Array | None = None
  real: jax.Array | None = None

  @classmethod
  def start(cls, x: jax.Array, lead: int, ats: Ats) -> 'Tokens':
    """All tokens float[B, N, d] at the input of a network that samples so."""
    if not ats.blocks:
      return cls(x)
    batch, total = x.shape[:2]
    ids = jnp.broadcast_to(jnp.arange(total - lead), (batch, total - lead))
    return cls(x, ids=ids,
               gate=jnp.ones((batch, total)) if ats.policy_eps else None)

  def take(self, picked: Selection, lead: int, soft: bool) -> 'Tokens':
    """The tokens that live, behind the `lead` ones, which stay as they are.

    Args:
      picked: a selection among the others.
      lead: number of tokens in front.
      soft: carry the gates of the selection on.
    """
    join = lambda front, behind: jnp.concatenate([front, behind], 1)
    front = self.real
    if front is None:
      front = jnp.ones((self.x.shape[0], lead), bool)
    x = join(self.x[:, :lead], gather_tokens(self.x[:, lead:], picked.index))
    gate = self.gate
    if gate is not None:
      gate = join(gate[:, :lead], jnp.take_along_axis(
          gate[:, lead:], picked.index, 1) * picked.gate)
    elif soft:
      gate = join(front.astype(jnp.float32), picked.gate)
    ids = jnp.take_along_axis(self.ids, picked.index, 1)
    return self._replace(x=x, valid=join(front, picked.valid), gate=gate,
                         ids=jnp.where(picked.valid, ids, -1))


def rising(rate: float, count: int) -> list[float]:
  """Chances of `count` layers to be skipped: from zero in the first to `rate`.
  """
  return [rate * place / max(count - 1, 1) for place in range(count)]


def layer_options(layers: Sequence[int], rates: Sequence[float],
                  stages: Mapping[int, Stage]) -> dict[str, dict[str, Any]]:
  """What each of the layers that run takes for itself, as `Stack.options`.

  Args:
    layers: numbers of those that run.
    rates: `depth_dropout` of each.
    stages: the sampling of tokens in some of them.
  """
  return {f'layer_{i}': dict(depth_dropout=rate, stage=stages.get(i))
          for i, rate in zip(layers, rates, strict=True)}


def attend(owner: nn.Module, attention: nn.Module, x: jax.Array,
           tokens: Tokens, stage: Stage | None, soft: bool = False,
           frames: int | None = None, **options: Any
           ) -> tuple[jax.Array, Tokens]:
  """What attention adds to the tokens that live, and these.

  Args:
    owner: the layer, which sows what there is to tell of sampled tokens.
    attention: an `Attention`.
    x: float[B, N, d], the tokens as they are to be read.
    tokens: before the layer.
    stage: the sampling of tokens in the layer; None for none.
    soft, frames: as of `Layer`.
    **options: of the attention's call.

  Returns:
    float[B, n, d] and the n tokens.
  """
  options = {'mask': tokens.valid} | options
  if stage is None:
    return attention(x, **options), tokens
  select = lambda x, *how: stage(x, tokens.valid, *how)
  z, picked = attention(x, select=select, **options)
  return z, sampled(owner, tokens, picked, stage, soft, frames)


def sampled(owner: nn.Module, tokens: Tokens, picked: Selection, stage: Stage,
            soft: bool = False, frames: int | None = None) -> Tokens:
  """The tokens that a layer picked; `owner` sows how many, and which.

  Args:
    owner, tokens, stage, soft, frames: as of `attend`.
    picked: what `stage` selected.
  """
  tokens = tokens.take(picked, stage.lead, soft)
  for name, value in (('count', picked.count), ('overflow', picked.overflow),
                      ('token_ids', tokens.ids)):
    if frames is not None:
      value = value.reshape(-1, frames, *value.shape[1:])
    owner.sow('intermediates', name, value)
  return tokens


class Layer(nn.Module):
  """Self-attention and feed-forward, each normalised before its branch.

  Attributes:
    norm: makes a normalisation from its axis and name.
    dropout: of both branches' outputs and between the feed-forward layers.
    depth_dropout: chance of an example to skip a branch in training.
    kernel_init, bias_init: of every linear layer, as of `Dense`.
    stage: the sampling of tokens here; None for none.
    policy_eps: see `sampler.Ats`.
    soft: the sampling has straight-through gradients.
    fill: the sampling fills spare slots with tokens that are gone.
    frames: rows of a batch that are the frames of one clip; what is sown has
      them on an axis of their own. None for pictures.
    mix: changes keys and values: called with float[B, N, h, K] and the tokens.
    qkv_bias, head_dim: see `Attention`.
    layer_scale: what a gain of every channel of both branches starts from;
      None for no such gains.
    extra: what is trained beside it; None for nothing.

  Reference: for the gains, Touvron et al., "Going deeper with Image
    Transformers", ICCV 2021 (LayerScale).
  """

  embed: Axis
  heads: Axis
  mlp: Axis
  norm: Callable[..., nn.Module]
  activation: Callable
  dropout: float = 0.0
  depth_dropout: float = 0.0
  dtype: Any = jnp.float32
  kernel_init: Callable | None = None
  bias_init: Callable | None = None
  stage: Stage | None = None
  policy_eps: float = 0.0
  soft: bool = False
  fill: bool = False
  frames: int | None = None
  mix: Callable | None = None
  qkv_bias: bool = True
  head_dim: Size | None = None
  layer_scale: float | None = None
  extra: Extra | None = None

  @nn.compact
  def __call__(self, tokens: Tokens, *, sub: Submodel = FULL,
               seed: jax.Array | None = None) -> Tokens:
    """Tokens of float[B, N, d] -> of float[B, n, d], n <= N."""
    part = dict(dtype=self.dtype, kernel_init=self.kernel_init,
                bias_init=self.bias_init)
    run = dict(sub=sub, seed=seed)
    drop = lambda z: Dropout(self.depth_dropout, whole=True)(
        Dropout(self.dropout)(z, seed), seed)

    extra = lambda branch, x, z: beside(
        self.extra, branch, x, z, self.embed, self.dtype, self.kernel_init,
        sub=sub)

    z, tokens = self._attend(tokens, part, run)
    z = drop(self._scaled('layer_scale1', z))
    x = tokens.x + extra(ATTENTION, tokens.x, z)
    h = self.norm(self.embed, name='norm2')(x, sub=sub)
    z = FeedForward(self.embed, self.mlp, self.embed, self.activation,
                    self.dropout, **part, name='ffn')(h, **run)
    z = drop(self._scaled('layer_scale2', z))
    return tokens._replace(x=self._rest(x + extra(FFN, x, z), tokens))

  def _attend(self, tokens, part, run):
    """What attention adds to the tokens that live, and these."""
    h = self.norm(self.embed, name='norm1')(tokens.x, sub=run['sub'])
    attention = Attention(self.embed, self.heads, **part,
                          qkv_bias=self.qkv_bias, head_dim=self.head_dim,
                          extra=self.extra, name='attention')
    seen = dict(mask=tokens.valid, gate=tokens.gate, gate_eps=self.policy_eps)
    if self.mix is not None:
      seen['mix'] = functools.partial(self.mix, tokens=tokens)
    return attend(self, attention, h, tokens, self.stage, self.soft,
                  self.frames, **seen, **run)

  def _scaled(self, name, z):
    """A branch by its gains, where it has any."""
    if self.layer_scale is None:
      return z
    gain = self.param(name, named(
        nn.initializers.constant(self.layer_scale), self.embed))
    return z * gain[:z.shape[-1]].astype(z.dtype)

  def _sampled(self, tokens, picked):
    """The tokens that live, and a word about them."""
    return sampled(self, tokens, picked, self.stage, self.soft, self.frames)

  def _rest(self, x, tokens):
    """Zeros the tokens that are gone, and lets gradients into fresh gates."""
    if tokens.valid is None or self.fill:
      return x
    across = lambda z: z.reshape(z.shape + (1,) * (x.ndim - 2))
    if self.stage is not None and self.soft:
      return x * across(tokens.gate).astype(x.dtype)
    return jnp.where(across(tokens.valid), x, jnp.zeros_like(x))


class SkipTokens(SkipAdapter):
  """A `SkipAdapter` of the tokens that live."""

  def __call__(self, tokens: Tokens, *, sub: Submodel = FULL,
               seed: jax.Array | None = None) -> Tokens:
    """Tokens of float[B, N, d] -> likewise."""
    x = super().__call__(tokens.x, sub=sub, seed=seed)
    if tokens.valid is not None:
      x = jnp.where(tokens.valid[..., None], x, tokens.x)
    return tokens._replace(x=x)


class PatchEmbed(nn.Module):
  """Squares of pixels, each through the same linear layer.

  Attributes:
    size: pixels along the side of a patch.
    use_bias: of the linear layer.
  """

  size: int
  out: Axis
  dtype: Any = jnp.float32
  kernel_init: Callable | None = None
  bias_init: Callable | None = None
  use_bias: bool = True

  @nn.compact
  def __call__(self, image: jax.Array, *, sub: Submodel = FULL) -> jax.Array:
    """float[B, H, W, 3] -> float[B, N, d], row by row."""
    batch, height, width, channels = image.shape
    size = self.size
    x = image.reshape(batch, height // size, size, width // size, size,
                      channels).swapaxes(2, 3)              # [B, h, w, p, p, 3]
    x = x.reshape(batch, -1, size, size, channels)
    side = Axis('window', size)
    return Dense((side, side, Axis('pixel', channels)), (self.out,),
                 self.kernel_init, self.bias_init, self.dtype, self.use_bias,
                 name='proj')(x, sub=sub)
