"""TimeSformer: attention over time, then over space; sites sampled or not.

Reference: Bertasius et al., "Is Space-Time Attention All You Need for Video
  Understanding?", ICML 2021, the divided form; Fayyaz et al., "Adaptive Token
  Sampling for Efficient Vision Transformers", ECCV 2022.
Differs: the place of the sampling is ours, as the authors' is not public. A
  branch is skipped in training by whole clips, where the released code skips
  it for each site or frame.
"""
from collections.abc import Mapping
import functools
from typing import Any

from bst_jax.elastic import Axis, check_name, FULL, Size, Submodel
from bst_jax.layers import heads, linear, pixels, vit
from bst_jax.layers.activations import ACTIVATIONS
from bst_jax.layers.attention import Attention
from bst_jax.layers.blocks import FeedForward
from bst_jax.layers.clips import Clips
from bst_jax.layers.dropout import Dropout, seed_of
from bst_jax.layers.linear import Dense, named, TRUNCATED
from bst_jax.layers.sampler import Ats
from bst_jax.layers.stack import Stack
from bst_jax.layers.vit import layer_options, PatchEmbed, rising, Tokens
from flax import linen as nn
import jax
import jax.numpy as jnp

_zeros = nn.initializers.zeros


class Model(Clips):
  """Names what a clip shows.

  The published models are ViT-B over clips (frames, height, width) of
  (8, 224, 224), TimeSformer; (16, 448, 448), -HR; (96, 224, 224), -L.

  With `ats` the attention over space samples sites (places of patches), the
  same ones in all frames: the score of a site is the sum of those that it has
  in the frames. Time is attended to by the sites that are left, over all
  frames.

  Attributes:
    num_answers: classes.
    clip_size: frames, height and width of the clips.
    patch: side of a patch; it divides those of the frames.
    width, heads, mlp: of the transformer; a submodel keeps a prefix of each.
    head_dim: channels of a head; width / heads if None.
    num_layers: of the transformer.
    eps: of every normalisation.
    init_std: deviation of the random kernels of the layers; the published one
      is small for a small width, for which its inverse root is better.
    places_std: deviations of the random tables of sites and of frames. Frames
      begin without one as published: fine-tuning brings their order in slowly,
      and a small network trained from nothing may never find it.
    mean, std: that uint8 clips are brought to.
    ats: an `Ats`, or its arguments, whose tokens are sites; None samples
      nothing. Sampling has no parameters: the same ones serve any.
    share: what shares a selection of sites; the `clip`.
    strategy, strategy_seed: which layers a depth keeps, see `elastic.Order`.
    dropout: of branches and of the embedding.
    depth_dropout: chance to skip a branch in the last layer; it grows from
      zero in the first.
    remat: recompute layers in the backward pass, to save memory.
    activation: of `ACTIVATIONS`, between the layers of a feed-forward part.
    qkv_bias: whether queries, keys and values have biases.

  Every sampling layer sows `count` and `overflow` int32[B] and `token_ids`
  int32[B, n], the site of each token or -1, as `intermediates`.
  """

  num_answers: int
  clip_size: tuple[int, int, int] = (8, 224, 224)
  patch: int = 16
  width: int = 768
  heads: Size = 12
  mlp: Size = 3072
  num_layers: int = 12
  eps: float = 1e-6
  init_std: float = 0.02
  places_std: tuple[float, float] = (0.02, 0.0)
  mean: tuple[float, ...] = (0.45, 0.45, 0.45)
  std: tuple[float, ...] = (0.225, 0.225, 0.225)
  ats: Ats | Mapping[str, Any] | None = None
  share: str = 'clip'
  strategy: str = 'middle'
  strategy_seed: int = 0
  dropout: float = 0.0
  depth_dropout: float = 0.0
  dtype: Any = jnp.float32
  remat: bool = False
  head_dim: Size | None = None
  activation: str = 'gelu'
  qkv_bias: bool = True

  def __post_init__(self):
    check_name(self.activation, ACTIVATIONS, 'activation')
    if self.share != 'clip':
      raise ValueError(
          f'model timesformer cannot share a selection by {self.share!r}: time '
          'is attended to site by site, and sites that live in some frames '
          "alone would only be masked, which saves nothing. Set share='clip'; "
          'model xvit samples frames one by one.')
    super().__post_init__()

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
    layer = functools.partial(
        Layer, embed, Axis('heads', self.heads), Axis('mlp', self.mlp), norm,
        ACTIVATIONS[self.activation], qkv_bias=self.qkv_bias,
        head_dim=self.head_dim, dropout=self.dropout, dtype=self.dtype,
        policy_eps=self.ats.policy_eps, soft=self.ats.grad != 'hard',
        fill=self.ats.fill, bias_init=_zeros,
        kernel_init=nn.initializers.truncated_normal(self.init_std))
    order = self.stacks['encoder']
    layers = sub.layers(order)
    options = layer_options(
        layers, rising(self.depth_dropout, len(layers)),
        self.ats.stages(layers, self.slots, self.lead, self.frames))

    tokens = self._tokens(batch['clip'], embed, sub, seed)
    x = Stack(layer, order, self.remat, options, name='encoder')(
        tokens, sub=sub, seed=seed).x
    x = norm(embed, name='norm')(x[:, 0, 0], sub=sub)       # [B, d]
    return heads.classes(self, x, embed, sub=sub)

  def _tokens(self, clip, embed, sub, seed):
    """The class token and patches with their places in space and time."""
    clip = pixels.normalised(clip, self.clip_size, self.mean, self.std)
    batch = clip.shape[0]
    x = PatchEmbed(self.patch, embed, self.dtype, **TRUNCATED, name='patches')(
        clip.reshape(-1, *clip.shape[2:]).astype(self.dtype), sub=sub)
    size = x.shape[-1]
    normal = TRUNCATED['kernel_init']
    table = lambda name, init, *axes: self.param(
        name, named(init, *axes, embed))[..., :size].astype(x.dtype)
    site, frame = map(nn.initializers.truncated_normal, self.places_std)
    places = table('positions', site, Axis('position', 1 + self.slots))
    times = table('times', frame, Axis('position', self.frames))
    x = x.reshape(batch, self.frames, self.slots, size).swapaxes(1, 2)
    drop = lambda z: Dropout(self.dropout)(z, seed)
    x = drop(x + places[1:, None] + times)                  # [B, n, T, d]
    first = drop(jnp.broadcast_to(
        table('class_token', normal) + places[0], (batch, size)))
    return Tokens.start(_joined(first, x), self.lead, self.ats)


