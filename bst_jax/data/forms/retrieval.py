"""Pictures and texts that are to find each other, as Flickr30K is used.

A batch has, for P pictures of Q texts each, B = P Q:
  tokens: int32[B, T].
  match: int32[B], 1 where the text belongs to the picture.
  picture, text: int32[B], their numbers within the split.

In training the first of the Q texts is the picture's own and the others are
drawn from other pictures; none of them equals a text of the picture. In
evaluation every picture comes with every text of the split, Q at a time.
"""
from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import re

from absl import logging
from bst_jax.data import kinds as kinds_lib
from bst_jax.data import options as options_lib
from bst_jax.data import tokens
from bst_jax.data.forms import captions, Context, Form, Place
from bst_jax.data.vocabularies import Vocabularies
from bst_jax.elastic import check_name
import numpy as np

# Which captions of a picture are its texts.
TEXTS = {'all': 'each is one', 'joined': 'all of them, one behind the other',
         'list': 'the one that names everything there is in the picture'}
RECALLS = (1, 5, 10)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(options_lib.Texts):
  """config.data of retrieval."""

  texts: str = 'all'  # Which captions are texts, see `TEXTS`.
  max_tokens: int = 30
  texts_per_picture: int = 4  # In training: its own one and drawn ones.
  eval_texts_per_picture: int = 0  # Scored at a time; 0: as above.

  def __post_init__(self):
    super().__post_init__()
    check_name(self.texts, TEXTS, 'choice of texts')
    if self.texts_per_picture < 2:
      raise ValueError(
          f'config.data.texts_per_picture is {self.texts_per_picture}, but a '
          'model learns from one text that belongs to a picture and others '
          'that do not. Use 2 or more.')

  @property
  def per_group(self) -> tuple[int, int]:
    """Texts of a picture in a batch, in training and in evaluation."""
    return self.texts_per_picture, (
        self.eval_texts_per_picture or self.texts_per_picture)


@dataclasses.dataclass
class Texts(captions.Captions):
  """Texts as numbers.

  Attributes:
    same: int64[m]; equal texts have one number.
    drawn: texts of a picture in a training batch.
  """

  same: np.ndarray | None = None
  drawn: int = 0


def read(records: Iterable[Mapping], lengths: Sequence[int] = (),
         context: Context | None = None) -> captions.Captions:
  """The texts of records; logs how many pictures have none."""
  del lengths
  options = context.options
  if options.texts == 'list' and not context.facts.listing:
    raise ValueError(
        "config.data.texts is 'list', but nothing says which captions of "
        f'{options.name} name everything in a picture; digit scenes do. Use '
        "'all' or 'joined'.")
  each = [[text.decode() for text in record['captions']] for record in records]
  if options.texts == 'joined':
    each = [[' '.join(texts)] if texts else [] for texts in each]
  elif options.texts == 'list':
    each = [[text for text in texts if re.match(context.facts.listing, text)]
            for texts in each]
  without = sum(not texts for texts in each)
  if without:
    logging.info('%d of %d pictures are left out, as they have no text %r.',
                 without, len(each), options.texts)
  return captions.joined(each)


def encode(rows: captions.Captions, names: Vocabularies,
           context: Context) -> Texts:
  """Texts as numbers."""
  same = np.unique(rows.texts, return_inverse=True)[1]
  return Texts(
      rows.texts, rows.start, tokens.encode(
          rows.texts, names.words, context.options.max_tokens, 'texts'),
      same, context.options.texts_per_picture)


def make(rows: Texts, place: Place, pictures: dict) -> dict:
  """The texts of a batch beside their pictures."""
  which, mask = place.rows, place.mask
  if place.draws is not None:
    which = np.stack([
        [own, *others(rows, group, np.random.default_rng(draw))]
        for (own,), group, draw in zip(which, place.groups, place.draws)])
    mask = np.broadcast_to(mask, which.shape)
  picture = np.broadcast_to(place.groups[:, None], which.shape).reshape(-1)
  which, mask = which.reshape(-1), mask.reshape(-1)
  labels = {'tokens': rows.tokens[which],
            'match': (rows.owner[which] == picture).astype(np.int32),
            'picture': picture.astype(np.int32),
            'text': which.astype(np.int32)}
  return pictures | {key: tokens.blank(array, mask)
                     for key, array in labels.items()} | {'mask': mask}


