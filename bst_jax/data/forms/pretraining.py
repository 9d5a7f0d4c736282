"""Texts of pictures with words masked, beside texts, or tags, of others.

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

With config.data.negatives='tags' a batch also has
  tags: int32[B, G], as of the form `captions`, with masks;
a text has an opening and a closing word, as of the form `captioning`; places go
on from the T of the text to the G of the tags; and Q is 1 in training, where
half of the texts get the tags of another picture. Their match is 0, and what is
masked of these tags is not to be told. A model whose first word does not see
the text can learn this match, and no other.

Records with questions and no captions have questions as texts and their answers
as tags, so that a wrong pair is a question with the answer to another.
"""
from collections.abc import Iterable, Mapping, Sequence
import dataclasses
from typing import Any, ClassVar

from bst_jax.data import asked, tokens
from bst_jax.data.forms import captions, Context, Form, Place, retrieval
from bst_jax.data.vocabularies import Vocabularies
import numpy as np

# What becomes of a masked word: the mask, another word, or nothing.
_MASK, _OTHER = 0.8, 0.9
_WRONG = 0.5  # Share of texts that get the tags of another picture.
_SEED = 0x3A5  # Of masks of evaluation, with the number of a text.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(retrieval.Options):
  """config.data of pre-training."""

  NEGATIVES: ClassVar[tuple[str, ...]] = ('texts', 'tags')

  negatives: str = 'texts'  # What of a wrong pair is another's.
  texts_per_picture: int = 2  # Its own one and drawn ones; of 'tags' 1.
  eval_texts_per_picture: int = 1  # Its own ones.
  masked: float = 0.15  # Share of a text's words.
  max_masked: int = 5  # Of a text, and its tags.

  def __post_init__(self):
    super().__post_init__()
    if (self.negatives == 'tags') != (self.max_tags > 0):
      raise ValueError(
          f'config.data.negatives is {self.negatives!r} and max_tags '
          f'{self.max_tags}, but tags are what is wrong of a pair where they '
          "are read, and only there: use negatives='tags' with a max_tags of "
          "1 or more, as 15, or negatives='texts' without tags.")
    if not 0 < self.masked <= 1 or not 0 < self.max_masked <= self.max_tokens:
      raise ValueError(
          f'config.data.masked is {self.masked} and max_masked '
          f'{self.max_masked}, but a share above 0 and at most 1 of the words is '
          f'masked, of at most max_tokens = {self.max_tokens}.')

  @property
  def per_group(self) -> tuple[int, int]:
    """Texts of a picture in a batch, in training and in evaluation."""
    train = 1 if self.negatives == 'tags' else self.texts_per_picture
    return train, self.eval_texts_per_picture or train


@dataclasses.dataclass
class Texts(retrieval.Texts):
  """Texts as numbers, and how they are masked.

  Attributes:
    mask: number of the mask.
    kept: numbers that are never masked, as those of padding.
    size: of the vocabulary.
    share: of a text's words that are masked.
    most: masks of a text.
    behind: int64[m], which of the tags are those of each text; None without.
    same_tags: int64[k]; equal tags have one number, 0 if there are none.
    different_tags: how many there are, none not counted.
  """

  mask: int = 0
  kept: tuple[int, ...] = ()
  size: int = 0
  share: float = 0.0
  most: int = 0
  behind: np.ndarray | None = None
  same_tags: np.ndarray | None = None
  different_tags: int = 0


class Asked(captions.Captions):
  """Questions as texts, with their answers as tags."""

  @property
  def tags_of(self) -> np.ndarray:
    """int64[m], which of the tags stand behind each."""
    return np.arange(len(self.texts))


def encode(rows: captions.Captions, names: Vocabularies,
           context: Context) -> Texts:
  """Texts as numbers."""
  words, options = names.words, context.options
  whole = retrieval.encode(rows, names, context)
  tags = {}
  if rows.tags is not None and options.max_tags:
    every, same = np.unique(['', *rows.tags], return_inverse=True)
    tags = dict(behind=rows.tags_of, same_tags=same[1:],
                different_tags=len(every) - 1)
  return Texts(
      **{field.name: getattr(whole, field.name)
         for field in dataclasses.fields(whole)},
      mask=words.mask, kept=words.special, size=len(words),
      share=options.masked, most=options.max_masked, **tags)


