"""MiniVLM's fusion transformer: a text, tags and regions in one stream.

Reference: Wang et al., "MiniVLM: A Smaller and Faster Vision-Language Model",
  arXiv 2012.06946; the layers are those of MiniLM (Wang et al., "MiniLM: Deep
  Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained
  Transformers", NeurIPS 2020), the stream that of OSCAR (Li et al., "Oscar:
  Object-Semantics Aligned Pre-training for Vision-Language Tasks", ECCV 2020).
  Widths and depths as BST (arXiv 2203.12814) has them in MCAN, adapters and
  what may be skipped as DAS (Wu et al., NeurIPS 2023).
Differs: masks exclude, where the original adds -10000; the score of a match is
  one number, the difference of the two that are computed.
"""
from collections.abc import Mapping
import functools
import math
from typing import Any

from bst_jax.elastic import Axis, check_name, FULL, Size, Submodel
from bst_jax.layers import bert, cached, linear, looks, tokens
from bst_jax.layers import tags as tags_lib
from bst_jax.layers.adapters import SkipAdapter
from bst_jax.layers.backbone import Backbone
from bst_jax.layers.dropout import Dropout, seed_of
from bst_jax.layers.heads import check_outputs, PairHead, WordsHead
from bst_jax.layers.linear import wide
from bst_jax.layers.stack import Stack
from flax import linen as nn
import jax
import jax.numpy as jnp

# Who sees whom: `both`, every token sees all; `caption`, a word of the text
# sees the words before it, tags and regions, which never see the text.
MASKS = ('both', 'caption')
# Published transformers, by name.
SIZES = {
    'minilm_l12_h384': dict(width=384, heads=12, mlp=1536, num_layers=12,
                            feature_size=1024),
    'oscar_base': dict(width=768, heads=12, mlp=3072, num_layers=12,
                       fused=2304, feature_size=2048, image_norm=False)}
_CORNERS_AND_SIDES = 6
_PRIOR = 0.01  # The probability of every answer before training.
_NORM = functools.partial(linear.LayerNorm, eps=1e-5)


def sizes(name: str) -> dict[str, Any]:
  """Arguments of a published transformer.

  Args:
    name: `minilm_l12_h384`, MiniVLM's, or `oscar_base`, its large counterpart.

  Raises:
    ValueError: there is no such size.
  """
  check_name(name, SIZES, 'size of MiniVLM')
  return dict(SIZES[name])


