"""Pictures and texts that are to find each other, as Flickr30K is used.

A batch has, for P pictures of Q texts each, B = P Q:
  tokens: int32[B, T]; where tags are read, with an opening and a closing word,
    as of the form `captioning`.
  match: int32[B], 1 where the text belongs to the picture.
  picture, text: int32[B], their numbers within the split.
  tags: int32[B, G], of the picture, as of the form `captions`; if
    config.data.max_tags is G.

In training the first of the Q texts is the picture's own and the others are
drawn from other pictures; none of them equals a text of the picture. With
config.data.negatives='either' rows come in twos, each with a picture of its
own, P = B: a picture with its text, and one wrong pair, in which either the
text is another picture's or, as often, the picture is another, with its tags.
In evaluation every picture comes with every text of the split, Q at a time.
"""
from collections.abc import Callable, Iterable, Mapping, Sequence
import dataclasses
import re
from typing import ClassVar

from absl import logging
from bst_jax.data import kinds as kinds_lib
from bst_jax.data import tokens
from bst_jax.data.forms import captions, Context, Form, Place
from bst_jax.data.vocabularies import Vocabularies
from bst_jax.elastic import check_name
import numpy as np

# Which captions of a picture are its texts.
TEXTS = {'all': 'each is one', 'joined': 'all of them, one behind the other',
         'list': 'the one that names everything there is in the picture'}
RECALLS = (1, 5, 10)
_TRIES = 1000  # To draw one of many.
_OTHER_TEXT = 0.5  # Share of wrong pairs whose text is the wrong one.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(captions.Options):
  """config.data of retrieval."""

  NEGATIVES: ClassVar[tuple[str, ...]] = ('texts', 'either')

  texts: str = 'all'  # Which captions are texts, see `TEXTS`.
  # What of a wrong pair is another's: 'texts', of several of a picture, or
  # 'either' text or picture, of one wrong pair for each right one.
  negatives: str = 'texts'
  texts_per_picture: int = 4  # In training: its own one and drawn ones.
  eval_texts_per_picture: int = 0  # Scored at a time; 0: as above.

  def __post_init__(self):
    super().__post_init__()
    check_name(self.texts, TEXTS, 'choice of texts')
    check_name(self.negatives, self.NEGATIVES, 'choice of negatives')
    if self.negatives == 'texts' and self.texts_per_picture < 2:
      raise ValueError(
          f'config.data.texts_per_picture is {self.texts_per_picture}, but a '
          'model learns from one text that belongs to a picture and others '
          'that do not. Use 2 or more.')

  @property
  def per_group(self) -> tuple[int, int]:
    """Texts of a picture in a batch, in training and in evaluation."""
    train = 2 if self.negatives == 'either' else self.texts_per_picture
    return train, self.eval_texts_per_picture or self.texts_per_picture

  @property
  def shown(self) -> int:
    """Pictures of each picture's texts in training: with 'either' one a text."""
    return 2 if self.negatives == 'either' else 1


@dataclasses.dataclass
class Texts(captions.Captions):
  """Texts as numbers.

  Attributes:
    same: int64[m]; equal texts have one number.
    drawn: texts of a picture in a training batch.
    either: whether pictures are drawn, too, as negatives='either' says.
  """

  same: np.ndarray | None = None
  drawn: int = 0
  either: bool = False


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
  each, tags = captions.with_tags(records, context)
  if options.texts == 'joined':
    each = [[' '.join(texts)] if texts else [] for texts in each]
  elif options.texts == 'list':
    each = [[text for text in texts if re.match(context.facts.listing, text)]
            for texts in each]
  without = sum(not texts for texts in each)
  if without:
    logging.info('%d of %d pictures are left out, as they have no text %r.',
                 without, len(each), options.texts)
  return dataclasses.replace(captions.joined(each), tags=tags)


def encode(rows: captions.Captions, names: Vocabularies,
           context: Context) -> Texts:
  """Texts as numbers."""
  options, words, tags = context.options, names.words, None
  if options.max_tags:
    ids = tokens.numbered(rows.texts, words, options.max_tokens)
    tags = tokens.behind(rows.tags, words, options.max_tags, 'tags')
  else:
    ids = tokens.encode(rows.texts, words, options.max_tokens, 'texts')
  return Texts(
      rows.texts, rows.start, ids,
      np.unique(rows.texts, return_inverse=True)[1], options.per_group[0],
      options.negatives == 'either', tag_tokens=tags)


