"""Objects in pictures: boxes, classes and attributes; one row a picture.

A batch has, for P pictures of M objects at most, of which K attributes at most
are told:
  object_boxes: float32[P, M, 4], x1 y1 x2 y2 as shares of the picture as the
    batch has it, with its bars.
  object_classes: int32[P, M].
  object_attributes: int32[P, M, K], numbers in one list of all attributes.
  object_attribute_mask: bool[P, M, K], which of them are told. An object of
    which none is told is unlabelled: it says nothing of any attribute.
  object_mask: bool[P, M], false for padding, for what training cut off, and for
    crowds.
  object_crowd: bool[P, M], regions of many objects that nobody told apart. None
    is an object to be found; what is found in one is neither right nor wrong.
  object_area: float32[P, M], in square pixels of the picture's own size; by it
    evaluation sorts objects into small, medium and large.
  picture_size: int32[P, 2], height and width of the picture itself, in pixels.
  picture_place: float32[P, 4], x1 y1 x2 y2 of the whole picture as shares of
    the canvas; with `picture_size` it brings boxes back into the picture's pixels.
"""
from collections.abc import Collection, Iterable, Mapping, Sequence
import dataclasses
import itertools

from absl import logging
from bst_jax.data import kinds as kinds_lib
from bst_jax.data import objects as objects_lib
from bst_jax.data import options as options_lib
from bst_jax.data.forms import Context, Form, Place
from bst_jax.data.vocabularies import Vocabularies
import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(options_lib.Pictured):
  """config.data of objects."""

  inputs: tuple[str, ...] = ('image',)
  num_objects: int = 0  # Of a picture in a batch; 0: the most of any.
  most_attributes: int = 16  # Of an object in a batch.
  empty_pictures: bool = True  # Train on pictures without objects, too?

  def __post_init__(self):
    super().__post_init__()
    if self.recipe.rand_augment:
      raise ValueError(
          'config.data.augment of objects may crop, flip, erase and repeat, as '
          'boxes go with that; leave rand_augment out.')
    for key in ('num_objects', 'most_attributes'):
      if getattr(self, key) < 0:
        raise ValueError(f'config.data.{key} is {getattr(self, key)}; give a '
                         'number from 0 on.')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plates(Options):
  """config.data of objects that have a column of properties each."""

  object_class: str = 'digit'  # What of an object is its class.
  attributes: tuple[str, ...] = ('color', 'shape', 'size', 'ink')


@dataclasses.dataclass
class Objects:
  """How many objects each picture of a split has; they are read with it.

  Attributes:
    count: int64[n], objects of each picture without crowds.
    crowds: int64[n].
    numbers: int64[n], of the pictures in the user's file; None without such.
    start: int64[n + 1]: a row a picture, and none where training leaves it out.
  """

  count: np.ndarray
  crowds: np.ndarray
  numbers: np.ndarray | None = None
  start: np.ndarray | None = None
  pictures = None

  def __post_init__(self):
    if self.start is None:
      self.start = np.arange(len(self.count) + 1)


def read(records: Iterable[Mapping], lengths: Sequence[int] = (),
         context: Context | None = None) -> Objects:
  """A row for each record."""
  del lengths, context
  rows = [(r['num_objects'], r['num_crowds'], r['picture'])
          if 'num_objects' in r else (len(r['boxes']), 0, -1) for r in records]
  count, crowds, numbers = np.array(rows, np.int64).reshape(-1, 3).T
  return Objects(count, crowds, None if (numbers < 0).any() else numbers)


def beside(records) -> Objects:
  """The same, which lies beside the records."""
  return Objects(*(records.column(name) for name in (
      'num_objects', 'num_crowds', 'picture')))


def vocabularies(context: Context) -> Vocabularies:
  """Names of classes and attributes; numbers of classes in their file."""
  options, features = context.options, context.features
  if 'objects' not in features:
    plates = features['plates']
    _reader(context)  # Checks the names.
    return Vocabularies(
        answers=tuple(plates[options.object_class].names),
        attributes=tuple(value for name in options.attributes
                         for value in plates[name].names))
  objects = features['objects']
  return Vocabularies(
      answers=tuple(objects['label'].feature.names),
      attributes=tuple(objects['attribute'].feature.names or ()),
      numbers=tuple(map(str, context.facts.numbers)))