class Model(Backbone):
  """What a text and tags say about regions of a picture.

  Attributes:
    vocab_size: word pieces, padding (0) included.
    num_answers: classes; of the output `answers` alone.
    outputs: what it returns, of `heads.OUTPUTS`.
    feature_size: channels of a region's features, without its box.
    mask: who sees whom, one of `MASKS`.
    tag_start: place of the first tag, the same for any text that is no longer;
      None: tags follow the last word of their text.
    tied: words that come out are scored by the table of those that go in.
    image_norm: regions are normalised when they are embedded, and the hidden
      units of the output `pair`.
    width, heads, mlp: of the transformer; a submodel keeps a prefix of each.
    head_dim: channels of a head; width / heads if None.
    num_layers: of the transformer.
    fused: hidden units of the output `pair`.
    max_positions: places of words and tags.
    adapter: hidden units of what may run instead of a layer; 0 for no such.
    skip: paths of the layers that are skipped, as 'encoder/layer_1'; None: all
      layers have adapters, and `flags` decides, see `candidates`.
    strategy, strategy_seed: which layers a depth keeps, see `elastic.Order`.
    dropout: of embeddings, of attentions' weights, of branches and of the
      pooled token.
    remat: recompute layers in the backward pass, to save memory.
    scan: compile a layer once for all of the stack, see `Stack`.
    init_std, identity_init: see `SingleStream`.
  """

  vocab_size: int = 30522
  num_answers: int = 0
  outputs: tuple[str, ...] = ('answers',)
  feature_size: int = 1024
  mask: str = 'both'
  tag_start: int | None = 20
  tied: bool = True
  image_norm: bool = True
  width: int = 384
  heads: Size = 12
  mlp: Size = 1536
  num_layers: int = 12
  fused: int = 1152
  max_positions: int = 512
  strategy: str = 'middle'
  strategy_seed: int = 0
  dropout: float = 0.1
  dtype: Any = jnp.float32
  remat: bool = False
  scan: bool = False
  init_std: float = 0.02
  identity_init: bool = False
  head_dim: Size | None = None
  adapter: Size = 0
  skip: tuple[str, ...] | None = ()

  def __post_init__(self):
    check_name(self.mask, MASKS, 'mask of MiniVLM')
    check_outputs(self.outputs, self.num_answers)
    super().__post_init__()

  def setup(self):
    embed, init = Axis('embed', self.width), nn.initializers.normal(
        self.init_std)
    vocab = Axis('vocab', self.vocab_size)
    dense = functools.partial(
        bert.Linear, kernel_init=init, dtype=self.dtype)
    self.types = bert.Table(Axis('type', 2), embed, init=init)
    self.text = bert.TextEmbedding(
        vocab, Axis('position', self.max_positions), embed, self.dropout,
        self.dtype, init)
    self.feature = dense(
        (Axis('feat', self.feature_size + _CORNERS_AND_SIDES),), (embed,))
    if self.image_norm:
      self.feature_norm = _NORM(embed)
    self.image_dropout = Dropout(self.dropout)
    layer = functools.partial(
        bert.Layer, embed, Axis('heads', self.heads), Axis('mlp', self.mlp),
        head_dim=self.head_dim, kernel_init=init, dropout=self.dropout,
        dtype=self.dtype,
        out_init=nn.initializers.zeros if self.identity_init else None)
    self.encoder = Stack(layer, self.stacks['encoder'], self.remat,
                         scan=self.scan,
                         **self.skips('encoder', SkipAdapter, embed))
    self.pooler = dense((embed,), (embed,))
    self.pooled_dropout = Dropout(self.dropout)
    if 'words' in self.outputs:
      self.words_head = WordsHead(embed, vocab, self.dtype, init)
    if 'match' in self.outputs:
      self.match_head = dense((embed,), (Axis('score', 2),))
    if 'pair' in self.outputs:
      self.pair_head = PairHead(
          embed, Axis('fused', self.fused), nn.relu, self.dtype, init,
          nn.initializers.zeros, _NORM if self.image_norm else None)
    if 'answers' in self.outputs:
      self.head = dense(
          (embed,), (Axis('answers', self.num_answers),),
          bias_init=nn.initializers.constant(-math.log(1 / _PRIOR - 1)))

  def __call__(self, batch: Mapping[str, jax.Array], *, sub: Submodel = FULL,
               train: bool = False, flags: jax.Array | None = None
               ) -> dict[str, jax.Array]:
    """What a text and tags say about a picture, or two.

    Args:
      batch: tokens int32[B, M], word pieces of [CLS] text [SEP], 0 = padding;
        tags int32[B, G] or [P, G], word pieces of tags [SEP], none if left out;
        regions float[P, N, F] with zero rows for padding; boxes float[P, N, 4],
        x1 y1 x2 y2 in 0..1. P divides B: the texts of one picture stand
        together; or P is 2B: the two pictures of one text do.
      sub: the part to run.
      train: dropout, which needs an rng named 'dropout'.
      flags: bool[n], true for those of `candidates` that are skipped.

    Returns:
      By `outputs`: answers float[B, A], pair float[B, 2], of false and true,
      match float[B], the logarithm of the odds that text and tags are the
      picture's, words float[B, K, V] at the batch's places int32[B, K], which
      go on from the M of the text to the G of the tags.

    Raises:
      ValueError: the batch lacks an input, or has one of another size.
    """
    for key in ('tokens', 'regions', 'boxes',
                *(('places',) if 'words' in self.outputs else ())):
      check_name(key, batch, 'key of the batch')
    seed = seed_of(self.make_rng('dropout')) if train else None
    text = batch['tokens']
    words, tags = self._words(text, batch.get('tags'), sub, seed)
    image, image_mask = self._image(batch, sub, seed)
    x = _joined(words, image)                               # [B, M + G + N, d]
    seen = _joined(text != 0, tags != 0, image_mask)
    if self.mask == 'caption':
      seen = cached.captioning(seen, text.shape[1])
    x = self.encoder(x, seen, sub=sub, seed=seed, flags=flags)
    pooled = jnp.tanh(self.pooler(x[:, 0], sub=sub))
    return {name: wide(
        self._said(x, batch['places'], sub) if name == 'words' else
        self._output(name, pooled, sub, seed)) for name in self.outputs}

  def context(self, batch: Mapping[str, jax.Array], *, sub: Submodel = FULL
              ) -> jax.Array:
    """Runs what does not see the text; layers keep it, see `layers.cached`.

    Args:
      batch: regions and boxes, and tags if there are any, as `__call__` takes
        them. Texts of a picture have the same tags.
      sub: the part to run.

    Returns:
      bool[P, G + N], which of them are real.
    """
    for key in ('regions', 'boxes'):
      check_name(key, batch, 'key of the batch')
    self._check_grows(batch)
    x, seen = self._image(batch, sub, None)
    if 'tags' in batch:
      tags = batch['tags']
      if tags.shape[0] != x.shape[0]:
        tags = tags[::tags.shape[0] // x.shape[0]]
      # Behind one word, which nobody sees: exported programs have no empty text.
      words, tags = self._words(jnp.zeros_like(tags[:, :1]), tags, sub, None)
      x = jnp.concatenate([words[:, 1:], x], 1)
      seen = jnp.concatenate([tags != 0, seen], 1)
    self.encoder(x, seen, sub=sub)
    return seen

  def step(self, last: jax.Array, place: jax.Array, context: jax.Array,
           mask_token: int, *, sub: Submodel = FULL) -> jax.Array:
    """Logits of the next word of growing texts.

    The last word and, behind it, a masked one go through the layers; the masked
    one tells what should stand there.

    Args:
      last: int32[R], the last word of every text.
      place: int32[], where the next one stands.
      context: bool[P, C], what `context` returned; R / P texts of a picture
        stand together.
      mask_token: number of the word that masks.
      sub: the part to run.

    Returns:
      float[R, V].
    """
    pair = jnp.stack([last, jnp.full_like(last, mask_token)], 1)
    kind = self.types(jnp.zeros((), jnp.int32), sub=sub)
    x = self.text(pair, kind, place - 1 + jnp.arange(2), sub=sub)
    x = self.encoder(x, cached.Growing(place - 1, context), sub=sub)
    return wide(self._said(x, jnp.ones((last.shape[0], 1), jnp.int32), sub)[:, 0])

  def each_word(self, batch: Mapping[str, jax.Array], mask_token: int, *,
                sub: Submodel = FULL, train: bool = False) -> jax.Array:
    """Logits of every word of captions, each given the words before it.

    What `step` says of them one after the other, in one pass with slopes: of
    captions that were drawn, say.

    Args:
      batch: as `__call__` takes it, whose tokens are captions.
      mask_token, sub, train: as of `step` and `__call__`.

    Returns:
      float[B, M - 1, V], of the second word to the last.
    """
    self._check_grows(batch)
    seed = seed_of(self.make_rng('dropout')) if train else None
    text, count = batch['tokens'], batch['tokens'].shape[1]
    words, tags = self._words(text, batch.get('tags'), sub, seed)
    masks, _ = self._words(jnp.where(text != 0, mask_token, 0), None, sub, seed)
    image, image_mask = self._image(batch, sub, seed)
    x = _joined(words[:, :count], masks, words[:, count:], image)
    seen = _joined(text != 0, text != 0, tags != 0, image_mask)
    x = self.encoder(x, cached.asking(seen, count), sub=sub, seed=seed)
    places = jnp.broadcast_to(jnp.arange(count + 1, 2 * count),
                              (x.shape[0], count - 1))
    return wide(self._said(x, places, sub))

  def looked(self, sown: Mapping[str, Any],
             batch: Mapping[str, jax.Array]) -> jax.Array:
    """float[B, N], what the first word attends to in the last layer."""
    last = self.stacks['encoder'].num_layers - 1
    words = sum(batch[key].shape[1] for key in ('tokens', 'tags')
                if key in batch)
    return looks.of_first_token(sown, f'encoder/layer_{last}/attention', words)

  def _check_grows(self, batch):
    """Raises where what stands behind a text changes with it."""
    if self.mask != 'caption':
      raise ValueError(
          f'a text was to grow word by word, but with mask={self.mask!r} tags '
          "and regions see it and change with it; set mask='caption' of the "
          'model, and train it so.')
    if self.tag_start is None and 'tags' in batch:
      raise ValueError(
          'a text was to grow word by word, but with tag_start=None tags '
          'follow its last word and move with it; set tag_start of the model '
          'to the place of the first, and train it so.')

  def _words(self, text, tags, sub, seed):
    """A text and tags, float[B, M + G, d], and the tags int32[B, G]."""
    count = text.shape[1]
    if tags is None:
      tags = jnp.zeros((text.shape[0], 0), text.dtype)
    rows = max(text.shape[0], tags.shape[0])
    text, tags = (tokens.per_row(part, rows) for part in (text, tags))
    extra = tags.shape[1]
    places = tags_lib.places(text, extra, self.tag_start, self.max_positions)
    kind = self.types(jnp.array([0] * count + [1] * extra, jnp.int32), sub=sub)
    return self.text(jnp.concatenate([text, tags], 1), kind, places, sub=sub,
                     seed=seed), tags

  def _image(self, batch, sub, seed):
    """Regions, float[P, N, d], and bool[P, N]."""
    regions, boxes = batch['regions'], batch['boxes']
    if regions.shape[-1] != self.feature_size:
      raise ValueError(
          f'regions of the batch have {regions.shape[-1]} features, the model '
          f'reads {self.feature_size}; set feature_size of the model.')
    x = jnp.concatenate(
        [regions, boxes, boxes[..., 2:] - boxes[..., :2]], -1)
    x = self.feature(x.astype(self.dtype), sub=sub)
    x = self.feature_norm(x, sub=sub) if self.image_norm else x
    return self.image_dropout(x.astype(self.dtype), seed), tokens.nonzero_rows(
        regions)

  def _said(self, x, places, sub):
    """Logits float[B, K, V] of the words at some places."""
    table = nn.unbox(self.text.variables)['params']['words'][
        'table'] if self.tied else None
    return self.words_head(x, places, table, sub=sub)

  def _output(self, name, pooled, sub, seed):
    """One of `outputs` from float[rows, d]."""
    if name == 'match':
      scores = self.match_head(pooled, sub=sub)
      return scores[:, 1] - scores[:, 0]
    pooled = self.pooled_dropout(pooled, seed)
    head = self.pair_head if name == 'pair' else self.head
    return head(pooled, sub=sub)


def _joined(*parts):
  """One behind the other, of every picture for each of its texts."""
  rows = max(part.shape[0] for part in parts)
  return jnp.concatenate([tokens.per_row(part, rows) for part in parts], 1)
