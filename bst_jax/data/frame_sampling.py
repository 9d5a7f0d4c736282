"""Which frames of a video a clip has.

Reference: `uniform` is the sampling of Wang et al., "Temporal Segment
  Networks", ECCV 2016, as X-ViT is trained and evaluated; `dense` that of
  Feichtenhofer et al., "SlowFast Networks for Video Recognition", ICCV 2019,
  as TimeSformer is.
"""
import dataclasses
from typing import Any

from bst_jax.elastic import check_name
import numpy as np

WAYS = ('uniform', 'dense')
SHORT = ('error', 'repeat')


@dataclasses.dataclass(frozen=True)
class Sampling:
  """Chooses T frames of a video of N frames.

  `uniform` cuts the whole video into T equal segments and takes a frame of
  each: a random one in training, the one in the middle in evaluation; V views
  are V places at equal distances within the segments. `dense` takes every
  stride-th frame of a window: it begins anywhere in training; V views have
  windows at equal distances, the first at the beginning and the last at the
  end, and a single view is in the middle.

  Attributes:
    frames: T.
    way: 'uniform' or 'dense'.
    stride: of `dense`, in frames of the file, whatever its frame rate.
    views: V, of evaluation.
    short: what becomes of a video with fewer frames than `span`: 'error', so
      that nobody learns from still pictures unknowingly, or 'repeat' of its
      last frame, as the usual loaders of Kinetics do; TimeSformer-L needs it,
      as its 96 x 4 frames are more than ten seconds have.
  """

  frames: int
  way: str = 'uniform'
  stride: int = 1
  views: int = 1
  short: str = 'error'

  @classmethod
  def of(cls, options: Any) -> 'Sampling':
    """The sampling of `forms.labels.Videos`."""
    check_name(options.sampling, WAYS, 'way to sample frames')
    check_name(options.short, SHORT, 'way with short videos')
    for key in ('frames', 'stride', 'views'):
      value = getattr(options, key)
      if not isinstance(value, int) or value < 1:
        raise ValueError(f'config.data.{key} is {value}; it is a whole '
                         'number, at least 1.')
    if options.sampling == 'uniform' and options.stride != 1:
      raise ValueError(
          f'config.data.stride is {options.stride}, but uniform sampling '
          'goes over the whole video; leave it out, or set '
          "config.data.sampling='dense'.")
    return cls(options.frames, options.sampling, options.stride,
               options.views, options.short)

  @property
  def span(self) -> int:
    """Frames that a video needs for nothing to be repeated."""
    if self.way == 'uniform':
      return self.frames
    return (self.frames - 1) * self.stride + 1

  def drawn(self, count: int, rng: np.random.Generator,
            name: str = 'a video') -> np.ndarray:
    """int[T], ascending: the frames of a training clip of `count` frames."""
    length = self._length(count, name)
    if self.way == 'uniform':
      numbers = self._segments(length, rng.random(self.frames))
    else:
      numbers = self._window(int(rng.integers(length - self.span + 1)))
    return np.minimum(numbers, count - 1)

  def fixed(self, count: int, name: str = 'a video') -> np.ndarray:
    """int[V, T]: the frames of the views of evaluation."""
    length = self._length(count, name)
    if self.way == 'uniform':
      numbers = [self._segments(length, (v + 0.5) / self.views)
                 for v in range(self.views)]
    else:
      spare = length - self.span
      numbers = [self._window((2 * v * spare + self.views - 1)
                              // (2 * self.views - 2) if self.views > 1
                              else spare // 2) for v in range(self.views)]
    return np.minimum(numbers, count - 1)

  def _length(self, count, name):
    """Frames to choose from; those past the last one repeat it."""
    if count < self.span and self.short == 'error':
      raise ValueError(
          f'{name} has {count} frames, but {self.span} were asked for: '
          f'{self.describe()}. {self.advice()}')
    return max(count, self.span)

  def describe(self) -> str:
    """The frames of a clip in words."""
    if self.way == 'uniform':
      return f'config.data.frames is {self.frames}'
    return (f'config.data.frames is {self.frames} and '
            f'config.data.stride {self.stride}')

  def advice(self) -> str:
    """What helps where videos are too short."""
    return ("Ask for fewer, or set config.data.short='repeat', which shows the "
            'last frame again.')

  def _segments(self, length, share):
    place = (np.arange(self.frames) + share) * length / self.frames
    # A share just below one may be rounded up.
    return np.minimum(place.astype(int), length - 1)

  def _window(self, first):
    return first + self.stride * np.arange(self.frames)