class Layer(vit.Layer):
  """Attention over time, over space, and feed-forward, each normalised before.

  Attributes as of `vit.Layer`. Tokens are float[B, 1 + n, T, d]: every frame
  holds the same copy of the class token, and sites live or go in all frames.
  """

  @nn.compact
  def __call__(self, tokens: Tokens, *, sub: Submodel = FULL,
               seed: jax.Array | None = None) -> Tokens:
    """Tokens of float[B, 1 + N, T, d] -> of float[B, 1 + n, T, d], n <= N."""
    part = dict(dtype=self.dtype, kernel_init=self.kernel_init,
                bias_init=self.bias_init)
    run = dict(sub=sub, seed=seed)
    attend = functools.partial(
        Attention, self.embed, self.heads, qkv_bias=self.qkv_bias,
        head_dim=self.head_dim, **part)
    norm = lambda name, x: self.norm(self.embed, name=name)(x, sub=sub)
    drop = lambda z: Dropout(self.dropout)(z, seed)
    skip = lambda z: Dropout(self.depth_dropout, whole=True)(z, seed)
    batch, _, time, size = tokens.x.shape

    # Over time, every site by itself; the class token has no part in it.
    first, x = tokens.x[:, 0, 0], tokens.x[:, 1:]
    h = norm('temporal_norm', x).reshape(-1, time, size)
    z = drop(attend(name='temporal_attention')(h, **run))
    z = Dense((self.embed,), (self.embed,), _zeros, _zeros, self.dtype,
              name='temporal_out')(z, sub=sub)
    tokens = tokens._replace(x=_joined(first, x + skip(z.reshape(x.shape))))

    # Over space, every frame by itself.
    rows = lambda z: None if z is None else jnp.repeat(z, time, 0)
    h = norm('norm1', tokens.x.swapaxes(1, 2).reshape(batch * time, -1, size))
    attention = attend(name='attention')
    valid = rows(tokens.valid)
    seen = dict(mask=valid, gate=rows(tokens.gate), gate_eps=self.policy_eps)
    if self.stage is None:
      z = attention(h, **seen, **run)
    else:
      select = lambda *args: self.stage(h, valid, *args[1:])
      z, picked = attention(h, **seen, select=select, **run)
      # Rows of a clip agree.
      picked = jax.tree.map(lambda s: s[::time], picked)
      tokens = self._sampled(tokens, picked)
    z = drop(z).reshape(batch, time, -1, size).swapaxes(1, 2)
    z = tokens.x + skip(_joined(z[:, 0].mean(1), z[:, 1:]))

    x = jnp.concatenate([z[:, 0, :1], z[:, 1:].reshape(batch, -1, size)], 1)
    z = FeedForward(self.embed, self.mlp, self.embed, self.activation,
                    self.dropout, **part, name='ffn')(norm('norm2', x), **run)
    x += skip(drop(z))                                      # [B, 1 + n T, d]
    x = _joined(x[:, 0], x[:, 1:].reshape(batch, -1, time, size))
    return tokens._replace(x=self._rest(x, tokens))


def _joined(first, x):
  """The class token float[B, d] in all frames of float[B, n, T, d]."""
  batch, _, time, size = x.shape
  first = jnp.broadcast_to(first[:, None, None], (batch, 1, time, size))
  return jnp.concatenate([first, x], 1)
