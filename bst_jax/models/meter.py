"""METER: CLIP's and RoBERTa's encoders, and layers in which both streams attend
to each other.

Reference: Dou et al., "An Empirical Study of Training End-to-End
  Vision-and-Language Transformers", CVPR 2022; adapters, what may be skipped and
  the learnt class token as in DAS (Wu et al., "Parameter and Computation
  Efficient Transfer Learning for Vision-Language Pre-trained Models", NeurIPS
  2023), and their released code.
"""
from collections.abc import Mapping
import functools
from typing import Any

from bst_jax.elastic import Axis, check_name, FULL, Order, Size, Submodel
from bst_jax.layers import bert, co_attention, pixels, towers
from bst_jax.layers.activations import gelu
from bst_jax.layers.adapters import SkipAdapter
from bst_jax.layers.backbone import Backbone
from bst_jax.layers.dropout import seed_of
from bst_jax.layers.extra import Extra
from bst_jax.layers.heads import check_outputs, said_of, words_of
from bst_jax.layers.linear import named, wide
from bst_jax.layers.stack import Stack
from bst_jax.layers.tokens import per_row
from flax import linen as nn
import jax
import jax.numpy as jnp

TEXT, IMAGE = 'text_fusion', 'image_fusion'
_ENCODER = 'text_tower/encoder'
# Which layers may be skipped.
CANDIDATES = {
    'fusion': 'every layer of either stream, those of the text first',
    'global': "these, and behind them the text encoder's",
}


