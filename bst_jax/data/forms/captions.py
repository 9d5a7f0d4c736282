"""Sentences about pictures, which a model learns to write.

A batch has, for P pictures of Q captions each, B = P Q:
  tokens: int32[B, T].
"""
from collections.abc import Iterable, Mapping, Sequence
import dataclasses

from bst_jax.data import kinds as kinds_lib
from bst_jax.data import options as options_lib
from bst_jax.data import tokens
from bst_jax.data.forms import Context, Form, Place
from bst_jax.data.vocabularies import Vocabularies
import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(options_lib.Texts):
  """config.data of captions."""

  max_tokens: int = 30  # Of digit scenes none has more.
  texts_per_picture: int = 1  # They share the picture in a batch.
  eval_texts_per_picture: int = 0  # The same in evaluation; 0: as above.

  @property
  def per_group(self) -> tuple[int, int]:
    """Captions of a picture in a batch, in training and in evaluation."""
    return self.texts_per_picture, (
        self.eval_texts_per_picture or self.texts_per_picture)


@dataclasses.dataclass
class Captions:
  """The captions of a split, those of a picture next to each other.

  Attributes:
    texts: the captions.
    start: int64[n + 1]; picture i has the captions start[i] to start[i+1]-1.
    tokens: int32[m, T]; None as they are read.
  """

  texts: list[str]
  start: np.ndarray
  tokens: np.ndarray | None = None
  pictures = None

  @property
  def owner(self) -> np.ndarray:
    """int64[m], the picture of each."""
    return np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))


def read(records: Iterable[Mapping], lengths: Sequence[int] = (),
         context: Context | None = None) -> Captions:
  """The captions of records."""
  del lengths, context
  return joined([[text.decode() for text in record['captions']]
                 for record in records])


def joined(each: Sequence[Sequence[str]]) -> Captions:
  """Captions of a list for each picture."""
  return Captions([text for texts in each for text in texts],
                  np.cumsum([0, *map(len, each)]))


def vocabularies(context: Context) -> Vocabularies:
  """Words of the captions."""
  return Vocabularies(tokens.vocabulary(context))


def encode(rows: Captions, names: Vocabularies, context: Context) -> Captions:
  """Captions as numbers."""
  return dataclasses.replace(rows, tokens=tokens.encode(
      rows.texts, names.words, context.options.max_tokens, 'captions'))


def make(rows: Captions, place: Place, pictures: dict) -> dict:
  """The captions of a batch beside their pictures."""
  which, mask = place.rows.reshape(-1), place.mask.reshape(-1)
  return pictures | {'tokens': tokens.blank(rows.tokens[which], mask),
                     'mask': mask}


def form(features) -> Form:
  """Captions of pictures."""
  del features
  return Form(
      what='captions', unit='captions', floor='none', parts=('captions',),
      options=Options,
      kinds=lambda options, features: kinds_lib.of_inputs(options.inputs),
      names=('words',), read=read, vocabularies=vocabularies, encode=encode,
      make=make, types=lambda sizes, options, training: {},
      lacks=lambda rows: '',
      prior=lambda train, asked, names, context: {})
