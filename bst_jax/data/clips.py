"""Clips of a split's videos, by number."""
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
import copy
import dataclasses
import functools
import os
from typing import Any

from bst_jax.data import augment as augment_lib
from bst_jax.data import image as image_lib
from bst_jax.data import kinds as kinds_lib
from bst_jax.data import video as video_lib
from bst_jax.data.frame_sampling import Sampling
import numpy as np
from PIL import Image

_CROPS = (1, 3)
_TIMES, _SHUFFLE = 2, 3  # Streams of random numbers, beside `augment`'s.
_SMALL = 2 << 30  # bytes


class Clips:
  """The videos of a split by number; used like `pictures.Pictures`.

  Attributes:
    row: (T, H, W, 3), the shape of a clip.
    in_memory: the videos are decoded.
  """

  def __init__(self, records: Any, options: Any, size: tuple[int, int],
               strip: int = 0,
               recipe: augment_lib.Recipe = augment_lib.Recipe()):
    """Opens the videos of a split.

    Args:
      records: with 'video' and its number of 'frames', or with a 'strip'.
      options: `forms.labels.Videos`.
      size: height and width of a clip.
      strip: frames of each strip; 0 for videos.
      recipe: what becomes of training clips.
    """
    self._records, self._options, self._strip = records, options, strip
    self._sampling, self._crops = Sampling.of(options), options.crops
    self._recipe = recipe
    if self._crops not in _CROPS:
      raise ValueError(f'config.data.crops is {self._crops}; it is 1 or 3.')
    if self._crops > 1 and options.image_fit != 'crop':
      raise ValueError(
          f'config.data.crops is {self._crops}, but with '
          f'config.data.image_fit={options.image_fit!r} there is nothing to '
          "cut. Use crops=1, or image_fit='crop'.")
    self.row = self._sampling.frames, *size, 3
    self._check_long()
    cache, self._kept = options.cache, None
    if cache is True and not strip:
      raise ValueError(
          'config.data.cache is True, but videos are not kept decoded: each '
          "epoch has other frames of them. Set it to 'auto' or False.")
    if cache == 'auto':
      cache = strip and len(records) * self._video(0).nbytes < _SMALL
    if cache:
      self._kept = [self._video(i) for i in range(len(records))]
    self.in_memory = self._kept is not None

  def __len__(self) -> int:
    return len(self._records)

  def __call__(self, numbers: np.ndarray,
               draws: list[tuple[int, ...]] | None = None,
               size: tuple[int, int] | None = None) -> dict[str, np.ndarray]:
    """Clips of int[B] videos; zeros where the number is negative.

    Args:
      numbers: of videos.
      draws: seeds of training clips; None for those of evaluation.
      size: not used: clips have one size.
    """
    del size
    asked = np.maximum(numbers, 0)
    clips = self.plain(asked) if draws is None else (
        self.drawn(asked, self._recipe, draws))
    clips[np.repeat(numbers < 0, len(clips) // len(numbers))] = 0
    return {'clip': clips}

  def keep(self, records: Any = None) -> Iterator[Mapping[str, Any]]:
    """The records in order, of which the videos are kept already."""
    return iter(self._records if records is None else records)

  @property
  def rows(self) -> int:
    """V, clips of a video in evaluation: each crop of each view."""
    return self._sampling.views * self._crops

  def once(self) -> 'Clips':
    """The same with one clip of a video in evaluation."""
    other = copy.copy(self)
    other._options = dataclasses.replace(self._options, views=1, crops=1)
    other._sampling, other._crops = Sampling.of(other._options), 1
    return other

  def plain(self, numbers: np.ndarray) -> np.ndarray:
    """uint8[B V, T, H, W, 3] of int[B], as evaluation has them.

    The V clips of a video stand together, and in it the crops of a view.
    """
    asked = sorted(set(numbers.tolist()))
    each = dict(zip(asked, self._map(self._views, asked)))
    return np.concatenate([each[n] for n in numbers.tolist()])

  def drawn(self, numbers: np.ndarray, recipe: augment_lib.Recipe,
            draws: list[tuple[int, ...]]) -> np.ndarray:
    """uint8[B, T, H, W, 3] of int[B], as training has them.

    What a seed draws for a clip is done to all its frames.
    """
    def clip(number, draw):
      video = self._video(number)
      times = self._sampling.drawn(
          video.count, np.random.default_rng((*draw, _TIMES)), video.name)
      return self._gather(video, times[None], lambda frame: [recipe.picture(
          frame, self.row[1:3], np.random.default_rng(draw),
          self._options.image_fit)])

    return np.concatenate(self._map(clip, numbers.tolist(), draws))

  def _map(self, function, *columns) -> list:
    """As `map`; videos side by side, as a batch of them takes long."""
    if self.in_memory:
      return list(map(function, *columns))
    return list(_threads().map(function, *columns))

  def _views(self, number):
    """uint8[V, T, H, W, 3] of a video."""
    video = self._video(number)
    clips = self._gather(
        video, self._sampling.fixed(video.count, video.name), self._cut)
    if self._options.shuffle_frames:
      rng = np.random.default_rng((_SHUFFLE, number))
      clips = clips[:, rng.permutation(self._sampling.frames)]
    return clips

  def _gather(self, video, times, change: Callable) -> np.ndarray:
    """uint8[V, T, H, W, 3]: what `change` makes of the frames int[views, T].

    Each frame is decoded once and at once brought to size.
    """
    numbers = np.unique(times).tolist()
    try:
      ready = dict(zip(numbers, map(change, video.frames(numbers))))
    except ValueError as error:
      if self._strip or isinstance(self._records, _Alone):
        raise
      raise ValueError(
          f'{error} To leave such videos out, make the data set anew with '
          "config.data.check_videos='all' and config.data.max_bad.") from error
    return np.stack([
        np.stack([ready[n][crop] for n in view])
        for view in times.tolist() for crop in range(len(ready[numbers[0]]))])

  def _cut(self, frame):
    """The crops of a frame: uint8[H, W, 3] each."""
    image, size = Image.fromarray(frame), self.row[1:3]
    if self._crops == 1:
      return [np.array(
          image_lib.fitted(image, *size, self._options.image_fit))]
    return [np.array(crop) for crop in image_lib.thirds(image, *size)]

  def _video(self, number):
    if self._kept is not None:
      return self._kept[number]
    record = self._records[number]
    name = f'Video {number} of {self._records.name}'
    if isinstance(record.get('clip'), bytes):  # What its file is called.
      name += f', {record["clip"].decode("utf-8", "replace")},'
    if self._strip:
      return video_lib.Strip(record['strip'], self._strip, name)
    return video_lib.Video(record['video'], name)

  def _check_long(self):
    """Raises where videos are too short, before one turns up in training."""
    sampling, total = self._sampling, len(self._records)
    counts = np.full(total, self._strip) if self._strip else (
        self._records.column('frames'))
    short = np.flatnonzero(counts < sampling.span)
    if len(short) and sampling.short == 'error':
      raise ValueError(
          f'{sampling.span} frames of each video of {self._records.name} were '
          f'asked for ({sampling.describe()}), but {len(short)} of {total} '
          f'have fewer, as number {short[0]} with {counts[short[0]]}. '
          f'{sampling.advice()}')


@functools.cache
def _threads() -> futures.ThreadPoolExecutor:
  """Decode videos for all batches: PyAV and Pillow work outside of the GIL."""
  return futures.ThreadPoolExecutor(max(4, os.cpu_count() or 1))


class _Alone:
  """One video as the only record of a split."""

  def __init__(self, record: Mapping[str, Any], name: str):
    self.name, self._record = name, record

  def __len__(self) -> int:
    return 1

  def __getitem__(self, i: int) -> Mapping[str, Any]:
    return self._record

  def column(self, name: str) -> np.ndarray:
    """How many frames it has."""
    del name
    return np.array([video_lib.Video(self._record['video'], self.name).count])


def once(record: Mapping[str, Any], reading: kinds_lib.Reading) -> np.ndarray:
  """uint8[T, H, W, 3], the clip that evaluation has of one video."""
  clips = Clips(_Alone(record, reading.name), reading.clips,
                image_lib.sides(reading.image_size), reading.strip)
  return clips.once().plain(np.array([0]))[0]