class Model(Backbone):
  """What a text says about a picture, or two.

  The encoders are the same for every submodel and dearer than all the rest.
  Compute them once and hand on what they give in the batch:

    shared = model.apply({'params': params}, batch, method='shared')
    outputs = model.apply({'params': params}, batch | shared, sub=sub)

  Attributes:
    vocab_size: byte pairs of RoBERTa.
    num_answers: classes; of the output `answers` alone.
    outputs: what it returns, of `heads.OUTPUTS`.
    image_size: side of the pictures, or height and width.
    patch: side of a patch; it divides those of the pictures.
    width, heads, mlp: of the layers of both streams; a submodel keeps a prefix
      of each.
    head_dim: channels of a head; width / heads if None.
    num_layers: of either stream.
    fused: hidden units of the answer head.
    image_width, image_heads, image_mlp, image_layers: of the encoder of
      pictures, CLIP's without its last layer.
    text_width, text_heads, text_mlp, text_layers: of the encoder of texts.
    max_positions: places that the latter knows, two more than tokens.
    padding: the token that fills up; no text has it.
    class_prompt: a learnt vector stands in place of the text's first token.
    candidates_in: of `CANDIDATES`.
    adapter: hidden units of what may run instead of a layer; 0 for no such.
    skip: paths of the layers that are skipped, as 'text_fusion/layer_1'; None:
      all candidates have adapters, and `flags` decides.
    extra: an `extra.Extra` of the layers of both streams, or its fields; None
      for nothing beside them.
    mean, std: that uint8 pictures are brought to.
    strategy, strategy_seed: which layers a depth keeps, see `elastic.Order`.
    dropout: of both streams and of the text encoder.
    remat: recompute layers in the backward pass, to save memory.
  """

  vocab_size: int = 50265
  num_answers: int = 0
  outputs: tuple[str, ...] = ('answers',)
  image_size: int | tuple[int, int] = 384
  patch: int = 16
  width: int = 768
  heads: Size = 12
  mlp: Size = 3072
  num_layers: int = 6
  fused: int = 1536
  image_width: int = 768
  image_heads: int = 12
  image_mlp: int = 3072
  image_layers: int = 11
  text_width: int = 768
  text_heads: int = 12
  text_mlp: int = 3072
  text_layers: int = 12
  max_positions: int = 514
  padding: int = 1
  class_prompt: bool = True
  candidates_in: str = 'fusion'
  mean: tuple[float, ...] = towers.CLIP_MEAN
  std: tuple[float, ...] = towers.CLIP_STD
  strategy: str = 'middle'
  strategy_seed: int = 0
  dropout: float = 0.1
  dtype: Any = jnp.float32
  remat: bool = False
  head_dim: Size | None = None
  adapter: Size = 0
  skip: tuple[str, ...] | None = ()
  extra: Extra | Mapping[str, Any] | None = None

  def __post_init__(self):
    check_outputs(self.outputs, self.num_answers)
    check_name(self.candidates_in, CANDIDATES, 'set of candidates')
    object.__setattr__(self, 'extra', Extra.of(self.extra))
    super().__post_init__()

  @property
  def stacks(self) -> dict[str, Order]:
    """Both streams, and the text encoder where its layers are candidates."""
    order = Order(self.num_layers, self.strategy, seed=self.strategy_seed)
    found = {TEXT: order, IMAGE: order}
    if self.candidates_in == 'global':
      found[_ENCODER] = Order(self.text_layers)
    return found

  def layer_fields(self, living: Mapping[str, tuple[tuple[int, int], ...]]
                   ) -> dict[str, Any]:
    """The fields that say how many layers are left of every stack."""
    counts = {stack: len(layers) for stack, layers in living.items()}
    if counts[TEXT] != counts[IMAGE]:
      raise ValueError(
          f'{counts[TEXT]} layers of {TEXT!r} and {counts[IMAGE]} of {IMAGE!r} '
          'were to be left, but the streams go layer by layer; keep as many of '
          'both, or skip layers.')
    found = {'num_layers': counts[TEXT]}
    if _ENCODER in counts:
      found['text_layers'] = counts[_ENCODER]
    return found

  def setup(self):
    self.image_tower = towers.ClipVision(
        pixels.sides(self.image_size), self.patch, self.image_width,
        self.image_heads, self.image_mlp, self.image_layers, self.mean,
        self.std, self.dtype, self.remat)
    skips = {}
    if _ENCODER in self.stacks:
      skips = self.skips(_ENCODER, SkipAdapter, Axis('tower', self.text_width))
    self.text_tower = towers.Roberta(
        self.vocab_size, self.max_positions, self.text_width, self.text_heads,
        self.text_mlp, self.text_layers, self.padding, self.dropout,
        self.dtype, self.remat, **skips)

  def shared(self, batch: dict[str, jax.Array],
             train: bool = False) -> dict[str, jax.Array]:
    """What every submodel reads alike, to be put into the batch.

    Args:
      batch: as `__call__` takes it.
      train: dropout of the text encoder.

    Returns:
      encoded_image float[P, 1 + h w, D]; encoded_text float[B, T, D], unless
      layers of the text encoder are candidates.
    """
    check_name('image', batch, 'key of the batch')
    found = {'encoded_image': self.image_tower(batch['image'])}
    if self.candidates_in == 'fusion':
      found['encoded_text'] = self._text(batch, train, None)
    return found

  @nn.compact
  def __call__(self, batch: dict[str, jax.Array], *, sub: Submodel = FULL,
               train: bool = False, flags: jax.Array | None = None,
               ) -> dict[str, jax.Array]:
    """What a text says about a picture, or two.

    Args:
      batch: tokens int32[B, T], byte pairs of <s> text </s>; image
        uint8[P, H, W, 3], or float, which is taken to have the model's mean and
        deviation already; or, of both, what `shared` returned. P divides B: the
        texts of one picture stand together; or P is 2B: the two pictures of one
        text do.
      sub: the part to run, of both streams.
      train: dropout, which needs an rng named 'dropout'.
      flags: bool[n], true for those of `candidates` that are skipped.

    Returns:
      By `outputs`: answers float[B, A], pair float[B, 2], of false and true,
      match float[B], words float[B, K, V] at the batch's places int32[B, K].
    """
    check_name('tokens', batch, 'key of the batch')
    embed = Axis('embed', self.width)
    seed = seed_of(self.make_rng('dropout')) if train else None
    flags = co_attention.split_flags(flags, {
        stack: order.num_layers for stack, order in self.stacks.items()})
    mask = batch['tokens'] != self.padding
    text = (batch['encoded_text'] if 'encoded_text' in batch else
            self._text(batch, train, flags.get(_ENCODER)))
    image = (batch['encoded_image'] if 'encoded_image' in batch else
             self.image_tower(batch['image']))

    linear = functools.partial(bert.Linear, dtype=self.dtype)
    kinds = bert.Table(Axis('type', 3 if 'pair' in self.outputs else 2), embed,
                       name='types')
    text = linear((Axis('tower', self.text_width),), (embed,),
                  name='text_transform')(text, sub=sub)
    image = linear((Axis('tower', self.image_width),), (embed,),
                   name='image_transform')(image, sub=sub)
    if self.class_prompt:
      first = self.param('class_prompt', named(bert.NORMAL, embed))
      text = text.at[:, 0].set(first[:text.shape[-1]].astype(text.dtype))
    text += kinds(jnp.zeros((), jnp.int32), sub=sub).astype(text.dtype)
    image += self._image_kinds(kinds, image.shape[0], sub).astype(image.dtype)

    rows = max(text.shape[0], image.shape[0])
    text, mask, image = (per_row(x, rows) for x in (text, mask, image))
    text, _, pooled = self._fused(text, image, mask, None, flags, sub, seed)
    return {name: wide(
        words_of(text, batch, embed, self.vocab_size, self.dtype, sub=sub)
        if name == 'words' else said_of(
            name, pooled, (Axis('stream', 2), embed), self.fused,
            self.num_answers, self.dtype, sub=sub)) for name in self.outputs}

  def _text(self, batch, train, flags):
    """float[B, T, D] of the text encoder."""
    seed = seed_of(self.make_rng('dropout')) if train else None
    return self.text_tower(batch['tokens'], seed=seed, flags=flags)

  def _fused(self, x, y, mask, other_mask, flags, sub, seed):
    """Both streams, and their first tokens float[B, 2, d] as heads read them."""
    embed = Axis('embed', self.width)
    x, y = co_attention.co_attend(
        (self._stream(TEXT, embed), self._stream(IMAGE, embed)), x, y, mask,
        other_mask, sub=sub, seed=seed, flags=(flags[TEXT], flags[IMAGE]))
    pool = lambda name, z: jnp.tanh(bert.Linear(
        (embed,), (embed,), dtype=self.dtype, name=f'{name}_pooler')(
            z[:, 0], sub=sub))
    return x, y, jnp.stack([pool('text', x), pool('image', y)], 1)

  def _image_kinds(self, kinds, pictures, sub):
    """float[1 or P, 1, d]: of two pictures of a text the second has its own."""
    if 'pair' not in self.outputs:
      return kinds(jnp.ones((1, 1), jnp.int32), sub=sub)
    return kinds(1 + jnp.arange(pictures)[:, None] % 2, sub=sub)

  def _stream(self, name, embed):
    """The layers of a stream."""
    layer = functools.partial(
        co_attention.CrossLayer, embed, Axis('heads', self.heads),
        Axis('mlp', self.mlp), bert.Norm, gelu, self.dropout, self.dtype,
        bert.NORMAL, nn.initializers.zeros, self.head_dim, self.extra)
    return Stack(layer, self.stacks[name], self.remat, name=name,
                 **self.skips(name, SkipAdapter, embed))
