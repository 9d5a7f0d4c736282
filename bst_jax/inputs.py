"""Kinds of inputs that models read: their shapes, and what a card says of them.

`data/` makes them: `source.INPUTS` names those that data sets have.
"""
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np


class Kind(NamedTuple):
  """One kind of input.

  Attributes:
    size: the name in `sizes` that data with this input have.
    of: 'question' or 'picture': what has a row of it in a batch.
    row: sizes -> a row, of its shape and type.
    about: the card of an exported model -> what a row is, for people.
  """

  size: str
  of: str
  row: Callable[[Mapping[str, Any]], np.ndarray]
  about: Callable[[Mapping[str, Any]], str]


def _words(card):
  words = (
      'BERT word pieces of vocab/words.json, [CLS] first and [SEP] last'
      if card['word_pieces'] else 'words as numbers of vocab/words.json; lower '
      "case, without `. , ' ! ? \" ( ) * # : ;`, `-` and `/` as spaces; 1 for "
      'unknown words')
  return f'{words}, 0 to the right'


def _regions(card):
  fill = '-1' if card['blank_regions'] else '0'
  return f'features of regions, rows of {fill} for fewer'


_FITS = {
    'stretch': 'bilinear to this size',
    'crop': 'bicubic until a seventh sticks out, the middle of it',
    'black': 'bilinear into this size, black bars beside it',
    'mean': 'bilinear into this size, bars of 123 117 104 beside it',
}


def image_fit(data: Mapping[str, Any]) -> str:
  """How a `config.data` brings pictures to size: 'crop' where they have classes.
  """
  return data.get('image_fit', 'stretch' if 'inputs' in data else 'crop')


def _pixels(sizes):
  sides = sizes['image_size']  # A number, or height and width.
  sides = (sides, sides) if isinstance(sides, int) else tuple(sides)
  return np.zeros((*sides, 3), np.uint8)


KINDS = {
    'tokens': Kind(
        'max_tokens', 'question',
        lambda sizes: np.ones(sizes['max_tokens'], np.int32), _words),
    'regions': Kind(
        'num_regions', 'picture', lambda sizes: np.ones(
            (sizes['num_regions'], sizes['feature_size']), np.float32),
        _regions),
    'boxes': Kind(
        'num_regions', 'picture', lambda sizes: np.tile(
            np.float32([0, 0, 1, 1]), (sizes['num_regions'], 1)),
        lambda card: 'x1 y1 x2 y2 of the regions, as shares of the picture'),
    'image': Kind(
        'image_size', 'picture', _pixels,
        lambda card: f'upright, RGB, 0 to 255, {_FITS[card["image_fit"]]}'),
    'clip': Kind(
        'clip_size', 'picture',
        lambda sizes: np.zeros((*sizes['clip_size'], 3), np.uint8),
        lambda card: 'frames at equal distances, upright, RGB, 0 to 255, '
        f'{_FITS[card["image_fit"]]}'),
}
