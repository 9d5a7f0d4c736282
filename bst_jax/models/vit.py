"""ViT and DeiT: a picture as a sequence of patches, its tokens sampled or not.

Reference: Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021;
  Touvron et al., "Training data-efficient image transformers & distillation
  through attention", ICML 2021; Fayyaz et al., "Adaptive Token Sampling for
  Efficient Vision Transformers", ECCV 2022.
"""
from collections.abc import Mapping
import functools
import math
from typing import Any

from bst_jax.elastic import Axis, check_name, FULL, Size, Submodel
from bst_jax.layers import features, linear, looks, pixels
from bst_jax.layers.activations import ACTIVATIONS
from bst_jax.layers.backbone import Backbone
from bst_jax.layers.dropout import Dropout, seed_of
from bst_jax.layers.linear import Dense, named, TRUNCATED, wide
from bst_jax.layers.sampler import Ats
from bst_jax.layers.stack import Stack
from bst_jax.layers.vit import (
  Layer,
  layer_options,
  PatchEmbed,
  rising,
  SkipTokens,
  Tokens,
)
from flax import linen as nn
import jax
import jax.numpy as jnp

HEAD_READS = ('class', 'class_mean')
# The class token, and the mean of the patches.
_SUMMARY = Axis('summary', 2)


class Model(Backbone):
  """Names what a picture shows.

  The sizes of the published models are (width, heads, mlp): DeiT-Ti 192, 3,
  768; DeiT-S 384, 6, 1536; DeiT-B and ViT-B 768, 12, 3072; the scaled ones 258
  or 318, 6, four times the width.

  Attributes:
    num_answers: classes.
    image_size: side of the pictures, or height and width.
    patch: side of a patch; it divides those of the pictures.
    width, heads, mlp: of the transformer; a submodel keeps a prefix of each.
    head_dim: channels of a head; width / heads if None.
    num_layers: of the transformer.
    adapter: hidden units of what may run instead of a layer; 0 for no such.
    skip: paths of the layers that are skipped, as 'encoder/layer_1'; None: all
      layers have adapters, and `flags` decides, see `candidates`.
    activation: of `ACTIVATIONS`, between the layers of a feed-forward part.
    qkv_bias: whether queries, keys and values have biases.
    layer_scale: what a gain of every channel of both branches of a layer
      starts from; None for no such gains, see `layers.vit.Layer`.
    registers: tokens behind those of the class that have no place and stand
      for no patch.
    head_reads: what the head reads: the `class` token, or `class_mean`, that
      and the mean of the patches that live, side by side.
    distilled: a second token, of distillation, behind the class token.
    distilled_head: it has a head of its own, and the logits are the mean of
      both; without it only the class token is read.
    eps: of every normalisation.
    mean, std: that uint8 pictures are brought to.
    ats: an `Ats`, or its arguments; None samples nothing. Sampling has no
      parameters: the same ones serve any.
    strategy, strategy_seed: which layers a depth keeps, see `elastic.Order`.
    dropout: of branches and of the embedding.
    depth_dropout: chance to skip a branch in the last layer; it grows from
      zero in the first.
    remat: recompute layers in the backward pass, to save memory.

  Every sampling layer sows `count` and `overflow` int32[B] and `token_ids`
  int32[B, n], the patch of each token or -1, as `intermediates`.
  """

  num_answers: int
  image_size: int | tuple[int, int] = 224
  patch: int = 16
  width: int = 384
  heads: Size = 6
  mlp: Size = 1536
  num_layers: int = 12
  distilled: bool = False
  distilled_head: bool = True
  eps: float = 1e-6
  mean: tuple[float, ...] = pixels.MEAN
  std: tuple[float, ...] = pixels.STD
  ats: Ats | Mapping[str, Any] | None = None
  strategy: str = 'middle'
  strategy_seed: int = 0
  dropout: float = 0.0
  depth_dropout: float = 0.0
  dtype: Any = jnp.float32
  remat: bool = False
  head_dim: Size | None = None
  adapter: Size = 0
  skip: tuple[str, ...] | None = ()
  activation: str = 'gelu'
  qkv_bias: bool = True
  layer_scale: float | None = None
  registers: int = 0
  head_reads: str = 'class'

  def __post_init__(self):
    check_name(self.activation, ACTIVATIONS, 'activation')
    check_name(self.head_reads, HEAD_READS, 'input of a head')
    if self.distilled and self.head_reads != 'class':
      raise ValueError(
          f'head_reads is {self.head_reads!r}, but a distilled model reads its '
          "two tokens alone; leave it 'class', or set distilled to False.")
    super().__post_init__()

  @property
  def sides(self) -> tuple[int, int]:
    """Height and width of the pictures."""
    return pixels.sides(self.image_size)

  @property
  def token_grid(self) -> tuple[int, int]:
    """Rows and columns of patches."""
    return pixels.grid(self.sides, self.patch)

  @property
  def slots(self) -> int:
    """Patches of a picture."""
    return math.prod(self.token_grid)

  @property
  def class_tokens(self) -> int:
    """Tokens in front that have a place: of the class and of distillation."""
    return 2 if self.distilled else 1

  @property
  def lead(self) -> int:
    """Tokens in front of the patches."""
    return self.class_tokens + self.registers

  @property
  def answer_tokens(self) -> int:
    """Tokens in front that the head reads alone; 0 where it reads others."""
    alone = self.head_reads == 'class' and not self.ats.blocks
    return self.class_tokens if alone else 0

  @nn.compact
  def __call__(self, batch: dict[str, jax.Array], *, sub: Submodel = FULL,
               train: bool = False,
               part: range | None = None, flags: jax.Array | None = None,
               ) -> dict[str, jax.Array] | Tokens:
    """Logits of the classes.

    Args:
      batch: image uint8[B, H, W, 3], or float, which is taken to have the
        model's mean and deviation already; `Tokens` for a part that does not
        begin with layer 0.
      sub: the part to run.
      train: dropout, which needs an rng named 'dropout'.
      flags: bool[n], true for those of `candidates` that are skipped.
      part: only these layers, one after the other; the first comes with what is
        before it, the last with the head.

    Returns:
      classes float[B, A]; `Tokens` of a part that does not end with the last layer.
    """
    embed = Axis('embed', self.width)
    seed = seed_of(self.make_rng('dropout')) if train else None
    norm = functools.partial(linear.LayerNorm, eps=self.eps)
    layer = functools.partial(
        Layer, embed, Axis('heads', self.heads), Axis('mlp', self.mlp), norm,
        ACTIVATIONS[self.activation], head_dim=self.head_dim,
        qkv_bias=self.qkv_bias, layer_scale=self.layer_scale,
        dropout=self.dropout, dtype=self.dtype,
        policy_eps=self.ats.policy_eps, soft=self.ats.grad != 'hard',
        fill=self.ats.fill, **TRUNCATED)
    order = self.stacks['encoder']
    layers = sub.layers(order)
    options = layer_options(
        layers, rising(self.depth_dropout, len(layers)),
        self.ats.stages(layers, self.slots, self.lead))

    part = range(self.num_layers) if part is None else part
    tokens = batch
    if part.start == 0:
      check_name('image', batch, 'key of the batch')
      tokens = self._tokens(batch['image'], embed, sub, seed)
    tokens = Stack(
        layer, order, self.remat, options, name='encoder',
        **self.skips('encoder', SkipTokens, embed))(
            tokens, sub=sub, seed=seed, part=part, flags=flags)
    if part.stop < self.num_layers:
      return tokens
    return {'classes': wide(self._logits(tokens, embed, norm, sub))}

  def looked(self, sown: Mapping[str, Any],
             batch: Mapping[str, jax.Array]) -> jax.Array:
    """float[B, N], what the class token attends to in the last layer."""
    del batch
    return looks.of_first_token(
        sown, f'encoder/layer_{self.stacks["encoder"].num_layers - 1}/attention',
        self.lead)

  def _logits(self, tokens, embed, norm, sub):
    """float[B, A] of the tokens that the last layer leaves."""
    answers = (Axis('answers', self.num_answers),)
    head = lambda name, x, *inp: Dense(
        (*inp, embed), answers, **TRUNCATED, dtype=self.dtype, name=name)(
            x, sub=sub)
    if self.head_reads == 'class_mean':
      x = norm(embed, name='norm')(tokens.x, sub=sub)       # [B, N, d]
      mean = _mean(x[:, self.lead:], tokens, self.lead)
      features.sow(self, x[:, 0])
      return head('head', jnp.stack([x[:, 0], mean], 1), _SUMMARY)
    x = norm(embed, name='norm')(
        tokens.x[:, :self.class_tokens], sub=sub)           # [B, 1 or 2, d]
    features.sow(self, x[:, 0])
    logits = head('head', x[:, 0])
    if self.distilled and self.distilled_head:
      logits = (logits + head('distilled_head', x[:, 1])) / 2
    return logits

  def _tokens(self, image, embed, sub, seed):
    """Class tokens and patches with their places."""
    image = pixels.normalised(image, self.sides, self.mean, self.std)
    x = PatchEmbed(self.patch, embed, self.dtype, **TRUNCATED, name='patches')(
        image.astype(self.dtype), sub=sub)                  # [B, n, d]
    batch, slots, size = x.shape
    normal = TRUNCATED['kernel_init']
    names = ('class_token', 'distillation_token')[:self.class_tokens]
    front = jnp.stack([
        self.param(name, named(normal, embed))[:size] for name in names])
    places = self.param('positions', named(
        normal, Axis('position', len(names) + slots), embed))[:, :size]
    if self.registers:
      registers = self.param('register_tokens', named(
          normal, Axis('position', self.registers), embed))[:, :size]
      front = jnp.concatenate([front + places[:len(names)], registers])
      x += places[len(names):].astype(x.dtype)
    front = jnp.broadcast_to(front, (batch, *front.shape)).astype(x.dtype)
    x = jnp.concatenate([front, x], 1)
    if not self.registers:
      x += places.astype(x.dtype)
    x = Dropout(self.dropout)(x, seed)
    return Tokens.start(x, self.lead, self.ats)


def _mean(patches, tokens, lead):
  """float[B, d], the mean of the patches float[B, n, d] that live."""
  if tokens.valid is None:
    return patches.mean(1)
  alive = tokens.valid[:, lead:, None].astype(patches.dtype)
  return (patches * alive).sum(1) / jnp.maximum(alive.sum(1), 1)