def others(rows: Texts, picture: int, rng: np.random.Generator) -> list[int]:
  """Different texts of other pictures, none equal to one of the picture's."""
  own = set(rows.same[rows.start[picture]:rows.start[picture + 1]].tolist())
  wanted, found = rows.drawn - 1, []
  if len(rows.texts) < 4 * rows.drawn:  # Trying would take long, or for ever.
    there = [text for text, same in enumerate(rows.same.tolist())
             if same not in own]
    if len(there) < wanted:
      raise ValueError(
          f'{wanted} texts of other pictures were to be drawn, but there are '
          f'{len(there)}. Lower config.data.texts_per_picture, or raise '
          'config.data.limit.')
    return rng.permutation(there)[:wanted].tolist()
  while len(found) < wanted:
    text = int(rng.integers(len(rows.texts)))
    if rows.same[text] not in own and text not in found:
      found.append(text)
  return found


def chunks(rows: Texts, count: int) -> tuple[np.ndarray, ...]:
  """Every picture that has a text with every text, Q at a time.

  Pictures go round for each Q texts.
  """
  pictures = np.flatnonzero(np.diff(rows.start))
  first = np.arange(0, len(rows.texts), count)
  counts = np.minimum(count, len(rows.texts) - first)
  return (np.tile(pictures, len(first)), np.repeat(first, len(pictures)),
          np.repeat(counts, len(pictures)))


def prior(train: captions.Captions, asked: captions.Captions,
          names: Vocabularies, context: Context) -> dict[str, float]:
  """Recall in percent of random order, by the names of `scores.recall`."""
  del train, names, context
  owned = np.diff(asked.start)
  owned, texts = owned[owned > 0], len(asked.texts)
  found = {}
  for most in RECALLS:
    # Of k texts drawn none belongs to a picture that owns so many.
    place = np.arange(min(most, texts))
    none = ((texts - owned[:, None] - place).clip(0) / (texts - place)).prod(1)
    found[f'text_recall@{most}'] = 100 * float(1 - none.mean())
  return found | {f'image_recall@{most}': 100 * min(1.0, most / len(owned))
                  for most in RECALLS}


def ceiling(rows: captions.Captions) -> dict[str, float]:
  """The highest recall in percent, as equal texts cannot be told apart.

  Where g pictures have the same text, its k best pictures are at most k of the
  g. A picture finds it among k texts if g is at most k, since a tie counts
  against it, and looks for the rarest of its texts.
  """
  _, same, counts = np.unique(rows.texts, return_inverse=True,
                              return_counts=True)
  shared = counts[same]
  rarest = np.array([shared[a:b].min() for a, b in zip(
      rows.start, rows.start[1:]) if a < b])
  return {f'text_recall@{most}': 100 * float((rarest <= most).mean())
          for most in RECALLS} | {
              f'image_recall@{most}': 100 * float(
                  np.minimum(1, most / shared).mean()) for most in RECALLS}


def form(features) -> Form:
  """Pictures and texts that are to find each other."""
  del features
  label = np.int32(0)
  return Form(
      what='texts', unit='pairs', floor='random order', parts=('captions',),
      options=Options,
      kinds=lambda options, features: kinds_lib.of_inputs(options.inputs),
      names=('words',), read=read, vocabularies=captions.vocabularies,
      encode=encode, make=make,
      types=lambda sizes, options, training: {
          'match': label, 'picture': label, 'text': label},
      lacks=lambda rows: '', prior=prior, chosen=1, chunks=chunks,
      ceiling=ceiling)
