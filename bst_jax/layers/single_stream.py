"""A question and a picture in one transformer, however the picture is read.

Reference: BERT (Devlin et al., NAACL 2019) over both, as UNITER, CLIP-ViL-p and
  others do; slicing as BST (arXiv 2203.12814) does in MCAN, whose authors
  released no such model.
"""
from collections.abc import Callable, Mapping
import functools
from typing import Any

from bst_jax.elastic import Axis, check_name, FULL, Size, Submodel
from bst_jax.layers import bert, looks
from bst_jax.layers.activations import gelu
from bst_jax.layers.backbone import Backbone
from bst_jax.layers.dropout import seed_of
from bst_jax.layers.heads import check_outputs, PairHead, words_of
from bst_jax.layers.linear import wide
from bst_jax.layers.stack import Stack
from bst_jax.layers.tokens import per_row
from flax import linen as nn
import jax
import jax.numpy as jnp


class SingleStream(Backbone):
  """All of a model but `image`, which embeds the pictures and is the model's.

  A model's own attributes have defaults, as these come before them.

  Attributes:
    vocab_size: word pieces, padding (0) included.
    num_answers: classes; of the output `answers` alone.
    outputs: what it returns, of `heads.OUTPUTS`.
    width, heads, mlp: of the transformer; a submodel keeps a prefix of each.
    head_dim: channels of a head; width / heads if None.
    fused: hidden units of the answer head.
    num_layers: of the transformer.
    max_positions: tokens of the longest question.
    embed_mode: `slice`: a submodel keeps a prefix of the embeddings' channels,
      so that trained weights are the full model; `adapter`: embeddings stay
      whole and a linear layer and a normalisation a modality follow them, as in
      MCAN with BST.
    word: channels of the embeddings in mode `adapter`.
    strategy, strategy_seed: which layers a depth keeps, see `elastic.Order`.
    remat: recompute layers in the backward pass, to save memory.
    scan: compile a layer once for all of a stack, see `Stack`.
    init_std: standard deviation of the first weights. BERT's suits its 768
      channels; a narrow model wants about half of 1 / sqrt(width) or more, or
      its attention begins flat and stays so for long.
    identity_init: start every residual branch at zero, see `mcan.Model`.
  """

  vocab_size: int
  num_answers: int = 0
  width: int = 768
  heads: Size = 12
  mlp: Size = 3072
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
  scan: bool = False
  init_std: float = 0.02
  identity_init: bool = False
  outputs: tuple[str, ...] = ('answers',)
  head_dim: Size | None = None

  # Whether tanh follows the pooler, as in BERT. A model's, not a user's choice.
  pooler_tanh = True

  def __post_init__(self):
    check_name(self.embed_mode, bert.EMBED_MODES, 'embed_mode')
    check_outputs(self.outputs, self.num_answers)
    super().__post_init__()

  @property
  def normal(self) -> Callable:
    """Initialiser of every table and matrix."""
    return nn.initializers.normal(self.init_std)

  def image(self, batch: dict[str, jax.Array], kind: jax.Array, out: Axis, *,
            sub: Submodel, seed: jax.Array | None
            ) -> tuple[jax.Array, jax.Array]:
    """Embeds the pictures.

    Args:
      batch: as `__call__` takes it.
      kind: float[d], the embedding of what is of a picture.
      out: the axis of the embeddings.
      sub: the part to run.
      seed: uint32[] of dropout, None for evaluation.

    Returns:
      float[P, N, d], and bool[P, N], false for padding.
    """
    raise NotImplementedError(f'{type(self)} has no method image.')

  @nn.compact
  def __call__(self, batch: dict[str, jax.Array], *, sub: Submodel = FULL,
               train: bool = False) -> dict[str, jax.Array]:
    """What a text says about a picture, or two.

    Args:
      batch: tokens int32[B, M], word pieces of [CLS] text [SEP], 0 = padding; P
        pictures as the model's `image` reads them. P divides B: the texts of
        one picture stand together; or P is 2B: the two pictures of one text do.
      sub: the part to run.
      train: dropout, which needs an rng named 'dropout'.

    Returns:
      By `outputs`: answers float[B, A], pair float[B, 2], of false and true,
      match float[B], words float[B, K, V] at the batch's places int32[B, K].
    """
    check_name('tokens', batch, 'key of the batch')
    embed = Axis('embed', self.width)
    # The axis of the embeddings: its name decides whether they narrow.
    inner = embed if self.embed_mode == 'slice' else Axis('word', self.word)
    part, init = dict(dropout=self.dropout, dtype=self.dtype), self.normal
    seed = seed_of(self.make_rng('dropout')) if train else None
    run = dict(sub=sub, seed=seed)

    tokens = batch['tokens']
    kinds = bert.Table(Axis('type', 2), inner, init=init, name='types')(
        jnp.arange(2), sub=sub)                             # [2, d]
    text = bert.TextEmbedding(
        Axis('vocab', self.vocab_size), Axis('position', self.max_positions),
        inner, **part, init=init, name='text')(tokens, kinds[0], **run)
    image, image_mask = self.image(batch, kinds[1], inner, **run)
    if self.embed_mode == 'adapter':
      adapt = lambda name, x: bert.Adapter(
          inner, embed, self.dtype, init, name=name)(x, sub=sub)
      text, image = adapt('text_adapter', text), adapt('image_adapter', image)

    rows = max(text.shape[0], image.shape[0])
    join = lambda *parts: jnp.concatenate(
        [per_row(part, rows) for part in parts], 1)
    x = join(text, image)                                   # [B, M + N, d]
    mask = join(tokens != 0, image_mask)
    out_init = nn.initializers.zeros if self.identity_init else None
    layer = functools.partial(
        bert.Layer, embed, Axis('heads', self.heads), Axis('mlp', self.mlp),
        head_dim=self.head_dim, kernel_init=init, out_init=out_init, **part)
    x = Stack(layer, self.stacks['encoder'], self.remat, scan=self.scan,
              name='encoder')(x, mask, **run)

    pooled = bert.Linear(
        (embed,), (embed,), kernel_init=init, dtype=self.dtype, name='pooler')(
            x[:, 0], sub=sub)
    pooled = jnp.tanh(pooled) if self.pooler_tanh else pooled
    return {name: wide(
        words_of(x[:, :tokens.shape[1]], batch, embed, self.vocab_size,
                 self.dtype, init, sub=sub)
        if name == 'words' else self._output(name, pooled, embed, sub))
            for name in self.outputs}

  def looked(self, sown: Mapping[str, Any],
             batch: Mapping[str, jax.Array]) -> jax.Array:
    """float[B, N], what the first word attends to in the last layer."""
    last = self.stacks['encoder'].num_layers - 1
    return looks.of_first_token(sown, f'encoder/layer_{last}/attention',
                                batch['tokens'].shape[1])

  def _output(self, name, pooled, embed, sub):
    """One of `outputs` from float[rows, d]."""
    init, fused = self.normal, Axis('fused', self.fused)
    if name == 'pair':
      return PairHead(
          embed, fused, gelu, self.dtype, init, nn.initializers.zeros,
          name='pair_head')(pooled, sub=sub)
    if name == 'match':
      return bert.Linear(
          (embed,), (Axis('score', 1),), kernel_init=init, dtype=self.dtype,
          name='match_head')(pooled, sub=sub)[..., 0]
    return bert.AnswerHead(
        embed, fused, Axis('answers', self.num_answers), self.dtype, init,
        name='head')(pooled, sub=sub)
