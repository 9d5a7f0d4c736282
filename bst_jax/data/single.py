"""One picture or video, and a question, as the batch that a model takes."""
from collections.abc import Mapping
import os
import pathlib
from typing import Any

from absl import logging
from bst_jax import inputs as inputs_lib
from bst_jax.data import clips as clips_lib
from bst_jax.data import image as image_lib
from bst_jax.data import labels, records, tables, text, video, word_pieces
import numpy as np


def batch(config: Mapping[str, Any], sizes: Mapping[str, int],
          words: word_pieces.Words | None, picture: str | os.PathLike,
          question: str | None = None) -> dict[str, np.ndarray]:
  """A batch of one picture and at most one question, P = B = 1.

  Unknown words and words beyond the model's length are named in a warning.

  Args:
    config: `config.data` of the model's training.
    sizes: what the data decided: max_tokens, num_regions, image_size, ….
    words: the question vocabulary; None for models that are asked nothing.
    picture: PNG or JPEG file; a video file for models of videos.
    question: in the words of the training questions.

  Returns:
    tokens int32[1, T] if there is a question and, by the model's inputs, image
    uint8[1, H, W, 3], clip uint8[1, T, H, W, 3] or regions float32[1, N, F]
    with boxes float32[1, N, 4].

  Raises:
    ValueError: no such file, no picture, no word in the question, a question
      too many or too few, or regions that cannot be computed from a picture.
  """
  arrays = {} if words is None else _tokens(sizes, words, question)
  if words is None and question:
    raise ValueError('the model tells what a picture shows and is asked '
                     'nothing; leave the question out.')
  read = _clip if 'clip_size' in sizes else _picture
  return arrays | read(config, sizes, pathlib.Path(picture))


def _tokens(sizes, words, question):
  if question is None:
    raise ValueError('the model answers questions; give one.')
  if not text.tokenize(question):
    raise ValueError(f'the question {question!r} has no word in it.')
  length = sizes['max_tokens']
  ids = words.encode(question, length)
  unknown = words.unknown(question)
  if unknown:
    logging.warning('Unknown words, read as the same blank: %s.',
                    ', '.join(unknown))
  if words.count(question) > length:
    logging.warning('The model reads %d of the %d tokens of the question: %s.',
                    length, words.count(question), words.decode(ids))
  return {'tokens': ids[None]}


def _picture(config, sizes, path):
  inputs = tuple(config.get('inputs', ('image',)))
  if not path.is_file():
    raise ValueError(f'there is no picture {path}; give a PNG or JPEG file.')
  record = {'image': path.read_bytes()}
  if 'regions' in inputs:
    read = records.region_reader(config['name'])
    if read is None:
      raise ValueError(
          f'the model takes region features of {config["name"]}, which an '
          'outside detector makes; a picture alone is not enough. A model '
          "with 'image' among config.data.inputs takes pictures.")
    record['regions'], record['boxes'] = read(
        image_lib.decode(record['image'], name=str(path)))
  decoder = tables.Decoder(inputs, sizes.get('num_regions', 0),
                           sizes.get('image_size', 0), path.name,
                           config.get('blank_regions', False),
                           inputs_lib.image_fit(config))
  return {k: x[None] for k, x in decoder(record).items()}


class _File:
  """A video file as the only record of a split, for `clips.Clips`."""

  def __init__(self, path: pathlib.Path):
    self.name, self._data = str(path), path.read_bytes()

  def __len__(self) -> int:
    return 1

  def __getitem__(self, i: int) -> dict[str, bytes]:
    return {'video': self._data}

  def column(self, name: str) -> np.ndarray:
    """A number of the record: how many frames it has, or a class unknown."""
    return np.array([video.Video(self._data, self.name).count
                     if name == 'frames' else -1])


def _clip(config, sizes, path):
  if not path.is_file():
    raise ValueError(f'there is no video {path}; give a file, as .mp4.')
  known = labels.DEFAULTS | clips_lib.OPTIONS
  options = known | {k: v for k, v in config.items() if k in known}
  frames, *size = sizes['clip_size']
  options |= dict(frames=frames, cache=False, shuffle_frames=False)
  clips = clips_lib.Clips(_File(path), options, tuple(size))
  return {'clip': clips.once().plain(np.array([0]))}
