"""Sentences about pictures, which a model learns to write.

A batch has, for P pictures of Q captions each, B = P Q:
  tokens: int32[B, T].
  picture: int32[B], its number within the split.
  tags: int32[B, G], what is in the picture, as a second text behind the
    caption: pieces of words and a closing token, but no opening one; nothing
    where a picture has no tags. If config.data.max_tags is G.

Digit scenes have no tags, but plates: config.data.plate_tags=('color', 'digit')
makes 'red 7' a tag of confidence 1.
"""
from collections.abc import Callable, Iterable, Mapping, Sequence
import dataclasses
from typing import Any

from bst_jax.data import kinds as kinds_lib
from bst_jax.data import options as options_lib
from bst_jax.data import tokens
from bst_jax.data.forms import Context, Form, Place
from bst_jax.data.vocabularies import Vocabularies
from bst_jax.elastic import check_name
import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(options_lib.Texts):
  """config.data of captions."""

  max_tokens: int = 30  # Of digit scenes none has more.
  texts_per_picture: int = 1  # They share the picture in a batch.
  eval_texts_per_picture: int = 0  # The same in evaluation; 0: as above.
  max_tags: int = 0  # Tokens of a picture's tags; 0: none are read.
  least_confidence: float = 0.2  # Tags with less are left out.
  unique_tags: bool = False  # Each name once, by the alphabet.
  # What of a plate of digit scenes is a tag; (): the records' own are read.
  plate_tags: tuple[str, ...] = ()

  def __post_init__(self):
    super().__post_init__()
    if self.max_tags < 0 or not 0 <= self.least_confidence <= 1:
      raise ValueError(
          f'config.data.max_tags is {self.max_tags} and least_confidence '
          f'{self.least_confidence}; tags have a number of tokens, 0 for none, '
          'and a confidence from 0 to 1.')

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
    tags: of each picture, one behind the other; None where none are read.
    tag_tokens: int32[n, G]; None as they are read, or where none are.
  """

  texts: list[str]
  start: np.ndarray
  tokens: np.ndarray | None = None
  pictures = None
  _: dataclasses.KW_ONLY
  tags: list[str] | None = None
  tag_tokens: np.ndarray | None = None

  @property
  def owner(self) -> np.ndarray:
    """int64[m], the picture of each."""
    return np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))

  @property
  def tags_of(self) -> np.ndarray:
    """int64[m], which of the tags stand behind each."""
    return self.owner


def read(records: Iterable[Mapping], lengths: Sequence[int] = (),
         context: Context | None = None) -> Captions:
  """The captions of records, and their tags if they are asked for.

  Raises:
    ValueError: tags are asked for and records have none.
  """
  del lengths
  each, tags = with_tags(records, context)
  return dataclasses.replace(joined(each), tags=tags)


def with_tags(records: Iterable[Mapping], context: Context | None
              ) -> tuple[list[list[str]], list[str] | None]:
  """The captions of each record, and its tags; None where none are asked for.

  Raises:
    ValueError: tags are asked for and records have none.
  """
  each, tags, tags_of = [], [], tagger(context)
  for record in records:
    each.append([text.decode() for text in record['captions']])
    if tags_of:
      tags.append(tags_of(record))
  return each, tags if tags_of else None


def tagger(context: Context | None) -> Callable[[Mapping], str] | None:
  """A record -> its tags, one behind the other; None if none are asked for.

  Raises:
    ValueError: tags are asked for and records have none.
  """
  options = context.options if context else Options()
  if not options.max_tags:
    return None
  if options.plate_tags and 'plates' in context.features:
    plates = context.features['plates']
    for part in options.plate_tags:
      check_name(part, plates.keys(), 'property of a plate')
    names = [plates[part].names for part in options.plate_tags]
    return lambda record: ' '.join(_once(
        [' '.join(name[i] for name, i in zip(names, plate)) for plate in zip(
            *(record['plates'][part] for part in options.plate_tags))],
        options))
  if 'tags' not in context.features:
    raise ValueError(
        f'config.data.max_tags is {options.max_tags}, but records of '
        f'{options.name} have no tags. Leave it 0, or use a data set that has '
        'them, as caption_list with a tags.jsonl; or regions of an extractor, '
        'config.data.features, whose classes are tags; plates of digit scenes '
        "are by config.data.plate_tags=('color', 'digit').")
  return lambda record: chosen(record['tags'], options)


def chosen(tags: Mapping[str, Any], options: Options) -> str:
  """Names of a record's tags that are sure enough, one behind the other.

  Args:
    tags: `name`, bytes of each, and `confidence`.
    options: say how sure, and whether a name comes once.
  """
  # Records have float32, in which 0.7 is less than the 0.7 of a config.
  least = np.float32(options.least_confidence)
  names = [name.decode() for name, confidence in zip(
      tags['name'], tags['confidence']) if confidence >= least]
  return ' '.join(_once(names, options))


def _once(names, options):
  return sorted({*names}) if options.unique_tags else names


def joined(each: Sequence[Sequence[str]]) -> Captions:
  """Captions of a list for each picture."""
  return Captions([text for texts in each for text in texts],
                  np.cumsum([0, *map(len, each)]))


def vocabularies(context: Context) -> Vocabularies:
  """Words of the captions, and then those of tags if they are read."""
  words = tokens.vocabulary(context)
  options = context.options
  if getattr(options, 'max_tags', 0) and not options.word_pieces:
    tags = context.rows(options.words_from or options.train).tags
    words = words.longer(tags)
  return Vocabularies(words)


def encode(rows: Captions, names: Vocabularies, context: Context) -> Captions:
  """Captions and tags as numbers."""
  options, tags = context.options, None
  if rows.tags is not None:
    tags = tokens.behind(rows.tags, names.words, options.max_tags, 'tags')
  return dataclasses.replace(rows, tag_tokens=tags, tokens=tokens.encode(
      rows.texts, names.words, options.max_tokens, 'captions'))


def make(rows: Captions, place: Place, pictures: dict) -> dict:
  """The captions of a batch beside their pictures."""
  which, mask = place.rows.reshape(-1), place.mask.reshape(-1)
  picture = np.repeat(place.groups, place.rows.shape[1])
  labels = {'tokens': rows.tokens[which], 'picture': picture.astype(np.int32)}
  if rows.tag_tokens is not None:
    labels['tags'] = rows.tag_tokens[picture]
  return pictures | {key: tokens.blank(array, mask)
                     for key, array in labels.items()} | {'mask': mask}


def form(features) -> Form:
  """Captions of pictures, with tags where records have them."""
  parts = 'captions', *(p for p in ('tags', 'plates') if p in features)
  return Form(
      what='captions', unit='captions', floor='none', parts=parts,
      options=Options,
      kinds=lambda options, features: kinds_lib.of_inputs(options.inputs),
      names=('words',), read=read, vocabularies=vocabularies, encode=encode,
      make=make,
      types=lambda sizes, options, training: {'picture': np.int32(0)},
      lacks=lambda rows: '',
      prior=lambda train, asked, names, context: {})
