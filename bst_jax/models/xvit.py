"""X-ViT: frames that see the next and the last one; tokens sampled or not.

Reference: Bulat et al., "Space-time Mixing Attention for Video Transformer",
  NeurIPS 2021; Fayyaz et al., "Adaptive Token Sampling for Efficient Vision
  Transformers", ECCV 2022.
Differs: the sharing of selections among frames is ours, as the authors' is not
  public. A submodel shifts the same share of its own channels.
"""
from collections.abc import Mapping
import functools
from typing import Any

from bst_jax.elastic import Axis, check_name, FULL, Size, Sizes, Submodel
from bst_jax.layers import features, linear, pixels
from bst_jax.layers.activations import gelu
from bst_jax.layers.blocks import FeedForward
from bst_jax.layers.clips import Clips
from bst_jax.layers.dropout import Dropout, seed_of
from bst_jax.layers.linear import named, TRUNCATED, wide
from bst_jax.layers.sampler import Ats
from bst_jax.layers.stack import Stack
from bst_jax.layers.temporal_shift import shift
from bst_jax.layers.vit import (
  Layer,
  layer_options,
  PatchEmbed,
  rising,
  Tokens,
)
from flax import linen as nn
import jax
import jax.numpy as jnp

SHARES = ('group', 'frame')
# The attention of the layer over the frames.
_TEMPORAL = 'temporal/attention'


