"""The objects of a record as arrays of one length, however it has them."""
from collections.abc import Callable, Mapping, Sequence
import threading
from typing import Any, NamedTuple

from bst_jax.data import kinds as kinds_lib
from bst_jax.data.frame import Frame
from bst_jax.elastic import check_name
import numpy as np

_SEEN = 0.25  # of an object's area must be left of it


class Objects(NamedTuple):
  """N objects of a picture, crowds last.

  Attributes:
    boxes: float32[N, 4], x1 y1 x2 y2 as shares of the picture.
    classes: int[N].
    attributes: int[N, K], of which `known` are told.
    known: bool[N, K].
    crowd: bool[N]: a region of objects that nobody told apart.
    area: float32[N], in square pixels of the picture.
    size: height and width of the picture, in pixels.
  """

  boxes: np.ndarray
  classes: np.ndarray
  attributes: np.ndarray
  known: np.ndarray
  crowd: np.ndarray
  area: np.ndarray
  size: tuple[int, int]


Reader = Callable[[Mapping[str, Any]], Objects]


def of_plates(features: Mapping[str, Any], object_class: str,
              attributes: Sequence[str]) -> Reader:
  """Reads records whose boxes have a column of properties each.

  Args:
    features: of the records, with `plates`, `boxes` and `image` of one size.
    object_class: the property that is an object's class.
    attributes: those that are its attributes, all of which are told.
  """
  plates, size = features['plates'], features['image'].shape[:2]
  check_name(object_class, named(plates), 'property of objects')
  offsets, total = [], 0
  for name in attributes:
    check_name(name, named(plates), 'property of objects')
    offsets.append(total)
    total += plates[name].num_classes

  def read(record):
    boxes, plates = record['boxes'], record['plates']
    columns = [np.asarray(plates[name]) + offset
               for name, offset in zip(attributes, offsets)]
    columns = np.array(columns, int).reshape(len(attributes), len(boxes)).T
    return Objects(
        boxes, np.asarray(plates[object_class]), columns,
        np.ones(columns.shape, bool), np.zeros(len(boxes), bool),
        (boxes[:, 2:] - boxes[:, :2]).prod(1) * size[0] * size[1], size)
  return read


def named(features: Mapping[str, Any]) -> list[str]:
  """Which features name what they have."""
  return [key for key, feature in features.items()
          if hasattr(feature, 'num_classes')]


def of_objects(most_attributes: int) -> Reader:
  """Reads records of `builders.of_objects`.

  Args:
    most_attributes: K; more of an object are left out.
  """
  def read(record):
    found, size = record['objects'], tuple(map(int, record['objects']['size']))
    boxes = np.asarray(found['boxes']).reshape(-1, 4)
    attributes = np.zeros((len(boxes), most_attributes), int)
    counts = np.zeros(len(boxes), int)
    for owner, one in zip(found['attribute_of'], found['attribute']):
      if counts[owner] < most_attributes:
        attributes[owner, counts[owner]] = one
        counts[owner] += 1
    return Objects(
        boxes, np.asarray(found['label']), attributes,
        np.arange(most_attributes) < counts[:, None],
        np.asarray(found['is_crowd'], bool),
        np.asarray(found['area']), size)
  return read


# Key of a batch -> what it has of the objects of a picture on a canvas.


def _seen(objects: Objects, frame: Frame | None) -> np.ndarray:
  return np.ones(len(objects.boxes)) if frame is None else frame.shown(
      objects.boxes)


ROWS = {
    'object_boxes': lambda objects, frame: (
        objects.boxes if frame is None else frame.boxes(objects.boxes)),
    'object_classes': lambda objects, frame: objects.classes,
    'object_attributes': lambda objects, frame: objects.attributes,
    'object_attribute_mask': lambda objects, frame: objects.known,
    'object_mask': lambda objects, frame: (
        ~objects.crowd & (_seen(objects, frame) >= _SEEN)),
    'object_crowd': lambda objects, frame: (
        objects.crowd & (_seen(objects, frame) > 0)),
    'object_area': lambda objects, frame: objects.area,
}
PICTURE = {
    'picture_size': lambda objects, frame: np.array(objects.size, np.int32),
    'picture_place': lambda objects, frame: (
        np.float32([0, 0, 1, 1]) if frame is None else frame.place),
}


def types(most: int, attributes: int) -> dict[str, np.ndarray]:
  """{key of a batch: one of it} for M objects with K attributes at most."""
  return {
      'object_boxes': np.zeros((most, 4), np.float32),
      'object_classes': np.zeros(most, np.int32),
      'object_attributes': np.zeros((most, attributes), np.int32),
      'object_attribute_mask': np.zeros((most, attributes), bool),
      'object_mask': np.zeros(most, bool), 'object_crowd': np.zeros(most, bool),
      'object_area': np.zeros(most, np.float32),
      'picture_size': np.zeros(2, np.int32),
      'picture_place': np.zeros(4, np.float32)}


def kinds(read: Reader, parts: Sequence[str], most: int, attributes: int
          ) -> dict[str, kinds_lib.Kind]:
  """What lies in pictures, by the key of a batch, see `forms.objects`.

  Args:
    read: a record -> its objects.
    parts: features of the records that it reads.
    most: objects of a picture; more are left out, crowds first.
    attributes: of an object.
  """
  blank, read = types(most, attributes), _once(read)

  def decoded(key):
    def decode(record, reading, frame):
      del reading
      objects = read(record)
      if key in PICTURE:
        return PICTURE[key](objects, frame)
      values, array = ROWS[key](objects, frame)[:most], blank[key].copy()
      array[:len(values)] = values
      return array
    return decode

  sizes = {'object_boxes': lambda one: {'num_objects': len(one)},
           'object_attributes': lambda one: {'object_attributes': one.shape[1]}}
  return {key: kinds_lib.Kind(
      'picture', tuple(parts), 'num_objects', sizes.get(key, lambda one: {}),
      lambda sizes, key=key: blank[key], decoded(key), _no_file,
      lambda card: 'what is learnt') for key in blank}


def _once(read):
  """Reads a record once for all keys, which come one after the other."""
  last = threading.local()  # Threads read records side by side.

  def again(record):
    if getattr(last, 'record', None) is not record:
      last.objects, last.record = read(record), record
    return last.objects
  return again


def _no_file(path, name):
  raise ValueError(f'Objects in {path} were asked for, but nobody labelled it.')
