"""Statements about two pictures, true or false, as NLVR2 has them.

A batch has, for B statements about P = 2 B pictures, of which 2 i is the left
and 2 i + 1 the right one of statement i:
  tokens: int32[B, T].
  pair: int32[B], 1 where the statement is true.
"""
from collections.abc import Iterable, Mapping, Sequence
import dataclasses

from absl import logging
from bst_jax.data import kinds as kinds_lib
from bst_jax.data import options as options_lib
from bst_jax.data import tokens
from bst_jax.data.forms import Context, Form, Place
from bst_jax.data.vocabularies import Vocabularies
import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(options_lib.Texts):
  """config.data of statements about two pictures."""

  max_tokens: int = 24  # Of digit scenes none has more than 21 words.


@dataclasses.dataclass
class Pairs:
  """The statements of a split.

  Attributes:
    texts: the statements.
    labels: int32[m], 1 where true.
    pictures: int64[m, 2], left and right.
    tokens: int32[m, T]; None as they are read.
  """

  texts: list[str]
  labels: np.ndarray
  pictures: np.ndarray
  tokens: np.ndarray | None = None

  @property
  def start(self) -> np.ndarray:
    return np.arange(len(self.texts) + 1)


def read(records: Iterable[Mapping], lengths: Sequence[int],
         context: Context | None = None) -> Pairs:
  """The statements of records whose both pictures are there.

  Records name the other picture by its place in their own split; in splits that
  are joined it stands behind all records of those before.
  """
  del context
  ends, found, total, part = np.cumsum(lengths), [], 0, 0
  for total, record in enumerate(records, 1):
    while total > ends[part]:
      part += 1
    said, before = record['statements'], int(ends[part] - lengths[part])
    found += [(text.decode(), int(true), total - 1, before + int(other))
              if other < lengths[part] else None
              for text, true, other in zip(
                  said['statement'], said['label'], said['other'])]
  kept = [row for row in found if row is not None and row[3] < total]
  if len(kept) < len(found):
    logging.info('%d of %d statements are left out, as config.data.limit leaves '
                 'out one of their pictures.', len(found) - len(kept),
                 len(found))
  return Pairs([row[0] for row in kept],
               np.array([row[1] for row in kept], np.int32),
               np.array([row[2:] for row in kept], np.int64).reshape(-1, 2))


def vocabularies(context: Context) -> Vocabularies:
  """Words of the statements."""
  return Vocabularies(tokens.vocabulary(context))


def encode(rows: Pairs, names: Vocabularies, context: Context) -> Pairs:
  """Statements as numbers."""
  return dataclasses.replace(rows, tokens=tokens.encode(
      rows.texts, names.words, context.options.max_tokens, 'statements'))


def make(rows: Pairs, place: Place, pictures: dict) -> dict:
  """The statements of a batch beside their pictures."""
  which, mask = place.rows.reshape(-1), place.mask.reshape(-1)
  return pictures | {'tokens': tokens.blank(rows.tokens[which], mask),
                     'pair': tokens.blank(rows.labels[which], mask),
                     'mask': mask}


def prior(train: Pairs, asked: Pairs, names: Vocabularies,
          context: Context) -> dict[str, float]:
  """{'overall': percent of a split that is what training mostly is}."""
  del names, context
  return {'overall': 100 * float(np.mean(
      asked.labels == np.bincount(train.labels).argmax()))}


def form(features) -> Form:
  """Statements about two pictures."""
  del features
  return Form(
      what='statements', unit='statements', floor='most frequent label',
      parts=('statements',), options=Options,
      kinds=lambda options, features: kinds_lib.of_inputs(options.inputs),
      names=('words',), read=read, vocabularies=vocabularies, encode=encode,
      make=make, types=lambda sizes, options, training: {'pair': np.int32(0)},
      lacks=lambda rows: '', prior=prior, pictures=2)
