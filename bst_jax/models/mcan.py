"""MCAN with the adapters of BST: a question attends to itself, regions to both.

Reference: Yu et al., "Deep Modular Co-Attention Networks for Visual Question
  Answering", CVPR 2019; BST, arXiv 2203.12814 and its released code.
Differs: a raw picture may take the place of region features.
"""
from collections.abc import Callable, Mapping, Sequence
import functools
from typing import Any

from bst_jax.elastic import Axis, FULL, Order, Size, size_at, Submodel
from bst_jax.layers import linear, looks
from bst_jax.layers import tokens as tokens_lib
from bst_jax.layers.attention import Attention
from bst_jax.layers.backbone import Backbone
from bst_jax.layers.blocks import AttentionPool, EncoderLayer, FeedForward
from bst_jax.layers.dropout import Dropout, seed_of
from bst_jax.layers.heads import check_outputs, PairHead
from bst_jax.layers.linear import Dense, Embed, wide
from bst_jax.layers.recurrent import Lstm
from bst_jax.layers.stack import Stack
from bst_jax.layers.stem import cell_boxes, ConvStem
from bst_jax.layers.tokens import per_row
from flax import linen as nn
import jax
import jax.numpy as jnp

# The standard deviation is unbiased and eps is added to it, not to its square.
Norm = functools.partial(linear.LayerNorm, form='unbiased_std', eps=1e-6)


class DecoderLayer(nn.Module):
  """Self-attention, attention guided by the question, feed-forward."""

  embed: Axis
  heads: Axis
  mlp: Axis
  dropout: float
  dtype: Any
  out_init: Callable | None = None
  head_dim: Size | None = None

  @nn.compact
  def __call__(self, x, y, x_mask, y_mask, *, sub=FULL, seed=None):
    """float[B, N, d] and the question's float[B, M, d] -> float[B, N, d]."""
    part = dict(dropout=self.dropout, dtype=self.dtype, out_init=self.out_init)
    attention = functools.partial(
        Attention, self.embed, self.heads, head_dim=self.head_dim, **part)
    drop = lambda z: Dropout(self.dropout)(z, seed)
    run = dict(sub=sub, seed=seed)

    z = attention(name='self_attention')(x, mask=x_mask, **run)
    x = Norm(self.embed, name='norm1')(x + drop(z), sub=sub)
    z = attention(name='guided_attention')(x, y, mask=y_mask, **run)
    x = Norm(self.embed, name='norm2')(x + drop(z), sub=sub)
    z = FeedForward(self.embed, self.mlp, self.embed, **part, name='ffn')(
        x, **run)
    return Norm(self.embed, name='norm3')(x + drop(z), sub=sub)


