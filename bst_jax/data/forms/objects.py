"""Objects in pictures: boxes, classes and attributes; one row a picture.

A batch has, for P pictures of M objects at most, of which K attributes are told:
  object_boxes: float32[P, M, 4], x1 y1 x2 y2 as shares of the picture as the
    batch has it.
  object_classes: int32[P, M].
  object_attributes: int32[P, M, K], numbers in one list of all attributes.
  object_mask: bool[P, M], false for padding and for what training cut off.
"""
from collections.abc import Iterable, Mapping, Sequence
import dataclasses

from bst_jax.data import kinds as kinds_lib
from bst_jax.data import options as options_lib
from bst_jax.data.forms import Context, Form, Place
from bst_jax.data.vocabularies import Vocabularies
from bst_jax.elastic import check_name
import numpy as np

_SEEN = 0.25  # of an object's area must be left of it


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(options_lib.Pictured):
  """config.data of objects."""

  inputs: tuple[str, ...] = ('image',)
  num_objects: int = 0  # Of a picture in a batch; 0: as many as regions.
  object_class: str = 'digit'  # What of an object is its class.
  attributes: tuple[str, ...] = ('color', 'shape', 'size', 'ink')

  def __post_init__(self):
    super().__post_init__()
    if self.recipe.rand_augment:
      raise ValueError(
          'config.data.augment of objects may crop, flip, erase and repeat, as '
          'boxes go with that; leave rand_augment out.')


@dataclasses.dataclass
class Objects:
  """How many pictures a split has; their objects are read with them.

  Attributes:
    start: int64[n + 1]: a row a picture.
  """

  start: np.ndarray
  pictures = None


def read(records: Iterable[Mapping], lengths: Sequence[int] = (),
         context: Context | None = None) -> Objects:
  """A row for each record."""
  del lengths, context
  return Objects(np.arange(sum(1 for _ in records) + 1))


def labels(context: Context) -> dict[str, kinds_lib.Kind]:
  """What lies in the pictures, by the key of a batch."""
  options, plates = context.options, context.features['plates']
  most = options.num_objects or context.facts.num_regions
  offsets, total = {}, 0
  for name in options.attributes:
    offsets[name] = total
    total += _classes(plates, name).num_classes

  def padded(values, shape, dtype):
    array = np.zeros((most, *shape), dtype)
    array[:min(most, len(values))] = values[:most]
    return array

  def boxes(record, reading, frame):
    boxes = record['boxes'] if frame is None else frame.boxes(record['boxes'])
    return padded(boxes, (4,), np.float32)

  def classes(record, reading, frame):
    return padded(record['plates'][options.object_class], (), np.int32)

  def attributes(record, reading, frame):
    columns = [np.asarray(record['plates'][name]) + offset
               for name, offset in offsets.items()]
    return padded(np.stack(columns, 1), (len(columns),), np.int32)

  def there(record, reading, frame):
    boxes = record['boxes']
    seen = np.ones(len(boxes)) if frame is None else frame.shown(boxes)
    return padded(seen >= _SEEN, (), bool)

  made = {'object_boxes': (boxes, lambda one: {'num_objects': len(one)}),
          'object_classes': (classes, lambda one: {}),
          'object_attributes': (attributes, lambda one: {}),
          'object_mask': (there, lambda one: {})}
  return {key: kinds_lib.Kind(
      'picture', ('boxes', 'plates'), 'num_objects', sizes,
      lambda sizes, key=key: types(sizes, options, True)[key], decode,
      _no_file, lambda card: 'what is learnt') for key, (decode, sizes) in
          made.items()}


def _no_file(path, name):
  raise ValueError(f'objects in {path} were asked for, which nobody labelled.')


def _classes(plates, name):
  """The feature of the records that names the classes of a column."""
  check_name(name, [key for key, feature in plates.items()
                    if hasattr(feature, 'num_classes')], 'property of objects')
  return plates[name]


def vocabularies(context: Context) -> Vocabularies:
  """Names of classes and of attributes."""
  options, plates = context.options, context.features['plates']
  return Vocabularies(
      answers=tuple(_classes(plates, options.object_class).names),
      attributes=tuple(value for name in options.attributes
                       for value in _classes(plates, name).names))


def make(rows: Objects, place: Place, pictures: dict) -> dict:
  """The pictures of a batch, which have their objects."""
  del rows
  return pictures | {'mask': place.mask.reshape(-1) & (place.groups >= 0)}


def types(sizes: Mapping, options: Options, training: bool) -> dict:
  """What a batch has of the objects of each picture."""
  del training
  most = sizes['num_objects']
  return {'object_boxes': np.zeros((most, 4), np.float32),
          'object_classes': np.zeros(most, np.int32),
          'object_attributes': np.zeros((most, len(options.attributes)),
                                        np.int32),
          'object_mask': np.zeros(most, bool)}


def form(features) -> Form:
  """Objects in pictures."""
  del features
  return Form(
      what='pictures with objects', unit='pictures', floor='none',
      parts=('plates', 'boxes'), options=Options,
      kinds=lambda options, features: kinds_lib.of_inputs(options.inputs),
      names=('answers', 'attributes'), read=read, vocabularies=vocabularies,
      encode=lambda rows, names, context: rows, make=make, types=types,
      lacks=lambda rows: '', prior=lambda train, asked, names, context: {},
      labels=labels)
