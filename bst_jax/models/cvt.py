"""CvT: a transformer in stages, each on a coarser grid, its tokens sampled or not.

Reference: Wu et al., "CvT: Introducing Convolutions to Vision Transformers",
  ICCV 2021; Fayyaz et al., "Adaptive Token Sampling for Efficient Vision
  Transformers", ECCV 2022.
"""
from collections.abc import Mapping
import functools
from typing import Any

from bst_jax.elastic import Axis, check_name, FULL, Size, Submodel
from bst_jax.layers import batch_norm, cvt, heads, linear, looks, pixels
from bst_jax.layers.activations import gelu, quick_gelu
from bst_jax.layers.backbone import Staged
from bst_jax.layers.dropout import Dropout, seed_of
from bst_jax.layers.linear import named, TRUNCATED
from bst_jax.layers.sampler import Ats
from bst_jax.layers.stack import Stack
from bst_jax.layers.vit import layer_options, rising, Tokens
from flax import linen as nn
import jax
import jax.numpy as jnp

# Those that published models have.
ACTIVATIONS = {'quick_gelu': quick_gelu, 'gelu': gelu}


class Model(Staged):
  """Names what a picture shows.

  The sizes of every stage stand in tuples; those of CvT-13 are the defaults,
  and CvT-21 has (1, 4, 16) layers. One token, of the class, enters with the
  last stage; there are no places.

  A submodel narrows every stage by the same ratio and keeps the same share of
  each. The published models have stages of 1 head and of 1 layer, which nothing
  less than the whole fits: give stages more of them for smaller submodels.

  Attributes:
    num_answers: classes.
    image_size: side of the pictures, or height and width.
    width, heads, mlp, num_layers: of every stage; a submodel keeps a prefix of
      the first three.
    kernels, strides, paddings: of the convolution in front of every stage.
    key_strides: cells along a side of every stage's grid for one of its keys';
      2 if None.
    qkv_bias: whether queries, keys and values have biases, of all stages or of
      each.
    activation: of `ACTIVATIONS`: the official model's `quick_gelu`, or `gelu`,
      which Hugging Face's has.
    eps: of every layer normalisation.
    batch_stats: what training normalises by behind the convolutions of
      attention: the `stored` statistics, which then stay as they are and are
      to come from a checkpoint, or those of the `batch`, see `BatchNorm`.
    mean, std: that uint8 pictures are brought to.
    ats: an `Ats`, or its arguments, in the last stage: its `blocks` count from
      that stage's first layer. None samples nothing. Sampling has no
      parameters: the same ones serve any.
    dropped: what convolutions read at the cells of tokens that are gone, see
      `cvt.settled`.
    score_stride1: see `cvt.ConvAttention`.
    strategy, strategy_seed: which layers a depth keeps, see `elastic.Order`.
    dropout: of branches and of each stage's embedding.
    depth_dropout: chance to skip a branch in the last layer of the last stage;
      it grows from zero in that stage's first.
    remat: recompute layers in the backward pass, to save memory.

  Every sampling layer sows `count` and `overflow` int32[B] and `token_ids`
  int32[B, n], the cell of each token or -1, as `intermediates`.
  """

  num_answers: int
  image_size: int | tuple[int, int] = 224
  width: tuple[int, ...] = (64, 192, 384)
  heads: tuple[Size, ...] = (1, 3, 6)
  mlp: tuple[Size, ...] = (256, 768, 1536)
  num_layers: tuple[int, ...] = (1, 2, 10)
  kernels: tuple[int, ...] = (7, 3, 3)
  strides: tuple[int, ...] = (4, 2, 2)
  paddings: tuple[int, ...] = (2, 1, 1)
  activation: str = 'quick_gelu'
  eps: float = 1e-5
  mean: tuple[float, ...] = pixels.MEAN
  std: tuple[float, ...] = pixels.STD
  ats: Ats | Mapping[str, Any] | None = None
  dropped: str = 'stale'
  score_stride1: bool = False
  batch_stats: str | None = 'stored'
  strategy: str = 'middle'
  strategy_seed: int = 0
  dropout: float = 0.0
  depth_dropout: float = 0.0
  dtype: Any = jnp.float32
  remat: bool = False
  head_dim: tuple[Size | None, ...] | None = None
  key_strides: tuple[int, ...] | None = None
  qkv_bias: bool | tuple[bool, ...] = True

  def __post_init__(self):
    check_name(self.activation, ACTIVATIONS, 'activation')
    check_name(self.dropped, cvt.DROPPED, 'state of dropped cells')
    batch_norm.of(self.batch_stats)
    stages = len(self.width)
    # Written out, so that who reads a model finds one for every stage.
    for field, usual in (('key_strides', cvt.STRIDE), ('qkv_bias', True)):
      value = getattr(self, field)
      if not isinstance(value, tuple):
        value = (usual if value is None else value,) * stages
        object.__setattr__(self, field, value)
    self.check_stages('heads', 'mlp', 'num_layers', 'kernels', 'strides',
                      'paddings', 'key_strides', 'qkv_bias')
    ats = Ats.of(self.ats)
    for option in ('policy_eps', 'fill'):
      if getattr(ats, option):
        raise ValueError(
            f'ats.{option} is about keys that a mask hides, and CvT hides '
            'none: its keys are those of the whole grid. Leave it out.')
    if ats.blocks and self.key_strides[-1] > cvt.STRIDE:
      raise ValueError(
          f'key_strides of the last stage is {self.key_strides[-1]}, but tokens '
          'are sampled there by the scores of keys at most '
          f'{cvt.STRIDE} cells apart; set it to 1 or {cvt.STRIDE}, or leave ats '
          'out.')
    if self.score_stride1 and ats.attention == 'reference':
      raise ValueError(
          'score_stride1 has keys of its own for scores, and ats.attention '
          "'reference' none but the output's; set it to 'select_first'.")
    super().__post_init__()

  @property
  def sides(self) -> tuple[int, int]:
    """Height and width of the pictures."""
    return pixels.sides(self.image_size)

  @property
  def grids(self) -> tuple[tuple[int, int], ...]:
    """Height and width of every stage's grid."""
    return cvt.grids_of(self.sides, self.kernels, self.strides, self.paddings)

  @property
  def token_grid(self) -> tuple[int, int]:
    """Rows and columns of the last stage's cells."""
    return self.grids[-1]

  @property
  def slots(self) -> int:
    """Cells of the last stage."""
    return self.token_grid[0] * self.token_grid[1]

  @property
  def lead(self) -> int:
    """Tokens in front of the last stage's cells."""
    return 1

  def _lead(self, stage):
    """Tokens in front of the cells of a stage."""
    return int(stage == len(self.width) - 1)

  @property
  def sampled(self) -> str:
    """The last stage."""
    return f'stage_{len(self.width) - 1}'

  @nn.compact
  def __call__(self, batch: dict[str, jax.Array], *, sub: Submodel = FULL,
               train: bool = False) -> dict[str, jax.Array]:
    """Logits of the classes.

    Args:
      batch: image uint8[B, H, W, 3], or float, which is taken to have the
        model's mean and deviation already.
      sub: the part to run.
      train: dropout, which needs an rng named 'dropout'.

    Returns:
      classes float[B, A].
    """
    check_name('image', batch, 'key of the batch')
    seed = seed_of(self.make_rng('dropout')) if train else None
    norm = functools.partial(linear.LayerNorm, eps=self.eps)
    x = pixels.normalised(batch['image'], self.sides, self.mean, self.std)
    x, inp = x.astype(self.dtype), Axis('pixel', 3)
    for i, width in enumerate(self.width):
      embed = Axis('embed', width, f'stage_{i}')
      x = cvt.ConvEmbed(
          inp, embed, self.kernels[i], self.strides[i], self.paddings[i], norm,
          self.dtype, TRUNCATED['kernel_init'], name=f'embed_{i}')(x, sub=sub)
      x = self._stage(i, embed, norm, x, sub, seed)         # [B, h, w, d]
      inp = embed
    x = norm(embed, name='norm')(x, sub=sub)                # [B, d]
    return heads.classes(self, x, embed, sub=sub)

  def looked(self, sown: Mapping[str, Any],
             batch: Mapping[str, jax.Array]) -> jax.Array:
    """float[B, N], what the class token attends to in the last layer.

    Keys are every other cell of a row and of a column, or as `key_strides` says;
    the cells behind one have an equal share.
    """
    del batch
    stage = self.sampled
    shares = looks.of_first_token(
        sown, f'{stage}/layer_{self.stacks[stage].num_layers - 1}/attention',
        self.lead)
    rows, columns = self.token_grid
    stride = self.key_strides[-1]
    cells = shares.reshape(
        -1, *(cvt.strided(side, stride) for side in (rows, columns)))
    cells = cells.repeat(stride, 1).repeat(stride, 2)
    cells = cells[:, :rows, :columns].reshape(len(cells), -1)
    return cells / cells.sum(-1, keepdims=True)

  def _stage(self, i, embed, norm, x, sub, seed):
    """The grid that leaves a stage; the class's token, from the last."""
    lead, shape = self._lead(i), x.shape
    order = self.stacks[f'stage_{i}']
    layers = sub.layers(order)
    ats = self.ats if lead else Ats()
    x = Dropout(self.dropout, name=f'dropout_{i}')(
        x.reshape(shape[0], -1, shape[-1]), seed)           # [B, h w, d]
    rates, stages = len(layers) * [0.0], {}
    if lead:
      token = self.param('class_token', named(
          TRUNCATED['kernel_init'], embed))[:shape[-1]]
      token = jnp.broadcast_to(token, (shape[0], 1, shape[-1]))
      x = jnp.concatenate([token.astype(x.dtype), x], 1)
      rates = rising(self.depth_dropout, len(layers))
      stages = ats.stages(layers, self.slots, lead)
    layer = functools.partial(
        cvt.Layer, embed, Axis('heads', self.heads[i]),
        Axis('mlp', self.mlp[i]), norm, ACTIVATIONS[self.activation],
        grid=self.grids[i], lead=lead, dropped=self.dropped,
        score_stride1=self.score_stride1,
        batch_norm=batch_norm.of(self.batch_stats),
        head_dim=self.head_dim and self.head_dim[i],
        stride=self.key_strides[i], qkv_bias=self.qkv_bias[i], dropout=self.dropout,
        dtype=self.dtype, soft=ats.grad != 'hard', **TRUNCATED)
    x = Stack(layer, order, self.remat, layer_options(layers, rates, stages),
              name=f'stage_{i}')(
                  Tokens.start(x, lead, ats), sub=sub, seed=seed).x
    return x[:, 0] if lead else x.reshape(shape)