def masked(ids: np.ndarray, rows: Texts, rng: np.random.Generator,
           open_: np.ndarray | None = None, length: int | None = None
           ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """A text with masks, where they are, and which places are real.

  Of the words that are chosen eight in ten become the mask, one another word,
  and one stays.

  Args:
    ids: int32[T].
    rows: say how.
    rng: what is drawn from.
    open_: int[n], places that may be masked; None: all but those of `kept`.
    length: words that the share is of; None: those that may be masked.

  Returns:
    int32[T]; places int32[K]; bool[K].

  Reference: Devlin et al., "BERT", NAACL 2019, section 3.1.
  """
  if open_ is None:
    open_ = np.flatnonzero(~np.isin(ids, rows.kept))
  length = len(open_) if length is None else length
  count = min(max(1, round(rows.share * length)), rows.most, len(open_))
  chosen = np.sort(rng.permutation(open_)[:count])
  fate = rng.random(count)
  other = rng.integers(rows.size, size=count)
  new = ids.copy()
  new[chosen] = np.where(fate < _MASK, rows.mask, np.where(
      fate < _OTHER, other, ids[chosen]))
  places = np.zeros(rows.most, np.int32)
  places[:count] = chosen
  return new, places, np.arange(rows.most) < count


def masked_with_tags(ids: np.ndarray, rows: Texts, rng: np.random.Generator
                     ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """As `masked`, of a text and the tags behind it, int32[T + G].

  All may be masked but the opening word: closing words, too, so that a model
  learns to stop. The share is of all up to the last tag, with the padding that
  stands between text and tags.

  Reference: MiniVLM, arXiv 2012.06946, pre-training.
  """
  there = np.flatnonzero(ids)
  return masked(ids, rows, rng, there[1:], there[-1] + 1 if len(there) else 0)


def make(rows: Texts, place: Place, pictures: dict) -> dict:
  """The texts of a batch, masked, beside their pictures."""
  if rows.behind is not None:
    return _with_tags(rows, place, pictures)
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


def _with_tags(rows, place, pictures):
  """The same, with tags behind the texts, of which some are others'."""
  which, mask = place.rows.reshape(-1), place.mask.reshape(-1)
  if place.training:  # Also where a batch is tried, before any is drawn.
    _check_tags(rows)
  behind = rows.behind[which]
  if place.draws is None:
    rngs = [np.random.default_rng((_SEED, max(row, 0))) for row in which]
  else:
    rngs = [np.random.default_rng(draw) for draw in place.draws]
    behind = np.array([other_tags(rows, own, rng) if rng.random() < _WRONG
                       else own for own, rng in zip(behind, rngs)])
  match = behind == rows.behind[which]
  whole = np.concatenate([rows.tokens[which], rows.tag_tokens[behind]], 1)
  new, places, told = (np.stack(parts) for parts in zip(*(
      masked_with_tags(ids, rows, rng) for ids, rng in zip(whole, rngs))))
  length = rows.tokens.shape[1]
  labels = {'tokens': new[:, :length], 'tags': new[:, length:],
            'places': places, 'words': np.take_along_axis(whole, places, 1),
            'told': told & (match[:, None] | (places < length)),
            'match': match.astype(np.int32),
            'picture': np.repeat(place.groups, place.rows.shape[1]).astype(
                np.int32)}
  return pictures | {key: tokens.blank(array, mask)
                     for key, array in labels.items()} | {'mask': mask}


def _check_tags(rows):
  """Raises where some tags have no others that could stand in their place."""
  if rows.different_tags < 2:
    raise ValueError(
        "config.data.negatives='tags' puts the tags of other pictures in the "
        f'place of their own, but of {len(rows.same_tags):,} texts or pictures '
        f'there are {rows.different_tags} different tags. Lower config.data.'
        "least_confidence, raise config.data.limit, or use negatives='texts'.")


def other_tags(rows: Texts, own: int, rng: np.random.Generator) -> int:
  """Which tags stand in place of a text's own: neither equal ones nor none."""
  mine = 0, rows.same_tags[own]
  found, = retrieval.apart(
      len(rows.same_tags), lambda one: rows.same_tags[one] not in mine, 1, rng,
      "tags of other pictures, which differ from a picture's own,",
      'Raise config.data.limit, or lower least_confidence.')
  return found


def types(sizes: Mapping, options: Options, training: bool) -> dict:
  """What a batch has of each text."""
  del sizes, training
  number, most = np.int32(0), options.max_masked
  return {'words': np.zeros(most, np.int32), 'told': np.zeros(most, bool),
          'match': number, 'picture': number}


def of_questions(found: asked.Questions) -> Asked:
  """Questions as texts."""
  return Asked([*found.texts], found.start, tags=[*found.truths])


def read_questions(records: Iterable[Mapping], lengths: Sequence[int] = (),
                   context: Context | None = None) -> Asked:
  """The questions of records, with the answers that are held to be true."""
  del lengths, context
  return of_questions(asked.of_records(records))


def beside(records: Any) -> Asked | None:
  """The same, of a file beside the records where there is one."""
  found = records.questions()
  return None if found is None else of_questions(found)


def form(features) -> Form:
  """Texts of pictures with words masked, beside those of other pictures."""
  whole = retrieval.form(features)._replace(
      unit='texts', floor='none', options=Options, encode=encode, make=make,
      types=types, prior=lambda train, asked, names, context: {}, chunks=None,
      shown=None, ceiling=None)
  if 'questions' in features and 'captions' not in features:
    return whole._replace(parts=('questions',), read=read_questions,
                          beside=beside, known_by='picture')
  return whole
