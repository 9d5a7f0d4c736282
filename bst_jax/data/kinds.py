"""Kinds of inputs that models read: one row each, of all that is to be known.

A new input of models is a new row. Nothing here loads a library of data sets
before a file or a record is read.
"""
from collections.abc import Callable, Mapping, Sequence
import dataclasses
import math
import os
import pathlib
from typing import Any, NamedTuple

from bst_jax.data import image as image_lib
from bst_jax.data import widen
from bst_jax.data.frame import Frame
import numpy as np

Record = Mapping[str, Any]
_MOST = 1 << 31  # of what a size may be


@dataclasses.dataclass(frozen=True)
class Reading:
  """How records become arrays of one shape.

  Attributes:
    num_regions: N; fewer are filled up, more are cut off.
    blank_regions: fill up with features of -1 in place of zeros. Models leave
      rows of zeros out, and attention, which averages, then cannot tell how
      many regions there were; blank ones stay in.
    image_size: height and width of pictures, or one number for a square.
    image_fit: how pictures come to their size, a name in `image.FITS`.
    image_shorter: pixels of their shorter side at most, see `image.placed`.
    name: of what is read, for errors.
    words: the vocabulary of texts.
    max_tokens: words that a model reads of a text.
    clips: how frames of a video are taken, see `clips.Clips`.
    strip: frames of a picture that is a video's; 0 for video files.
  """

  num_regions: int = 0
  blank_regions: bool = False
  image_size: int | tuple[int, ...] = 0
  image_fit: str = 'stretch'
  image_shorter: int = 0
  name: str = 'the data'
  words: Any = None
  max_tokens: int = 0
  clips: Any = None
  strip: int = 0


class Kind(NamedTuple):
  """One kind of input.

  Attributes:
    of: 'picture' or 'row': what has one of it in a batch.
    parts: features of the records that it is read from.
    size: the name in `sizes` that data with this input have.
    sizes: one of it -> everything that `sizes` says of it.
    row: sizes -> one of it, of the right shape and type.
    decode: (record, how it is read, where its picture lies on its canvas) ->
      one of it; the frame is None where no picture is read.
    file: (a user's file or text, name of the data set) -> record.
    about: the card of an exported model -> what one is, for people.
    into: as `decode`, with a place that it is written to; None where `decode`
      alone is quick enough.
  """

  of: str
  parts: tuple[str, ...]
  size: str
  sizes: Callable[[np.ndarray], dict[str, Any]]
  row: Callable[[Mapping[str, Any]], np.ndarray]
  decode: Callable[[Record, Reading, Frame | None], np.ndarray]
  file: Callable[[str | os.PathLike, str], dict[str, Any]]
  about: Callable[[Mapping[str, Any]], str]
  into: Callable[[Record, Reading, Frame | None, np.ndarray], None] | None = (
      None)


_FITS = {
    'stretch': 'bilinear to this size',
    'crop': 'bicubic until a seventh sticks out, the middle of it',
    'black': 'bilinear into this size, black bars beside it',
    'mean': 'bilinear into this size, bars of 123 117 104 beside it',
    'corner': 'bilinear into the upper left corner, black beside it',
}


def image_fit(data: Mapping[str, Any]) -> str:
  """How a `config.data` brings pictures to size: 'crop' where they have classes.
  """
  return data.get('image_fit', 'stretch' if 'inputs' in data else 'crop')


# Texts.

BYTE_PAIRS = 'byte pairs'  # What a card says of the pieces of words.


def pieces_of(path: str | os.PathLike | None) -> str:
  """Whose pieces a vocabulary at `config.data.word_pieces` has; '' for none."""
  if not path:
    return ''
  return BYTE_PAIRS if str(path).endswith('.json') else 'word pieces'


def _words(card):
  if card['word_pieces'] == BYTE_PAIRS:
    return ('byte pairs of RoBERTa, numbers of vocab/words.json, <s> first and '
            '</s> last, <pad> to the right')
  words = (
      'BERT word pieces of vocab/words.json, [CLS] first and [SEP] last'
      if card['word_pieces'] else 'words as numbers of vocab/words.json; lower '
      "case, without `. , ' ! ? \" ( ) * # : ;`, `-` and `/` as spaces; 1 for "
      'unknown words')
  return f'{words}, 0 to the right'


