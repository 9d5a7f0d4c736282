"""Texts of pictures with words masked, beside texts of other pictures.

A batch has, for P pictures of Q texts each, B = P Q, and K masks at most:
  tokens: int32[B, T], with masks.
  places: int32[B, K], where words were masked, in order; 0 behind the last.
  words: int32[B, K], the words that stood there.
  told: bool[B, K], whether the model is to tell the word: false behind the last
    place, and everywhere in a text of another picture.
  match: int32[B], 1 where the text belongs to the picture.
  picture: int32[B], its number within the split.

In training the first of the Q texts is the picture's own and the others are
drawn from other pictures. Evaluation has every picture with its own texts alone,
masked at places that do not change.
"""
from collections.abc import Mapping
import dataclasses

from bst_jax.data import tokens
from bst_jax.data.forms import captions, Context, Form, Place, retrieval
from bst_jax.data.vocabularies import Vocabularies
import numpy as np

# What becomes of a masked word: the mask, another word, or nothing.
_MASK, _OTHER = 0.8, 0.9
_SEED = 0x3A5  # Of masks of evaluation, with the number of a text.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(retrieval.Options):
  """config.data of pre-training."""

  texts_per_picture: int = 2  # In training: its own one and drawn ones.
  eval_texts_per_picture: int = 1  # Its own ones.
  masked: float = 0.15  # Share of a text's words.
  max_masked: int = 5  # Of a text.

  def __post_init__(self):
    super().__post_init__()
    if not 0 < self.masked <= 1 or not 0 < self.max_masked <= self.max_tokens:
      raise ValueError(
          f'config.data.masked is {self.masked} and max_masked '
          f'{self.max_masked}, but a share above 0 and at most 1 of the words is '
          f'masked, of at most max_tokens = {self.max_tokens}.')


@dataclasses.dataclass
class Texts(retrieval.Texts):
  """Texts as numbers, and how they are masked.

  Attributes:
    mask: number of the mask.
    kept: numbers that are never masked, as those of padding.
    size: of the vocabulary.
    share: of a text's words that are masked.
    most: masks of a text.
  """

  mask: int = 0
  kept: tuple[int, ...] = ()
  size: int = 0
  share: float = 0.0
  most: int = 0


def encode(rows: captions.Captions, names: Vocabularies,
           context: Context) -> Texts:
  """Texts as numbers."""
  words, options = names.words, context.options
  whole = retrieval.encode(rows, names, context)
  return Texts(
      **{field.name: getattr(whole, field.name)
         for field in dataclasses.fields(whole)},
      mask=words.mask, kept=words.special, size=len(words),
      share=options.masked, most=options.max_masked)


def masked(ids: np.ndarray, rows: Texts, rng: np.random.Generator
           ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """A text with masks, where they are, and which places are real.

  Of the words that are chosen eight in ten become the mask, one another word,
  and one stays.

  Args:
    ids: int32[T].
    rows: say how.
    rng: what is drawn from.

  Returns:
    int32[T]; places int32[K]; bool[K].

  Reference: Devlin et al., "BERT", NAACL 2019, section 3.1.
  """
  open_ = np.flatnonzero(~np.isin(ids, rows.kept))
  count = min(max(1, round(rows.share * len(open_))), rows.most, len(open_))
  chosen = np.sort(rng.permutation(open_)[:count])
  fate = rng.random(count)
  other = rng.integers(rows.size, size=count)
  new = ids.copy()
  new[chosen] = np.where(fate < _MASK, rows.mask, np.where(
      fate < _OTHER, other, ids[chosen]))
  places = np.zeros(rows.most, np.int32)
  places[:count] = chosen
  return new, places, np.arange(rows.most) < count


def make(rows: Texts, place: Place, pictures: dict) -> dict:
  """The texts of a batch, masked, beside their pictures."""
  which, mask = place.rows, place.mask
  if place.draws is None:
    rngs = [np.random.default_rng((_SEED, max(row, 0)))
            for row in which.reshape(-1)]
  else:
    draws = [np.random.default_rng(draw) for draw in place.draws]
    which = np.stack([
        [own, *retrieval.others(rows, group, rng)]
        for (own,), group, rng in zip(which, place.groups, draws)])
    mask = np.broadcast_to(mask, which.shape)
    rngs = [rng for rng in draws for _ in range(which.shape[1])]
  picture = np.broadcast_to(place.groups[:, None], which.shape).reshape(-1)
  which, mask = which.reshape(-1), mask.reshape(-1)
  whole = rows.tokens[which]
  new, places, told = (np.stack(parts) for parts in zip(*(
      masked(ids, rows, rng) for ids, rng in zip(whole, rngs))))
  match = rows.owner[which] == picture
  labels = {'tokens': new, 'places': places,
            'words': np.take_along_axis(whole, places, 1),
            'told': told & match[:, None], 'match': match.astype(np.int32),
            'picture': picture.astype(np.int32)}
  return pictures | {key: tokens.blank(array, mask)
                     for key, array in labels.items()} | {'mask': mask}


def types(sizes: Mapping, options: Options, training: bool) -> dict:
  """What a batch has of each text."""
  del sizes, training
  number, most = np.int32(0), options.max_masked
  return {'words': np.zeros(most, np.int32), 'told': np.zeros(most, bool),
          'match': number, 'picture': number}


def form(features) -> Form:
  """Texts of pictures with words masked, beside those of other pictures."""
  return retrieval.form(features)._replace(
      unit='texts', floor='none', options=Options, encode=encode, make=make,
      types=types, prior=lambda train, asked, names, context: {}, chunks=None,
      ceiling=None)
