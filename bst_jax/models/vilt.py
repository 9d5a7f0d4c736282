"""ViLT: words and patches of pixels in one transformer.

Reference: Kim et al., "ViLT: Vision-and-Language Transformer Without Convolution
  or Region Supervision", ICML 2021, and its released code; adapters and what may
  be skipped as in DAS (Wu et al., NeurIPS 2023).
Differs: patches keep their order and their grid, with a mask. The original draws
  an order of the patches that are there, which changes no token but in place.
"""
from collections.abc import Mapping
import functools
import math
from typing import Any

from bst_jax.elastic import Axis, check_name, FULL, Size, Submodel
from bst_jax.layers import bert, linear, looks, pixels
from bst_jax.layers.activations import gelu
from bst_jax.layers.backbone import Backbone
from bst_jax.layers.dropout import Dropout, seed_of
from bst_jax.layers.extra import Extra
from bst_jax.layers.heads import check_outputs, said_of, words_of
from bst_jax.layers.linear import named, TRUNCATED, wide
from bst_jax.layers.sampler import Ats
from bst_jax.layers.stack import Stack
from bst_jax.layers.tokens import per_row
from bst_jax.layers.vit import (
  Layer,
  layer_options,
  PatchEmbed,
  SkipTokens,
  Tokens,
)
from flax import linen as nn
import jax
import jax.numpy as jnp