def _tokens(record, reading, frame):
  del frame
  return reading.words.encode(record['text'], reading.max_tokens)


def _no_places(*_):
  raise ValueError('words are masked in texts of pre-training alone; give a '
                   'model that was trained to answer, or to match.')


def _no_tags(*_):
  raise ValueError('tags are read of records of captions, and not of a file; '
                   'give config.data.form captions, whose records have them.')


# Regions.


def _filled(key):
  """Reads rows of a record's matrix, as many as are asked for."""
  def rows(record, frame):
    if frame is not None and key == 'boxes':
      return frame.boxes(record[key])
    return record[key]

  def into(record, reading, frame, out):
    given = rows(record, frame)[:reading.num_regions]
    widen.into(given, out[:len(given)])
    out[len(given):] = (
        -1 if reading.blank_regions and key == 'regions' else 0)

  def decode(record, reading, frame):
    out = np.empty((reading.num_regions, record[key].shape[1]), np.float32)
    into(record, reading, frame, out)
    return out
  return dict(decode=decode, into=into)


def _found(path, name):
  """Regions and boxes that a data set's own detector finds in a file."""
  from bst_jax.data.making import (
    data_sets,  # It loads the library of data sets.
  )

  read = data_sets.region_reader(name)
  if read is None:
    raise ValueError(
        f'the model takes region features of {name}, which a detector makes; a '
        'picture alone is not enough. Give the workdir of that detector, as '
        "predict --extractor, or a model with 'image' among config.data.inputs, "
        'which takes pictures.')
  regions, boxes = read(image_lib.decode(_picture(path, name)['image'],
                                         name=str(path)))
  return {'regions': regions, 'boxes': boxes}


def _about_regions(card):
  fill = '-1' if card['blank_regions'] else '0'
  return f'features of regions, rows of {fill} for fewer'


# Pictures and videos.


def _picture(path, name):
  del name
  if not (path := pathlib.Path(path)).is_file():
    raise ValueError(f'there is no picture {path}; give a PNG or JPEG file.')
  return {'image': path.read_bytes()}


def pixels(record: Record, name: str) -> np.ndarray:
  """uint8[h, w, 3], the picture of a record, encoded or decoded already."""
  if isinstance(record['image'], np.ndarray):
    return record['image']
  return image_lib.decode(record['image'], name=f'A picture of {name}')


def _drawn(record, reading, frame):
  return frame.draw(pixels(record, reading.name))


def _extent(record, reading, frame):
  del record
  size = image_lib.sides(reading.image_size)
  return np.array(frame.extent if frame else size, np.int32)


def image_sizes(size: Sequence[int]) -> dict[str, Any]:
  """What `sizes` says of pictures of a height and width."""
  height, width = size
  return {'image_size': height if height == width else (height, width)}


def _video(path, name):
  del name
  if not (path := pathlib.Path(path)).is_file():
    raise ValueError(f'there is no video {path}; give a file, as .mp4.')
  return {'video': path.read_bytes()}


def _clip(record, reading, frame):
  from bst_jax.data import clips

  del frame
  return clips.once(record, reading)


