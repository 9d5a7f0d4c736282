"""UNITER for questions about pictures: text and regions in one transformer.

Reference: Chen et al., "UNITER: UNiversal Image-TExt Representation Learning",
  ECCV 2020; slicing as BST (arXiv 2203.12814) does in MCAN, whose authors
  released no UNITER variant.
Differs: text and regions stand side by side, each with its padding. The
  original moves all padding to the end, which permutes masked keys and so
  changes nothing at the first token; its mask adds -10000 where ours excludes.
  The embedding of masked regions is left out: pre-training alone uses it.
"""
import functools
from typing import Any

from bst_jax.elastic import Axis, check_name, FULL, Order, Submodel
from bst_jax.layers import bert
from bst_jax.layers.dropout import Dropout, seed_of
from bst_jax.layers.stack import narrowed, Stack
from bst_jax.layers.tokens import nonzero_rows, per_question
from flax import linen as nn
import jax
import jax.numpy as jnp


class Model(nn.Module):
  """Answers a question about regions of a picture.

  Attributes:
    vocab_size: word pieces, padding (0) included.
    num_answers: classes.
    feature_size: channels of a region's features.
    width, heads, mlp: of the transformer; a submodel keeps a prefix of each.
    fused: hidden units of the answer head.
    num_layers: of the transformer.
    max_positions: tokens of the longest question.
    embed_mode: `slice`: a submodel keeps a prefix of the embeddings' channels,
      so that trained UNITER weights are the full model; `adapter`: embeddings
      stay whole and a linear layer and a normalisation a modality follow them,
      as in MCAN with BST.
    word: channels of the embeddings in mode `adapter`.
    strategy, strategy_seed: which layers a depth keeps, see `elastic.Order`.
    remat: recompute layers in the backward pass, to save memory.
    identity_init: start every residual branch at zero, see `mcan.Model`.
  """

  vocab_size: int
  num_answers: int
  feature_size: int = 2048
  width: int = 768
  heads: int = 12
  mlp: int = 3072
  fused: int = 1536
  num_layers: int = 12
  max_positions: int = 512
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

  def at(self, sub: Submodel) -> 'Model':
    """The ordinary smaller model that `sub` is."""
    return narrowed(self, sub)

  @nn.compact
  def __call__(self, batch: dict[str, jax.Array], *, sub: Submodel = FULL,
               train: bool = False) -> jax.Array:
    """Logits of the answers.

    Args:
      batch: tokens int32[B, M], word pieces of [CLS] question [SEP], 0 =
        padding; regions float[P, N, F] with zero rows for padding; boxes
        float[P, N, 4], x1 y1 x2 y2 in 0..1. P divides B: the questions of one
        picture stand together.
      sub: the part to run.
      train: dropout, which needs an rng named 'dropout'.

    Returns:
      float[B, A].
    """
    for key in ('tokens', 'regions', 'boxes'):
      check_name(key, batch, 'key of the batch')
    embed = Axis('embed', self.width)
    # The axis of the embeddings: its name decides whether they narrow.
    inner = embed if self.embed_mode == 'slice' else Axis('word', self.word)
    part = dict(dropout=self.dropout, dtype=self.dtype)
    seed = seed_of(self.make_rng('dropout')) if train else None
    run = dict(sub=sub, seed=seed)

    tokens, regions = batch['tokens'], batch['regions']
    if regions.shape[-1] != self.feature_size:
      raise ValueError(
          f'regions of the batch have {regions.shape[-1]} features, the model '
          f'reads {self.feature_size}; set feature_size of the model.')
    kinds = bert.Table(Axis('type', 2), inner, name='types')(
        jnp.arange(2), sub=sub)                             # [2, d]
    text = bert.TextEmbedding(
        Axis('vocab', self.vocab_size), Axis('position', self.max_positions),
        inner, **part, name='text')(tokens, kinds[0], **run)
    image = self._regions(regions.astype(self.dtype), batch['boxes'], kinds[1],
                          inner, sub, seed)                 # [P, N, d]
    if self.embed_mode == 'adapter':
      adapt = lambda name, x: bert.Adapter(
          inner, embed, self.dtype, name=name)(x, sub=sub)
      text, image = adapt('text_adapter', text), adapt('image_adapter', image)

    image, image_mask = (per_question(z, tokens.shape[0])
                         for z in (image, nonzero_rows(regions)))
    x = jnp.concatenate([text, image], 1)                   # [B, M + N, d]
    mask = jnp.concatenate([tokens != 0, image_mask], 1)
    out_init = nn.initializers.zeros if self.identity_init else None
    layer = functools.partial(
        bert.Layer, embed, Axis('heads', self.heads), Axis('mlp', self.mlp),
        out_init=out_init, **part)
    x = Stack(layer, self.stacks['encoder'], self.remat, name='encoder')(
        x, mask, **run)

    pooled = jnp.tanh(bert.Linear(
        (embed,), (embed,), dtype=self.dtype, name='pooler')(x[:, 0], sub=sub))
    logits = bert.AnswerHead(
        embed, Axis('fused', self.fused), Axis('answers', self.num_answers),
        self.dtype, name='head')(pooled, sub=sub)
    return logits.astype(jnp.float32)                       # [B, A]

  def _regions(self, regions, boxes, kind, out, sub, seed):
    """Features and boxes of regions -> float[P, N, d]."""
    sides = boxes[..., 2:] - boxes[..., :2]
    boxes = jnp.concatenate([boxes, sides, sides.prod(-1, keepdims=True)], -1)

    def embed(name, x, axis):
      x = bert.Linear((axis,), (out,), dtype=self.dtype, name=name)(x, sub=sub)
      return bert.Norm(out, name=f'{name}_norm')(x, sub=sub)

    x = (embed('feature', regions, Axis('feat', self.feature_size))
         + embed('box', boxes, Axis('box', 7)) + kind)
    x = bert.Norm(out, name='image_norm')(x, sub=sub)
    return Dropout(self.dropout)(x.astype(self.dtype), seed)
