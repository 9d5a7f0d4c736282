"""Sentences about pictures with words masked, which a model learns to write.

A batch has, for P pictures of Q captions each, B = P Q, and K masks at most:
  tokens: int32[B, T], an opening word, the caption, a closing word; with masks.
  whole: int32[B, T], the same without masks.
  places: int32[B, K], where words were masked, in order; 0 behind the last.
  words: int32[B, K], the words that stood there.
  told: bool[B, K], false behind the last place.
  picture: int32[B], its number within the split.
  tags: int32[B, G], as of the form `captions`; if config.data.max_tags is G.

The closing word is masked as any other, so that a model learns to stop; the
opening one never is. In a vocabulary of plain words one word opens and closes.
A caption that is longer than T keeps its first words and has no closing one:
nobody is to learn to stop in the middle.
"""
from collections.abc import Iterable, Mapping, Sequence
import dataclasses

from bst_jax.data import tokens
from bst_jax.data.forms import captions, Context, Form, Place, pretraining
from bst_jax.data.tokens import numbered
from bst_jax.data.vocabularies import Vocabularies
from bst_jax.data.words import Words
import numpy as np

_SEED = 0x3CA  # Of masks of evaluation, with the number of a caption.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(captions.Options):
  """config.data of captioning."""

  max_tokens: int = 20  # The opening and the closing word are among them.
  masked: float = 0.15  # Share of a caption's words.
  max_masked: int = 3  # Of a caption.

  def __post_init__(self):
    super().__post_init__()
    if not 0 < self.masked <= 1 or not 0 < self.max_masked < self.max_tokens:
      raise ValueError(
          f'config.data.masked is {self.masked} and max_masked '
          f'{self.max_masked}, but a share above 0 and at most 1 of the words '
          f'is masked, of at most max_tokens - 1 = {self.max_tokens - 1}.')


@dataclasses.dataclass
class Masked(captions.Captions):
  """Captions as numbers, and how they are masked.

  Attributes:
    ids: of the picture of each caption; '' where records have none.
    masks: what `pretraining.masked` reads.
  """

  _: dataclasses.KW_ONLY
  ids: list[str]
  masks: pretraining.Texts | None = None


def special(words: Words) -> tuple[int, int, int]:
  """Numbers of the words that open a text, close it, and hide one of it.

  Raises:
    ValueError: the vocabulary has no word that hides others.
  """
  return words.special[1], words.special[-1], words.mask


def read(records: Iterable[Mapping], lengths: Sequence[int] = (),
         context: Context | None = None) -> Masked:
  """The captions of records, with their tags and ids; errors as of `captions`.
  """
  ids = []

  def seen():
    for record in records:
      name = record.get('image_id', b'').decode()
      ids.extend([name] * len(record['captions']))
      yield record

  whole = captions.read(seen(), lengths, context)
  return Masked(whole.texts, whole.start, tags=whole.tags, ids=ids)


def encode(rows: Masked, names: Vocabularies, context: Context) -> Masked:
  """Captions and tags as numbers."""
  words, options, tags = names.words, context.options, None
  if rows.tags is not None:
    tags = tokens.behind(rows.tags, words, options.max_tags, 'tags')
  return dataclasses.replace(
      rows, tag_tokens=tags,
      tokens=numbered(rows.texts, words, options.max_tokens),
      masks=pretraining.Texts(
          [], rows.start, mask=words.mask, kept=(0,), size=len(words),
          share=options.masked, most=options.max_masked))


def make(rows: Masked, place: Place, pictures: dict) -> dict:
  """The captions of a batch, masked, beside their pictures."""
  which, mask = place.rows.reshape(-1), place.mask.reshape(-1)
  if place.draws is None:
    rngs = [np.random.default_rng((_SEED, max(row, 0))) for row in which]
  else:
    draws = [np.random.default_rng(draw) for draw in place.draws]
    rngs = [rng for rng in draws for _ in range(place.rows.shape[1])]
  whole = rows.tokens[which]
  # Without the opening word, which nobody has to tell.
  new, places, told = (np.stack(parts) for parts in zip(*(
      pretraining.masked(ids, rows.masks, rng)
      for ids, rng in zip(whole[:, 1:], rngs))))
  places = np.where(told, places + 1, 0).astype(np.int32)
  picture = np.repeat(place.groups, place.rows.shape[1])
  labels = {'tokens': np.concatenate([whole[:, :1], new], 1), 'whole': whole,
            'places': places, 'told': told,
            'words': np.take_along_axis(whole, places, 1),
            'picture': picture.astype(np.int32)}
  if rows.tag_tokens is not None:
    labels['tags'] = rows.tag_tokens[picture]
  return pictures | {key: tokens.blank(array, mask)
                     for key, array in labels.items()} | {'mask': mask}


def types(sizes: Mapping, options: Options, training: bool) -> dict:
  """What a batch has of each caption."""
  del training
  most = options.max_masked
  return {'whole': np.zeros(sizes['max_tokens'], np.int32),
          'words': np.zeros(most, np.int32), 'told': np.zeros(most, bool),
          'picture': np.int32(0)}


def form(features) -> Form:
  """Captions of pictures with words masked; tags and ids where records have
  them.
  """
  whole = captions.form(features)
  ids = ('image_id',) if 'image_id' in features else ()
  return whole._replace(
      parts=(*whole.parts, *ids), options=Options, read=read, encode=encode,
      make=make, types=types, ids=lambda rows: rows.ids,
      sizes=lambda names: {'special': special(names.words)})