class Model(Backbone):
  """Answers a question about regions of a picture, or about the picture.

  The stem of a raw picture is the same for every submodel. Compute it once and
  hand it on in the batch:

    shared = model.apply({'params': params}, batch, method='shared')
    outputs = model.apply({'params': params}, batch | shared, sub=sub)

  Attributes:
    vocab_size: words of the question vocabulary, padding (0) included.
    num_answers: classes; of the output `answers` alone.
    outputs: what it returns, of `heads.OUTPUTS`.
    feature_size: channels of a region's features, or of the stem's cells.
    width, heads, mlp: of both transformers; a submodel keeps a prefix of each.
    head_dim: channels of a head; width / heads if None.
    pool: hidden units of the attention pools; those of the width if None.
    fused: channels of the joint vector before the classifier.
    num_layers: of the encoder and of the decoder; {'': 6, 'decoder': 4} where
      they differ.
    strategy, strategy_seed: which layers a depth keeps, see `elastic.Order`.
    box_size: channels of an embedding of the boxes that joins the features
      (the GQA form, 2048 there); 0 leaves the boxes out.
    image_norm: normalise the adapted features (the VQA-v2 form).
    stem: channels of the convolutions that read a raw picture, each halving
      its sides; empty for region features.
    remat: recompute layers in the backward pass, to save memory.
    scan: compile a layer once for all of a stack, see `Stack`.
    identity_init: start every residual branch at zero, so that a new model is
      its shortest self and deep ones learn as fast as shallow ones (not in
      the original, which starts them at random).
  """

  vocab_size: int
  num_answers: int = 0
  feature_size: int = 2048
  width: int = 512
  heads: Size = 8
  mlp: Size = 2048
  fused: int = 1024
  num_layers: Size = 6
  word: int = 300
  recurrent: int = 512
  strategy: str = 'middle'
  strategy_seed: int = 0
  box_size: int = 0
  image_norm: bool = True
  stem: tuple[int, ...] = ()
  dropout: float = 0.1
  dtype: Any = jnp.float32
  remat: bool = False
  scan: bool = False
  identity_init: bool = False
  outputs: tuple[str, ...] = ('answers',)
  head_dim: Size | None = None
  pool: Size | None = None

  def __post_init__(self):
    # Its text is encoded without a look at the picture.
    check_outputs(self.outputs, self.num_answers, ('words',))
    super().__post_init__()

  @property
  def stacks(self) -> dict[str, Order]:
    """Layer stacks; a lone layer is the encoder's first, the decoder's last."""
    return {stack: Order(size_at(self.num_layers, stack), self.strategy, tie,
                         self.strategy_seed)
            for stack, tie in (('encoder', 'first'), ('decoder', 'last'))}

  def layer_fields(self, living: Mapping[str, Sequence[Any]]
                   ) -> dict[str, Any]:
    """The field that says how many layers are left of both stacks."""
    return {'num_layers': {'': len(living['encoder']),
                           'decoder': len(living['decoder'])}}

  def setup(self):
    if self.stem:
      self.pixels = ConvStem((*self.stem, self.feature_size), dtype=self.dtype,
                             name='stem')

  def shared(self, batch: dict[str, jax.Array],
             train: bool = False) -> dict[str, jax.Array]:
    """What every submodel reads alike, to be put into the batch.

    Args:
      batch: image uint8[P, H, W, 3], with a stem.
      train: as every model's; the stem is the same in training.

    Returns:
      grid float[P, h, w, F]; nothing of a model without a stem.
    """
    del train
    return {'grid': self.pixels(batch['image'])} if self.stem else {}

  @nn.compact
  def __call__(self, batch: dict[str, jax.Array], *, sub: Submodel = FULL,
               train: bool = False) -> dict[str, jax.Array]:
    """What a text says about a picture, or two.

    Args:
      batch: tokens int32[B, M], 0 = padding; regions float[P, N, F] with
        zero rows for padding (or, with a stem, image uint8[P, H, W, 3] or
        grid, what `shared` returned of it); boxes
        float[P, N, 4], x1 y1 x2 y2 in 0..1, if `box_size`. P divides B: the
        texts of one picture stand together; or P is 2B: the two pictures of
        one text do.
      sub: the part to run.
      train: dropout, which needs an rng named 'dropout'.

    Returns:
      By `outputs`: answers float[B, A], pair float[B, 2], of false and true,
      match float[B].
    """
    embed, heads = Axis('embed', self.width), Axis('heads', self.heads)
    mlp, fused = Axis('mlp', self.mlp), Axis('fused', self.fused)
    part = dict(dropout=self.dropout, dtype=self.dtype)
    seed = seed_of(self.make_rng('dropout')) if train else None
    run = dict(sub=sub, seed=seed)

    tokens = batch['tokens']
    y_mask = tokens != 0
    y = self._question(tokens, embed, sub)                  # [B, M, d]
    x, x_mask = self._picture(batch, embed, sub)            # [P, N, d]

    out_init = nn.initializers.zeros if self.identity_init else None
    layer = dict(embed=embed, heads=heads, mlp=mlp, out_init=out_init,
                 head_dim=self.head_dim, **part)
    stack = lambda name, cls: Stack(
        functools.partial(cls, **layer), self.stacks[name], self.remat,
        scan=self.scan, name=name)
    encoder = functools.partial(
        EncoderLayer, norm=Norm, hidden_dropout=self.dropout)
    y = stack('encoder', encoder)(y, y_mask, **run)
    rows = max(x.shape[0], y.shape[0])
    x, x_mask, y, y_mask = (per_row(z, rows) for z in (x, x_mask, y, y_mask))
    x = stack('decoder', DecoderLayer)(x, y, x_mask, y_mask, **run)

    pool = lambda name: AttentionPool(
        embed, Axis('pool', self.pool or self.width), fused, **part, name=name)
    z = (pool('question_pool')(y, y_mask, **run)
         + pool('image_pool')(x, x_mask, **run))            # [B, fused]
    z = Norm(fused, name='norm')(z, sub=sub)
    return {name: wide(self._output(name, z, fused, sub))
            for name in self.outputs}

  def looked(self, sown: Mapping[str, Any],
             batch: Mapping[str, jax.Array]) -> jax.Array:
    """float[B, N], the weights by which regions or cells are pooled."""
    del batch
    return looks.probabilities(sown, 'image_pool')

  def _output(self, name, z, fused, sub):
    """One of `outputs` from float[rows, fused]."""
    if name == 'pair':
      return PairHead(fused, fused, dtype=self.dtype, name='pair_head')(
          z, sub=sub)
    linear = lambda name, out: Dense((fused,), (out,), dtype=self.dtype,
                                     name=name)(z, sub=sub)
    if name == 'match':
      return linear('match_head', Axis('score', 1))[..., 0]
    return linear('classifier', Axis('answers', self.num_answers))

  def _question(self, tokens, embed, sub):
    """int32[B, M] -> float[B, M, d]: words, LSTM, adapter."""
    word = Axis('word', self.word)
    y = Embed(Axis('vocab', self.vocab_size), word, name='words')(tokens)
    y = Lstm(word, self.recurrent, self.dtype, name='lstm')(y)
    y = Dense((Axis('recurrent', self.recurrent),), (embed,), dtype=self.dtype,
              name='question_adapter')(y, sub=sub)
    return Norm(embed, name='question_norm')(y, sub=sub)

  def _picture(self, batch, embed, sub):
    """Regions or raw picture -> float[P, N, d] and bool[P, N]."""
    if self.stem:
      if 'grid' not in batch:
        batch = self.shared(batch)
      x = batch['grid']                                     # [P, h, w, F]
      boxes = cell_boxes(x.shape)
      x = x.reshape(x.shape[0], -1, x.shape[-1])            # [P, h * w, F]
      mask = jnp.ones(x.shape[:2], bool)
    else:
      x = batch['regions'].astype(self.dtype)
      mask = tokens_lib.nonzero_rows(x)
      boxes = batch['boxes'] if self.box_size else None

    feat = Axis('feat', self.feature_size)
    if self.box_size:
      sides = boxes[..., 2:] - boxes[..., :2]
      boxes = jnp.concatenate([boxes, sides.prod(-1, keepdims=True)], -1)
      boxes = Dense((Axis('box', 5),), (Axis('feat', self.box_size),),
                    dtype=self.dtype, name='box_adapter')(boxes)
      x = jnp.concatenate([x, boxes], -1)                   # [P, N, F + box]
      feat = Axis('feat', self.feature_size + self.box_size)
    x = Dense((feat,), (embed,), dtype=self.dtype, name='image_adapter')(
        x, sub=sub)
    if self.image_norm:
      x = Norm(embed, name='image_norm')(x, sub=sub)
    return x, mask