def encode(rows: Objects, names: Vocabularies, context: Context) -> Objects:
  """Rows that training goes over; what has no room in a batch is told.

  Raises:
    ValueError: the model's classes, their numbers or the attributes are others
      than those of the data.
  """
  _check_same(vocabularies(context), names, context.options.name)
  most, total = _most(context), rows.count + rows.crowds
  over = total > most
  if over.any():
    logging.warning(
        '%s: %d of %d pictures have more objects than the %d of a batch, one '
        'as many as %d: %d objects are not seen. Set config.data.num_objects to '
        '%d to see them all.', context.options.name, over.sum(), len(total),
        most, total.max(), (total - most)[over].sum(), total.max())
  if context.options.empty_pictures:
    return rows
  return dataclasses.replace(
      rows, start=np.concatenate([[0], np.cumsum(rows.count > 0)]))


def _check_same(own, known, data):
  """Raises where a model's names are not those of the data."""
  whats = {'answers': 'classes', 'numbers': 'numbers of classes',
           'attributes': 'attributes'}
  for name, what in whats.items():
    mine, models = getattr(own, name) or (), getattr(known, name) or ()
    if mine == models or (name == 'attributes' and not mine):
      continue
    place, *pair = next(
        (place, *pair) for place, pair in enumerate(itertools.zip_longest(
            models, mine)) if pair[0] != pair[1])
    raise ValueError(
        f'{data} was to be read for a model of other {what}: of '
        f'{len(models)} the model has, and {len(mine)} the data have, the '
        'first to differ is number {}: {!r} of the model and {!r} of the data. Give '
        'data with the same list, or train on with this one: train --from '
        'WORKDIR --config.start.fresh="(\'head\',)".'.format(place, *pair))


def _most(context):
  """Objects of a picture in a batch."""
  return context.options.num_objects or max(1, context.facts.num_regions)


def _reader(context):
  """A record -> its objects."""
  options, features = context.options, context.features
  if 'objects' in features:
    return objects_lib.of_objects(_attributes(context))
  return objects_lib.of_plates(features, options.object_class,
                               options.attributes)


def _attributes(context):
  """Attributes of an object in a batch."""
  options, features = context.options, context.features
  if 'objects' not in features:
    return len(options.attributes)
  return options.most_attributes if (
      features['objects']['attribute'].feature.names) else 0


def labels(context: Context) -> dict[str, kinds_lib.Kind]:
  """What lies in the pictures, by the key of a batch."""
  parts = ('objects',) if 'objects' in context.features else ('boxes', 'plates')
  return objects_lib.kinds(_reader(context), parts, _most(context),
                           _attributes(context))


def make(rows: Objects, place: Place, pictures: dict) -> dict:
  """The pictures of a batch, which have their objects."""
  del rows
  return pictures | {'mask': place.mask.reshape(-1) & (place.groups >= 0)}


def types(sizes: Mapping, options: Options, training: bool) -> dict:
  """What a batch has of the objects of each picture."""
  del training
  return objects_lib.types(sizes['num_objects'], sizes.get(
      'object_attributes', len(getattr(options, 'attributes', ()))))


def chunks(rows: Objects, many: int
           ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Evaluation goes over all pictures, also over those without objects."""
  del many
  count = len(rows.count)
  return np.arange(count), np.arange(count), np.ones(count, int)


def _lacks(rows):
  return '' if rows.count.any() else 'none of its pictures has an object'


def form(features: Collection[str]) -> Form:
  """Objects in pictures."""
  filed = 'objects' in features
  counts = ('num_objects', 'num_crowds', 'picture')
  return Form(
      what='pictures with objects', unit='pictures', floor='none',
      parts=counts if filed else ('plates', 'boxes'),
      options=Options if filed else Plates,
      kinds=lambda options, features: kinds_lib.of_inputs(options.inputs),
      names=('answers', 'attributes', *(('numbers',) if filed else ())),
      read=read, beside=beside if filed else None, vocabularies=vocabularies,
      encode=encode, make=make, types=types, lacks=_lacks,
      prior=lambda train, asked, names, context: {}, labels=labels,
      chunks=chunks,
      ids=(lambda rows: list(map(str, rows.numbers))) if filed else None,
      written=(lambda context: dict(zip(
          vocabularies(context).answers, vocabularies(context).numbers)))
      if filed else None)