class Model(Clips):
  """Names what a clip shows.

  A vision transformer runs on every frame, whose keys and values come in part
  from the frames beside it; a layer over the frames' class tokens joins them.
  The published model is ViT-B/16 over 16 frames in two segments.

  Attributes:
    num_answers: classes.
    clip_size: frames, height and width of the clips.
    patch: side of a patch; it divides those of the frames.
    segment: frames that see one another in the transformer; it divides their
      number.
    shift: one in so many channels of keys and values, of those that a submodel
      has, comes from the next frame, and as many from the one before.
    width, heads, mlp: of the transformer and of the layer over the frames; a
      submodel keeps a prefix of each.
    head_dim: channels of a head; width / heads if None.
    num_layers: of the transformer.
    fused: hidden units of the classifier behind the layer over the frames; a
      submodel keeps a prefix.
    eps: of every normalisation of the transformer.
    init_std: deviation of the random kernels of the layers; the published one
      is small for a small width, for which its inverse root is better.
    head_eps: of those of the layer over the frames and behind it.
    head_bias: whether that layer's queries, keys and values have biases.
    mean, std: that uint8 clips are brought to.
    ats: an `Ats`, or its arguments; None samples nothing. Sampling has no
      parameters: the same ones serve any.
    share: what shares a selection of patches: `group`, the frames of a segment,
      by the sum of their scores; `frame`, each for itself, where channels of
      a patch that does not live in the frame beside are zero.
    strategy, strategy_seed: which layers a depth keeps, see `elastic.Order`.
    dropout: of branches, of the embedding and of the classifier.
    depth_dropout: chance of a frame to skip a branch in the last layer; it
      grows from zero in the first.
    remat: recompute layers in the backward pass, to save memory.
    temporal_heads: of the layer over the frames; those of the transformer if
      None. It becomes an exception of `heads`.

  Every sampling layer sows `count` and `overflow` int32[B, T] and `token_ids`
  int32[B, T, n], the patch of each token or -1, as `intermediates`.
  """

  num_answers: int
  clip_size: tuple[int, int, int] = (16, 224, 224)
  patch: int = 16
  segment: int = 8
  shift: int = 8
  width: int = 768
  heads: Size = 12
  mlp: Size = 3072
  num_layers: int = 12
  fused: Size = 768
  eps: float = 1e-6
  init_std: float = 0.02
  head_eps: float = 1e-5
  head_bias: bool = False
  mean: tuple[float, ...] = (0.5, 0.5, 0.5)
  std: tuple[float, ...] = (0.5, 0.5, 0.5)
  ats: Ats | Mapping[str, Any] | None = None
  share: str = 'group'
  strategy: str = 'middle'
  strategy_seed: int = 0
  dropout: float = 0.0
  depth_dropout: float = 0.0
  dtype: Any = jnp.float32
  remat: bool = False
  head_dim: Size | None = None
  temporal_heads: int | None = None

  def __post_init__(self):
    if self.temporal_heads is not None:
      self._set_temporal_heads()
    check_name(self.share, SHARES, 'sharing of selections')
    if self.segment < 1 or self.frames % self.segment:
      raise ValueError(
          f'{self.frames} frames do not split into segments of {self.segment}; '
          'choose a clip_size whose frames are a multiple, or a segment that '
          'divides them.')
    if self.shift < 2:
      raise ValueError(f'shift {self.shift} would move more channels than '
                       'there are; choose 2 (all of them) or more.')
    super().__post_init__()

  def _set_temporal_heads(self):
    """Writes them into `heads`, whose exceptions submodels keep."""
    size = Sizes.of(self.heads)
    given = size.to_dict() if isinstance(size, Sizes) else {'': size}
    if self.temporal_heads < 1 or self.width % self.temporal_heads:
      raise ValueError(
          f'temporal_heads {self.temporal_heads} do not share {self.width} '
          'channels evenly; choose a divisor of the width.')
    object.__setattr__(self, 'heads', Sizes.of(
        given | {_TEMPORAL: self.temporal_heads}))
    if self.head_dim is not None:
      size = Sizes.of(self.head_dim)
      given = size.to_dict() if isinstance(size, Sizes) else {'': size}
      object.__setattr__(self, 'head_dim', Sizes.of(
          given | {_TEMPORAL: self.width // self.temporal_heads}))
    object.__setattr__(self, 'temporal_heads', None)

  @nn.compact
  def __call__(self, batch: dict[str, jax.Array], *, sub: Submodel = FULL,
               train: bool = False) -> dict[str, jax.Array]:
    """Logits of the classes.

    Args:
      batch: clip uint8[B, T, H, W, 3], or float, which is taken to have the
        model's mean and deviation already.
      sub: the part to run.
      train: dropout, which needs an rng named 'dropout'.

    Returns:
      classes float[B, A].
    """
    check_name('clip', batch, 'key of the batch')
    embed = Axis('embed', self.width)
    seed = seed_of(self.make_rng('dropout')) if train else None
    norm = functools.partial(linear.LayerNorm, eps=self.eps)
    head_norm = functools.partial(linear.LayerNorm, eps=self.head_eps)
    part = dict(dropout=self.dropout, dtype=self.dtype)
    drawn = TRUNCATED | dict(
        kernel_init=nn.initializers.truncated_normal(self.init_std))
    axes = embed, Axis('heads', self.heads), Axis('mlp', self.mlp)
    mix = functools.partial(
        _mixed, segment=self.segment, share=self.shift,
        slots=self.slots if self.share == 'frame' else None)
    layer = functools.partial(
        Layer, *axes, norm, gelu, policy_eps=self.ats.policy_eps,
        soft=self.ats.grad != 'hard', fill=self.ats.fill, frames=self.frames,
        mix=mix, head_dim=self.head_dim, **part, **drawn)
    order = self.stacks['encoder']
    layers = sub.layers(order)
    options = layer_options(
        layers, rising(self.depth_dropout, len(layers)), self.ats.stages(
            layers, self.slots, self.lead,
            self.segment if self.share == 'group' else 1))

    tokens = self._tokens(batch['clip'], embed, sub, seed)
    x = Stack(layer, order, self.remat, options, name='encoder')(
        tokens, sub=sub, seed=seed).x[:, 0]
    x = norm(embed, name='norm')(
        x.reshape(-1, self.frames, x.shape[-1]), sub=sub)   # [B, T, d]

    first = self.param('temporal_token', named(TRUNCATED['kernel_init'], embed))
    first = jnp.broadcast_to(first[:x.shape[-1]], (x.shape[0], 1, x.shape[-1]))
    x = Layer(*axes, head_norm, gelu, qkv_bias=self.head_bias,
              head_dim=self.head_dim, **part, **drawn, name='temporal')(
        Tokens(jnp.concatenate([first.astype(x.dtype), x], 1)),
        sub=sub, seed=seed).x
    x = head_norm(embed, name='head_norm')(x[:, 0], sub=sub)  # [B, d]
    features.sow(self, x)
    logits = FeedForward(
        embed, Axis('fused', self.fused), Axis('answers', self.num_answers),
        gelu, **part, **TRUNCATED, name='head')(x, sub=sub, seed=seed)
    return {'classes': wide(logits)}                        # [B, A]

  def _tokens(self, clip, embed, sub, seed):
    """Class tokens and patches of frames, with their places."""
    clip = pixels.normalised(clip, self.clip_size, self.mean, self.std)
    x = PatchEmbed(self.patch, embed, self.dtype, **TRUNCATED, name='patches')(
        clip.reshape(-1, *clip.shape[2:]).astype(self.dtype), sub=sub)
    rows, _, size = x.shape
    normal = TRUNCATED['kernel_init']
    table = lambda name, init, *axes: self.param(
        name, named(init, *axes, embed))[..., :size].astype(x.dtype)
    first = jnp.broadcast_to(table('class_token', normal), (rows, 1, size))
    x = jnp.concatenate([first, x], 1) + table(
        'positions', normal, Axis('position', self.lead + self.slots))
    times = table('times', nn.initializers.zeros,
                  Axis('position', self.segment))
    x = x.reshape(-1, self.segment, *x.shape[1:]) + times[:, None]
    x = Dropout(self.dropout)(x.reshape(rows, -1, size), seed)
    return Tokens.start(x, self.lead, self.ats)             # [B T, 1 + n, d]


def _mixed(x, tokens, segment, share, slots):
  """Keys or values with channels of the frames beside; see `shift`.

  `slots` is None where frames of a segment always hold the same patches. Else
  they do until one of them drops some.
  """
  if slots is None or tokens.valid is None:
    return shift(x, segment, share)
  return shift(x, segment, share, ids=tokens.ids, slots=slots)
