"""CLIP-ViL-p: a question and the grid of CLIP's ResNet in one transformer.

Reference: Shen et al., "How Much Can CLIP Benefit Vision-and-Language Tasks?",
  ICLR 2022; slicing as BST (arXiv 2203.12814) does in MCAN, whose authors
  released no CLIP-ViL variant.
Differs: batch statistics of the trunk are those of the checkpoint, in training
  too; the unused branch for boxes is left out. Row 0 of the word, position and
  type tables learns, which the original declares a padding index.
"""
import functools
from typing import Any

from bst_jax.elastic import Axis, check_name, FULL, Order, Submodel
from bst_jax.layers import bert, clip_resnet
from bst_jax.layers.dropout import Dropout, seed_of
from bst_jax.layers.stack import narrowed, Stack
from bst_jax.layers.tokens import per_question
from flax import linen as nn
import jax
import jax.numpy as jnp


class Model(nn.Module):
  """Answers a question about a picture.

  The trunk is the same for every submodel and dearer than all the rest. Compute
  it once and hand it on in the batch:

    shared = model.apply({'params': params}, batch, method='shared')
    logits = model.apply({'params': params}, batch | shared, sub=sub)

  Attributes:
    vocab_size: word pieces, padding (0) included.
    num_answers: classes.
    width, heads, mlp: of the transformer; a submodel keeps a prefix of each.
    fused: hidden units of the answer head.
    num_layers: of the transformer.
    max_positions: tokens of the longest question.
    grid_positions: rows, and columns, of the largest grid.
    visual_blocks, visual_width: of the trunk, see `clip_resnet.ClipResNet`.
    train_visual: whether the trunk learns; if not, no gradients enter it and
      optimisers leave it alone, see `frozen_parts`.
    embed_mode: `slice`: a submodel keeps a prefix of the embeddings' channels,
      so that trained weights are the full model; `adapter`: embeddings stay
      whole and a linear layer and a normalisation a modality follow them, as in
      MCAN with BST.
    word: channels of the embeddings in mode `adapter`.
    strategy, strategy_seed: which layers a depth keeps, see `elastic.Order`.
    remat: recompute layers in the backward pass, to save memory.
    identity_init: start every residual branch at zero, see `mcan.Model`.
  """

  vocab_size: int
  num_answers: int
  width: int = 768
  heads: int = 12
  mlp: int = 3072
  fused: int = 1536
  num_layers: int = 12
  max_positions: int = 512
  grid_positions: int = 25
  visual_blocks: tuple[int, ...] = clip_resnet.BLOCKS
  visual_width: int = clip_resnet.WIDTH
  train_visual: bool = True
  embed_mode: str = 'slice'
  word: int = 768
  strategy: str = 'middle'
  strategy_seed: int = 0
  dropout: float = 0.1
  dtype: Any = jnp.float32
  remat: bool = False
  identity_init: bool = False

  def __post_init__(self):
    check_name(self.embed_mode, bert.EMBED_MODES, 'embed_mode')
    super().__post_init__()

  @property
  def stacks(self) -> dict[str, Order]:
    """The one layer stack."""
    return {'encoder': Order(self.num_layers, self.strategy,
                             seed=self.strategy_seed)}

  @property
  def frozen_parts(self) -> tuple[str, ...]:
    """Prefixes of the parameters that no optimiser may move."""
    return () if self.train_visual else ('visual',)

  def at(self, sub: Submodel) -> 'Model':
    """The ordinary smaller model that `sub` is."""
    return narrowed(self, sub)

  def setup(self):
    self.visual = clip_resnet.ClipResNet(
        self.visual_blocks, self.visual_width, self.dtype)

  def shared(self, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """What every submodel reads alike, to be put into the batch.

    Args:
      batch: image uint8[P, H, W, 3], or float, see `clip_resnet.normalise`.

    Returns:
      grid float[P, h, w, F], one cell for every 32 x 32 pixels.
    """
    check_name('image', batch, 'key of the batch')
    grid = self.visual(batch['image'])
    return {'grid': grid if self.train_visual else jax.lax.stop_gradient(grid)}

  @nn.compact
  def __call__(self, batch: dict[str, jax.Array], *, sub: Submodel = FULL,
               train: bool = False) -> jax.Array:
    """Logits of the answers.

    Args:
      batch: tokens int32[B, M], word pieces of [CLS] question [SEP], 0 =
        padding; image as `shared` takes it, or grid, what `shared` returned. P
        divides B: the questions of one picture stand together.
      sub: the part to run.
      train: dropout, which needs an rng named 'dropout'.

    Returns:
      float[B, A].
    """
    check_name('tokens', batch, 'key of the batch')
    embed = Axis('embed', self.width)
    # The axis of the embeddings: its name decides whether they narrow.
    inner = embed if self.embed_mode == 'slice' else Axis('word', self.word)
    part = dict(dropout=self.dropout, dtype=self.dtype)
    seed = seed_of(self.make_rng('dropout')) if train else None
    run = dict(sub=sub, seed=seed)

    tokens = batch['tokens']
    grid = batch['grid'] if 'grid' in batch else self.shared(batch)['grid']
    kinds = bert.Table(Axis('type', 2), inner, name='types')(
        jnp.arange(2), sub=sub)                             # [2, d]
    text = bert.TextEmbedding(
        Axis('vocab', self.vocab_size), Axis('position', self.max_positions),
        inner, **part, name='text')(tokens, kinds[0], **run)
    image = self._cells(grid, inner, sub, seed)             # [P, h * w, d]
    if self.embed_mode == 'adapter':
      adapt = lambda name, x: bert.Adapter(
          inner, embed, self.dtype, name=name)(x, sub=sub)
      text, image = adapt('text_adapter', text), adapt('image_adapter', image)

    image = per_question(image, tokens.shape[0])
    x = jnp.concatenate([text, image], 1)                   # [B, M + h * w, d]
    mask = jnp.concatenate(
        [tokens != 0, jnp.ones(image.shape[:2], bool)], 1)
    out_init = nn.initializers.zeros if self.identity_init else None
    layer = functools.partial(
        bert.Layer, embed, Axis('heads', self.heads), Axis('mlp', self.mlp),
        out_init=out_init, **part)
    x = Stack(layer, self.stacks['encoder'], self.remat, name='encoder')(
        x, mask, **run)

    pooled = bert.Linear(
        (embed,), (embed,), dtype=self.dtype, name='pooler')(x[:, 0], sub=sub)
    logits = bert.AnswerHead(
        embed, Axis('fused', self.fused), Axis('answers', self.num_answers),
        self.dtype, name='head')(pooled, sub=sub)
    return logits.astype(jnp.float32)                       # [B, A]

  def _cells(self, grid, out, sub, seed):
    """Adds places to the cells' features -> float[P, h * w, d]."""
    pictures, height, width, size = grid.shape
    if max(height, width) > self.grid_positions:
      raise ValueError(
          f'the grid has {height} x {width} cells, but the model knows only '
          f'{self.grid_positions} rows and columns; use smaller pictures or '
          'raise grid_positions of the model.')
    feat = Axis('feat', self.visual.features)
    table = lambda name: bert.Table(
        Axis('position', self.grid_positions), feat, name=name)
    x = (grid + table('rows')(jnp.arange(height))[:, None]
         + table('columns')(jnp.arange(width)))
    x = bert.Linear((feat,), (out,), dtype=self.dtype, name='feature')(
        x.reshape(pictures, height * width, size), sub=sub)
    x = bert.Norm(out, name='image_norm')(x, sub=sub)
    return Dropout(self.dropout)(x, seed)
