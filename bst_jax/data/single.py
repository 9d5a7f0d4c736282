"""A user's pictures and text as the batch that a model takes."""
from collections.abc import Callable, Mapping, Sequence
import dataclasses
import os
from typing import Any

from absl import logging
from bst_jax.data import forms, text
from bst_jax.data import kinds as kinds_lib
from bst_jax.data import pictures as pictures_lib
from bst_jax.data import words as words_lib
import numpy as np

File = str | os.PathLike


def batch(config: Mapping[str, Any], sizes: Mapping[str, Any],
          words: words_lib.Words | None, picture: File | Sequence[File],
          question: str | None = None,
          regions: Callable[[File], Mapping[str, Any]] | None = None
          ) -> dict[str, np.ndarray]:
  """A batch of one row: a picture, or two, and at most one text.

  Unknown words and words beyond the model's length are named in a warning.

  Args:
    config: `config.data` of the model's training.
    sizes: what the data decided: max_tokens, num_regions, image_size, ….
    words: the vocabulary of texts; None for models that are asked nothing.
    picture: PNG or JPEG file; a video file for models of videos; two files for
      models that compare, left and right.
    question: in the words of the training texts.
    regions: picture file -> a record of its regions and boxes, by the extractor
      of the training; None: by what the data set has itself, if anything.

  Returns:
    tokens int32[1, T] if there is a question and, by the model's inputs, image
    uint8[P, H, W, 3], clip uint8[P, T, H, W, 3] or regions float32[P, N, F]
    with boxes float32[P, N, 4], of P pictures.

  Raises:
    ValueError: no such file, no picture, no word in the question, a question or
      picture too many or too few, or regions that cannot be computed from a
      picture.
  """
  form = forms.create(forms.of_config(config, sizes),
                      ('video',) if 'clip_size' in sizes else ())
  files = [picture] if isinstance(picture, (str, os.PathLike)) else [*picture]
  if len(files) != form.pictures:
    raise ValueError(f'the model reads {form.pictures} pictures at a time, not '
                     f'{len(files)}; give as many files.')
  arrays = {} if words is None else _tokens(sizes, words, question)
  if words is None and question:
    raise ValueError('the model tells what a picture shows and is asked '
                     'nothing; leave the question out.')
  each = [_read(config, sizes, form, file, regions) for file in files]
  return arrays | {key: np.concatenate([one[key] for one in each])
                   for key in each[0]}


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


def _read(config, sizes, form, path, regions):
  """Arrays of one picture or video."""
  own = {key: value for key, value in config.items() if key != 'sizes'}
  options = form.options.of(own, form.what)
  if 'clip_size' in sizes:
    frames, *size = sizes['clip_size']
    options = dataclasses.replace(options, frames=frames, cache=False,
                                  shuffle_frames=False)
  else:
    size = sizes.get('image_size', 0)
  reading = kinds_lib.Reading(
      num_regions=sizes.get('num_regions', 0),
      blank_regions=config.get('blank_regions', False), image_size=size,
      image_fit=kinds_lib.image_fit(config), name=str(path), clips=options,
      image_shorter=config.get('image_shorter', 0))
  record, kinds = {}, {name: kinds_lib.KINDS[name]
                       for name in form.kinds(options, ())}
  if config.get('features') and 'regions' in kinds and regions is None:
    raise ValueError(
        f'the model takes regions that {config["features"]} has of the pictures of '
        'its training, and finds none in others itself. Give the workdir of the '
        'detector that made them, as predict --extractor or '
        'bst_jax.load(…).with_extractor.')
  for name, kind in kinds.items():
    if not set(kind.parts) & record.keys():
      record |= regions(path) if regions and name in kinds_lib.INPUTS[
          'regions'] else kind.file(path, options.name)
  return pictures_lib.Pictures([record], kinds, reading, False)(np.array([0]))
