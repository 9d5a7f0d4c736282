"""Encoders of one modality, which stay whole: CLIP's two and RoBERTa.

Their axes have names of their own, so that no width narrows them, and a sandwich
computes them once.
"""
from collections.abc import Callable
import functools
from typing import Any

from bst_jax.elastic import Axis, FULL, Order
from bst_jax.layers import bert, linear, pixels
from bst_jax.layers.activations import gelu, quick_gelu
from bst_jax.layers.dropout import Dropout
from bst_jax.layers.extra import NORMAL
from bst_jax.layers.linear import named
from bst_jax.layers.stack import Stack
from bst_jax.layers.vit import Layer, PatchEmbed, Tokens
from flax import linen as nn
import jax
import jax.numpy as jnp

# What CLIP brings pictures to.
CLIP_MEAN = 0.48145466, 0.4578275, 0.40821073
CLIP_STD = 0.26862954, 0.26130258, 0.27577711
_INIT = dict(kernel_init=NORMAL, bias_init=nn.initializers.zeros)
_NORM = functools.partial(linear.LayerNorm, eps=1e-5)


def _clip_layers(embed, heads, mlp, num_layers, dtype, **options):
  """CLIP's transformer: normalised before each branch, of quick GELUs."""
  layer = functools.partial(
      Layer, embed, Axis('tower_heads', heads), Axis('tower_mlp', mlp), _NORM,
      quick_gelu, dtype=dtype, fill=True, **_INIT)
  return Stack(layer, Order(num_layers), name='encoder', **options)


class ClipVision(nn.Module):
  """CLIP's encoder of pictures, without its projection.

  Attributes:
    image_size: height and width of pictures.
    patch: side of a patch.
    width, heads, mlp, num_layers: of the transformer.
    mean, std: that uint8 pictures are brought to.
    remat: recompute layers in the backward pass, to save memory.

  Reference: Radford et al., "Learning Transferable Visual Models From Natural
    Language Supervision", ICML 2021. METER leaves its last layer out, and
    normalises all tokens at the end.
  """

  image_size: tuple[int, int]
  patch: int = 16
  width: int = 768
  heads: int = 12
  mlp: int = 3072
  num_layers: int = 11
  mean: tuple[float, ...] = CLIP_MEAN
  std: tuple[float, ...] = CLIP_STD
  dtype: Any = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(self, image: jax.Array) -> jax.Array:
    """uint8[P, H, W, 3], or float -> float[P, 1 + h w, d], its class first."""
    embed = Axis('tower', self.width)
    pixels.grid(self.image_size, self.patch)  # That they split into patches.
    image = pixels.normalised(image, self.image_size, self.mean, self.std)
    x = PatchEmbed(self.patch, embed, self.dtype, NORMAL, use_bias=False,
                   name='patches')(image.astype(self.dtype))
    front = self.param('class_token', named(NORMAL, embed))
    front = jnp.broadcast_to(front, (x.shape[0], 1, self.width))
    x = jnp.concatenate([front.astype(x.dtype), x], 1)
    places = self.param('positions', named(
        NORMAL, Axis('position', x.shape[1]), embed))
    x = _NORM(embed, name='norm_before')(x + places.astype(x.dtype))
    tokens = _clip_layers(embed, self.heads, self.mlp, self.num_layers,
                          self.dtype, remat=self.remat)(
                              Tokens(x.astype(self.dtype)))
    return _NORM(embed, name='norm')(tokens.x)


class ClipText(nn.Module):
  """CLIP's encoder of texts, each token of which sees those before it.

  Attributes:
    vocab_size: byte pairs.
    max_positions: tokens of the longest text.
    width, heads, mlp, num_layers: of the transformer.

  Reference: as of `ClipVision`.
  """

  vocab_size: int = 49408
  max_positions: int = 77
  width: int = 512
  heads: int = 8
  mlp: int = 2048
  num_layers: int = 12
  dtype: Any = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(self, tokens: jax.Array) -> jax.Array:
    """int32[B, T] -> float[B, T, d]; padding stands behind the text's end."""
    embed, length = Axis('tower', self.width), tokens.shape[1]
    table = functools.partial(bert.Table, out=embed)
    x = table(Axis('vocab', self.vocab_size), name='words')(tokens)
    x += table(Axis('position', self.max_positions), name='positions')(
        jnp.arange(length))
    seen = jnp.tril(jnp.ones((length, length), bool))
    seen = jnp.broadcast_to(seen, (tokens.shape[0], length, length))
    x = _clip_layers(embed, self.heads, self.mlp, self.num_layers, self.dtype,
                     remat=self.remat)(Tokens(x.astype(self.dtype), seen)).x
    return _NORM(embed, name='norm')(x)


class Roberta(nn.Module):
  """RoBERTa without a pooler.

  Attributes:
    vocab_size: byte pairs.
    max_positions: places, of which the first `padding + 1` are none of a token.
    width, heads, mlp, num_layers: of the transformer.
    padding: the token that fills up.
    dropout: of the embedding, of attentions' weights and of branches.
    adapter, skip: of layers that may be skipped, as of `Stack`.

  Reference: Liu et al., "RoBERTa: A Robustly Optimized BERT Pretraining
    Approach", arXiv 1907.11692.
  """

  vocab_size: int = 50265
  max_positions: int = 514
  width: int = 768
  heads: int = 12
  mlp: int = 3072
  num_layers: int = 12
  padding: int = 1
  dropout: float = 0.1
  dtype: Any = jnp.float32
  remat: bool = False
  adapter: Callable[..., nn.Module] | None = None
  skip: tuple[str, ...] | None = ()

  @nn.compact
  def __call__(self, tokens: jax.Array, *, seed: jax.Array | None = None,
               flags: jax.Array | None = None) -> jax.Array:
    """int32[B, T] -> float[B, T, d].

    Args:
      tokens: with padding behind.
      seed: of dropout, None for evaluation.
      flags: bool[num_layers], see `Stack`.
    """
    embed, mask = Axis('tower', self.width), tokens != self.padding
    if tokens.shape[1] > self.max_positions - self.padding - 1:
      raise ValueError(
          f'the batch has {tokens.shape[1]} tokens a text, but the model knows '
          f'only {self.max_positions - self.padding - 1} places; shorten '
          'max_tokens of the data or raise max_positions of the model.')
    table = functools.partial(bert.Table, out=embed)
    places = jnp.cumsum(mask, 1) * mask + self.padding
    x = table(Axis('vocab', self.vocab_size), name='words')(tokens)
    x += table(Axis('position', self.max_positions), name='positions')(places)
    x += table(Axis('type', 1), name='types')(jnp.zeros((), jnp.int32))
    x = _NORM(embed, name='norm')(x)
    x = Dropout(self.dropout)(x.astype(self.dtype), seed)
    layer = functools.partial(
        bert.Layer, embed, Axis('tower_heads', self.heads),
        Axis('tower_mlp', self.mlp), norm=_NORM, activation=gelu,
        dropout=self.dropout, dtype=self.dtype)
    return Stack(layer, Order(self.num_layers), self.remat, name='encoder',
                 adapter=self.adapter, skip=self.skip)(
                     x, mask, sub=FULL, seed=seed, flags=flags)