KINDS = {
    'tokens': Kind(
        'row', ('text',), 'max_tokens',
        lambda tokens: {'max_tokens': len(tokens)},
        lambda sizes: np.ones(sizes['max_tokens'], np.int32),
        _tokens, lambda text, name: {'text': text}, _words),
    'places': Kind(
        'row', ('text',), 'max_masked', lambda places: {'max_masked': len(places)},
        lambda sizes: np.zeros(sizes['max_masked'], np.int32), _no_places,
        _no_places, lambda card: 'places of words that are asked for'),
    'tags': Kind(
        'row', ('tags',), 'max_tags', lambda tags: {'max_tags': len(tags)},
        lambda sizes: np.ones(sizes['max_tags'], np.int32), _no_tags, _no_tags,
        lambda card: 'names of what is in the picture, in numbers as tokens '
        'are, without a first one, 0 to the right'),
    'regions': Kind(
        'picture', ('regions',), 'num_regions',
        lambda regions: dict(zip(('num_regions', 'feature_size'),
                                 regions.shape)),
        lambda sizes: np.ones((sizes['num_regions'], sizes['feature_size']),
                              np.float32),
        file=_found, about=_about_regions, **_filled('regions')),
    'boxes': Kind(
        'picture', ('boxes',), 'num_regions',
        lambda boxes: {'num_regions': len(boxes)},
        lambda sizes: np.tile(np.float32([0, 0, 1, 1]),
                              (sizes['num_regions'], 1)),
        file=_found, about=lambda card: (
            'x1 y1 x2 y2 of the regions, as shares of the picture'),
        **_filled('boxes')),
    'image': Kind(
        'picture', ('image',), 'image_size',
        lambda image: image_sizes(image.shape[:2]),
        lambda sizes: np.zeros((*image_lib.sides(sizes['image_size']), 3),
                               np.uint8),
        _drawn, _picture,
        lambda card: f'upright, RGB, 0 to 255, {_FITS[card["image_fit"]]}'),
    'extent': Kind(
        'picture', ('image',), 'extents', lambda extent: {'extents': len(extent)},
        lambda sizes: np.array(image_lib.sides(sizes['image_size']), np.int32),
        _extent, _picture, lambda card: 'height and width, in pixels, of what of '
        'the image is picture: its upper left corner'),
    'clip': Kind(
        'picture', ('video', 'frames', 'strip', 'clip'), 'clip_size',
        lambda clip: {'clip_size': clip.shape[:3]},
        lambda sizes: np.zeros((*sizes['clip_size'], 3), np.uint8),
        _clip, _video,
        lambda card: 'frames at equal distances, upright, RGB, 0 to 255, '
        f'{_FITS[card["image_fit"]]}'),
}
# What config.data.inputs may name, and what each brings along.
INPUTS = {'regions': ('regions', 'boxes'), 'image': ('image',),
          'extent': ('extent',)}


# How many numbers a size may have; others are what a user's own form says.
_NUMBERS = {'vocab_size': (1,), 'num_answers': (1,), 'max_tokens': (1,),
            'max_masked': (1,), 'max_tags': (1,), 'num_regions': (1,),
            'feature_size': (1,), 'image_size': (1, 2), 'extents': (1,), 'clip_size': (3,)}
_MOST_OF_A_ROW = image_lib.MAX_PIXELS
_OF_A_ROW = (('max_tokens',), ('num_regions', 'feature_size'), ('clip_size',))
_WHERE = ('Sizes are in vocab/sizes.json of a workdir, or config.data.sizes.')


def check_sizes(sizes: Mapping[str, Any]) -> None:
  """Raises where sizes, which a file may tell, are no sizes of data."""
  each_of = {name: size if isinstance(size, (tuple, list)) else [size]
             for name, size in sizes.items() if name in _NUMBERS}
  for name, each in each_of.items():
    if len(each) not in _NUMBERS[name] or not all(
        isinstance(n, (int, np.integer)) and n is not True and 0 < n < _MOST
        for n in each):
      raise ValueError(
          f'The data were said to have the size {name} = {sizes[name]!r}, but it '
          f'must be {" or ".join(map(str, _NUMBERS[name]))} positive whole '
          f'numbers. {_WHERE}')
  if 'image_size' in sizes:
    image_lib.sides(sizes['image_size'])
  for names in _OF_A_ROW:
    there = {name: sizes[name] for name in names if name in each_of}
    total = math.prod(n for name in there for n in each_of[name])
    if total > _MOST_OF_A_ROW:
      raise ValueError(
          f'The data were said to have the sizes {there}, which are {total:,} '
          f'numbers in one row, but {_MOST_OF_A_ROW:,} are the most. {_WHERE}')


def of_inputs(inputs: Sequence[str]) -> tuple[str, ...]:
  """Names of the kinds that config.data.inputs stands for."""
  return tuple(kind for name in inputs for kind in INPUTS[name])


def in_sizes(sizes: Mapping[str, Any]) -> tuple[str, ...]:
  """Names of the kinds that data of these sizes have."""
  return tuple(name for name, kind in KINDS.items() if kind.size in sizes)