def make(rows: Texts, place: Place, pictures: dict) -> dict:
  """The texts of a batch beside their pictures."""
  picture, which = together(rows, place)
  mask = np.broadcast_to(place.mask, which.shape).reshape(-1)
  picture, which = picture.reshape(-1), which.reshape(-1)
  labels = {'tokens': rows.tokens[which],
            'match': (rows.owner[which] == picture).astype(np.int32),
            'picture': picture.astype(np.int32),
            'text': which.astype(np.int32)}
  if rows.tag_tokens is not None:
    labels['tags'] = rows.tag_tokens[picture]
  return pictures | {key: tokens.blank(array, mask)
                     for key, array in labels.items()} | {'mask': mask}


def together(rows: Texts, place: Place) -> tuple[np.ndarray, np.ndarray]:
  """Which pictures and which texts are the pairs of a batch, int[P, Q] both."""
  groups = place.groups[:, None]
  if place.draws is None:
    return np.broadcast_to(groups, place.rows.shape), place.rows
  rngs = map(np.random.default_rng, place.draws)
  firsts = zip(place.groups, place.rows[:, 0], rngs)
  if rows.either:
    pairs = [[(group, own), wrong(rows, group, own, rng)]
             for group, own, rng in firsts]
    return tuple(np.moveaxis(np.array(pairs), 2, 0))
  texts = np.stack([[own, *others(rows, group, rng)]
                    for group, own, rng in firsts])
  return np.broadcast_to(groups, texts.shape), texts


def shown(rows: Texts, place: Place) -> np.ndarray:
  """int[P], the pictures of a batch; with negatives='either' one a row."""
  if not (rows.either and place.training):
    return place.groups
  return together(rows, place)[0].reshape(-1)


def wrong(rows: Texts, picture: int, text: int, rng: np.random.Generator
          ) -> tuple[int, int]:
  """A pair that does not belong together, of one that does.

  Args:
    rows: of the split.
    picture: its number.
    text: of one of its texts.
    rng: what is drawn from.

  Returns:
    The picture with the text of another one, or another picture with the text.

  Reference: MiniVLM, arXiv 2012.06946, and OSCAR, ECCV 2020, retrieval.
  """
  if rng.random() < _OTHER_TEXT:
    return picture, *others(rows, picture, rng)
  same, start = rows.same[text], rows.start
  return *apart(
      len(start) - 1, lambda one: same not in rows.same[
          start[one]:start[one + 1]], 1, rng, 'pictures without the text of '
      'another one', 'Raise config.data.limit.'), text


def others(rows: Texts, picture: int, rng: np.random.Generator) -> list[int]:
  """Different texts of other pictures, none equal to one of the picture's."""
  own = set(rows.same[rows.start[picture]:rows.start[picture + 1]].tolist())
  return apart(
      len(rows.texts), lambda text: rows.same[text] not in own, rows.drawn - 1,
      rng, 'texts of other pictures', 'Lower config.data.texts_per_picture, or '
      'raise config.data.limit.')


def apart(count: int, fits: Callable[[int], bool], wanted: int,
          rng: np.random.Generator, what: str, remedy: str) -> list[int]:
  """Different numbers below `count` of those that fit, by chance.

  Args:
    count: numbers that there are.
    fits: which of them may be drawn.
    wanted: how many are.
    rng: what is drawn from.
    what: they are, for errors.
    remedy: what helps where too few fit.

  Raises:
    ValueError: fewer than `wanted` fit.
  """
  found = []
  # Of few, or where few fit, trying would take long, or for ever.
  for _ in range(_TRIES * wanted if count >= 4 * (wanted + 1) else 0):
    if len(found) == wanted:
      return found
    one = int(rng.integers(count))
    if one not in found and fits(one):
      found.append(one)
  there = [one for one in range(count) if fits(one)]
  if len(there) < wanted:
    raise ValueError(f'{wanted} {what} were to be drawn, but there are '
                     f'{len(there)}. {remedy}')
  return rng.permutation(there)[:wanted].tolist()


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
  label = np.int32(0)
  return Form(
      what='texts', unit='pairs', floor='random order',
      parts=captions.form(features).parts, options=Options,
      kinds=lambda options, features: kinds_lib.of_inputs(options.inputs),
      names=('words',), read=read, vocabularies=captions.vocabularies,
      encode=encode, make=make,
      types=lambda sizes, options, training: {
          'match': label, 'picture': label, 'text': label},
      lacks=lambda rows: '', prior=prior, chosen=1, chunks=chunks,
      shown=shown, ceiling=ceiling)