class Model(Backbone):
  """What a text says about a picture, or two.

  Attributes:
    vocab_size: word pieces, padding (0) included.
    num_answers: classes; of the output `answers` alone.
    outputs: what it returns, of `heads.OUTPUTS`.
    image_size: height and width of the canvas, or one number for a square;
      pictures that are smaller lie in its upper left corner, see `extent`.
    patch: side of a patch; it divides those of the canvas.
    grid: rows and columns of the table of places, which is resized to the
      patches of every picture.
    width, heads, mlp: of the transformer; a submodel keeps a prefix of each.
    head_dim: channels of a head; width / heads if None.
    num_layers: of the transformer.
    fused: hidden units of the heads.
    max_positions: tokens of the longest text.
    adapter: hidden units of what may run instead of a layer; 0 for no such.
    skip: paths of the layers that are skipped, as 'encoder/layer_1'; None: all
      layers have adapters, and `flags` decides, see `candidates`.
    extra: an `extra.Extra` of every layer, or its fields; None for nothing
      beside them.
    ats: an `Ats`, or its arguments; patches are sampled, text never is.
    eps: of the normalisations of layers and of the last one.
    mean, std: that uint8 pictures are brought to.
    strategy, strategy_seed: which layers a depth keeps, see `elastic.Order`.
    dropout: of branches and of embeddings.
    remat: recompute layers in the backward pass, to save memory.
  """

  vocab_size: int = 30522
  num_answers: int = 0
  outputs: tuple[str, ...] = ('answers',)
  image_size: int | tuple[int, int] = 384
  patch: int = 32
  grid: tuple[int, int] = (12, 12)
  width: int = 768
  heads: Size = 12
  mlp: Size = 3072
  num_layers: int = 12
  fused: int = 1536
  max_positions: int = 40
  eps: float = 1e-6
  mean: tuple[float, ...] = (0.5, 0.5, 0.5)
  std: tuple[float, ...] = (0.5, 0.5, 0.5)
  strategy: str = 'middle'
  strategy_seed: int = 0
  dropout: float = 0.1
  dtype: Any = jnp.float32
  remat: bool = False
  head_dim: Size | None = None
  adapter: Size = 0
  skip: tuple[str, ...] | None = ()
  extra: Extra | Mapping[str, Any] | None = None
  ats: Ats | Mapping[str, Any] | None = None

  def __post_init__(self):
    check_outputs(self.outputs, self.num_answers)
    object.__setattr__(self, 'extra', Extra.of(self.extra))
    super().__post_init__()

  @property
  def sides(self) -> tuple[int, int]:
    """Height and width of the canvas."""
    return pixels.sides(self.image_size)

  @property
  def token_grid(self) -> tuple[int, int]:
    """Rows and columns of patches of the canvas."""
    return pixels.grid(self.sides, self.patch)

  @property
  def slots(self) -> int:
    """Patches of the canvas."""
    return math.prod(self.token_grid)

  @nn.compact
  def __call__(self, batch: dict[str, jax.Array], *, sub: Submodel = FULL,
               train: bool = False, flags: jax.Array | None = None,
               ) -> dict[str, jax.Array]:
    """What a text says about a picture, or two.

    Args:
      batch: tokens int32[B, T], word pieces of [CLS] text [SEP], 0 = padding;
        image uint8[P, H, W, 3], or float, which is taken to have the model's
        mean and deviation already; extent int32[P, 2], height and width of
        what of a canvas is picture, all of it if left out. P divides B: the
        texts of one picture stand together; or P is 2B: the two pictures of
        one text do.
      sub: the part to run.
      train: dropout, which needs an rng named 'dropout'.
      flags: bool[n], true for those of `candidates` that are skipped.

    Returns:
      By `outputs`: answers float[B, A], pair float[B, 2], of false and true,
      match float[B], words float[B, K, V] at the batch's places int32[B, K].
    """
    for key in ('tokens', 'image'):
      check_name(key, batch, 'key of the batch')
    embed = Axis('embed', self.width)
    seed = seed_of(self.make_rng('dropout')) if train else None
    kinds = bert.Table(Axis('type', 3 if 'pair' in self.outputs else 2), embed,
                       name='kinds')
    text, mask = self._text(batch['tokens'], embed, kinds, sub, seed)
    image, image_mask = self._image(batch, embed, kinds, sub, seed)
    rows = max(text.shape[0], image.shape[0])
    join = lambda *parts: jnp.concatenate(
        [per_row(part, rows) for part in parts], 1)
    x, mask = join(text, image), join(mask, image_mask)     # [B, T + 1 + N, d]
    lead = text.shape[1] + 1

    order = self.stacks['encoder']
    layers = sub.layers(order)
    options = layer_options(layers, [0.0] * len(layers), self.ats.stages(
        layers, self.slots, lead))
    norm = functools.partial(linear.LayerNorm, eps=self.eps)
    layer = functools.partial(
        Layer, embed, Axis('heads', self.heads), Axis('mlp', self.mlp), norm,
        gelu, head_dim=self.head_dim, dropout=self.dropout, dtype=self.dtype,
        policy_eps=self.ats.policy_eps, soft=self.ats.grad != 'hard',
        fill=self.ats.fill, extra=self.extra, **TRUNCATED)
    tokens = Tokens.start(x, lead, self.ats)._replace(
        valid=mask, real=mask[:, :lead] if self.ats.blocks else None)
    tokens = Stack(
        layer, order, self.remat, options, name='encoder',
        **self.skips('encoder', SkipTokens, embed))(
            tokens, sub=sub, seed=seed, flags=flags)
    read = lead - 1 if 'words' in self.outputs else 1
    x = norm(embed, name='norm')(tokens.x[:, :read], sub=sub)
    pooled = jnp.tanh(bert.Linear((embed,), (embed,), dtype=self.dtype,
                                  name='pooler')(x[:, 0], sub=sub))
    return {name: wide(
        words_of(x, batch, embed, self.vocab_size, self.dtype, sub=sub)
        if name == 'words' else said_of(
            name, pooled, (embed,), self.fused, self.num_answers, self.dtype,
            sub=sub)) for name in self.outputs}

  def looked(self, sown: Mapping[str, Any],
             batch: Mapping[str, jax.Array]) -> jax.Array:
    """float[B, N], what the first word attends to in the last layer."""
    last = self.stacks['encoder'].num_layers - 1
    return looks.of_first_token(sown, f'encoder/layer_{last}/attention',
                                batch['tokens'].shape[1] + 1)

  def _text(self, tokens, embed, kinds, sub, seed):
    """Words with their places, float[B, T, d], and bool[B, T]."""
    kind = bert.Table(Axis('type', 2), embed, name='text_types')(
        jnp.zeros((), jnp.int32), sub=sub)
    x = bert.TextEmbedding(
        Axis('vocab', self.vocab_size), Axis('position', self.max_positions),
        embed, self.dropout, self.dtype, name='text')(
            tokens, kind, sub=sub, seed=seed)
    return x + kinds(jnp.zeros((), jnp.int32), sub=sub).astype(x.dtype), (
        tokens != 0)

  def _image(self, batch, embed, kinds, sub, seed):
    """The class and patches with their places, float[P, 1 + N, d], and a mask.
    """
    image = pixels.normalised(batch['image'], self.sides, self.mean, self.std)
    x = PatchEmbed(self.patch, embed, self.dtype, **TRUNCATED, name='patches')(
        image.astype(self.dtype), sub=sub)                  # [P, N, d]
    pictures, _, size = x.shape
    normal = TRUNCATED['kernel_init']
    rows, columns = self.token_grid
    cells = (-(-batch['extent'] // self.patch) if 'extent' in batch else
             jnp.full((pictures, 2), jnp.array([rows, columns])))
    front = self.param('class_token', named(normal, embed))[:size]
    table = self.param('positions', named(
        normal, Axis('position', 1 + math.prod(self.grid)), embed))[:, :size]
    places = stretched(table[1:].reshape(*self.grid, size), cells,
                       (rows, columns))
    places = places.reshape(pictures, -1, size)
    x = jnp.concatenate([
        jnp.broadcast_to(front + table[0], (pictures, 1, size)).astype(x.dtype),
        x + places.astype(x.dtype)], 1)
    x = Dropout(self.dropout)(x, seed)
    kind = 1 + (jnp.arange(pictures) % 2 if 'pair' in self.outputs else
                jnp.zeros(pictures, jnp.int32))
    x += kinds(kind, sub=sub)[:, None].astype(x.dtype)
    inside = lambda count, along: jnp.arange(count) < along[:, None]
    mask = (inside(rows, cells[:, 0])[:, :, None]
            & inside(columns, cells[:, 1])[:, None]).reshape(pictures, -1)
    return x, jnp.concatenate([jnp.ones((pictures, 1), bool), mask], 1)


def stretched(table: jax.Array, cells: jax.Array, canvas: tuple[int, int]
              ) -> jax.Array:
  """A grid of places over the cells of every picture, its corners on theirs.

  Bilinear, as torch's interpolate with align_corners=True.

  Args:
    table: float[h, w, d].
    cells: int[P, 2], rows and columns of every picture.
    canvas: rows and columns that there are.

  Returns:
    float[P, *canvas, d]; what lies beside a picture means nothing.
  """
  def weights(old, new, count):
    step = (old - 1) / jnp.maximum(new - 1, 1)              # [P]
    centres = jnp.arange(count) * step[:, None]             # [P, count]
    far = jnp.abs(centres[..., None] - jnp.arange(old))
    return jnp.maximum(1 - far, 0)

  down = weights(table.shape[0], cells[:, 0], canvas[0])
  across = weights(table.shape[1], cells[:, 1], canvas[1])
  return jnp.einsum('phi,pwj,ijd->phwd', down, across, table,
                    precision=jax.lax.Precision.HIGHEST)
