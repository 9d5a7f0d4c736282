"""Encoded videos, of which single frames are decoded.

A video is read through PyAV, which the extra `video` installs. A strip is a
short one in a PNG file, its frames one below the other: nothing is lost, and
nothing but Pillow reads it.
"""
import bisect
from collections.abc import Iterator, Sequence
import contextlib
import io

from bst_jax.data import image as image_lib
from bst_jax.elastic import check_name
import numpy as np

CHECKS = 'all', 'ends'
_FEW = 8  # frames: of no more nothing is told by their times
_HOLE, _STEPS = 0.1, 2.5  # of the length, and of the usual time between two
SUFFIXES = ('.mp4', '.webm', '.mkv', '.avi', '.mov', '.m4v')


class Strip:
  """A video in a PNG file; as `Video`."""

  def __init__(self, data: bytes, count: int, name: str = 'a strip'):
    """Decodes all `count` frames: they are few and small."""
    whole = image_lib.decode(data, name=name)
    if len(whole) % count:
      raise ValueError(f'{name} was to have {count} frames, one below the '
                       f'other, but is {len(whole)} pixels high.')
    self.count, self.name, self.nbytes = count, name, whole.nbytes
    self._frames = whole.reshape(count, -1, *whole.shape[1:])

  def frames(self, numbers: Sequence[int]) -> Iterator[np.ndarray]:
    """uint8[h, w, 3] of each number."""
    return (self._frames[n] for n in numbers)


class Video:
  """The first video stream of a file's bytes.

  Frames are decoded from the keyframe before each that is asked for, and kept
  one at a time, so that a long video takes no more memory than its file. They
  come upright, and as their pixels stand, which are taken to be square.

  Attributes:
    count: number of frames.
    lost: how many more there must have been: the head of the file tells of
      them, or, where it does not, a tenth of the video has none.
    name: of the file, for errors.
  """

  def __init__(self, data: bytes, name: str = 'a video'):
    """Reads where the frames are; decodes none if the file says their times.

    Raises:
      ValueError: nothing that can be decoded, or not a single frame; or PyAV
        is not installed.
    """
    self.name, self._data, self._av = name, data, _library()
    if not data:
      raise ValueError(f'{name} was to be decoded, but it is empty. Copy or '
                       'fetch it again.')
    self._times = self._keys = None
    with self._opened() as (container, stream):
      if stream.width * stream.height > image_lib.MAX_PIXELS:
        raise ValueError(
            f'{name} was to be decoded, but its frames of {stream.width:,} x '
            f'{stream.height:,} pixels are more than the '
            f'{image_lib.MAX_PIXELS:,} allowed.')
      every = [p for p in container.demux(stream)
               if p.size or p.dts is not None]
      packets = [(p.pts, p.is_keyframe) for p in every
                 if p.size and not p.is_discard]
      # Where the head of a file tells how many there were.
      self.lost = max(0, stream.frames - len(every)) if stream.frames else (
          _hole([time for time, _ in packets]))
    times = [time for time, _ in packets]
    if None not in times and len(set(times)) == len(times):
      self._times = sorted(times)
      self._keys = sorted(time for time, is_key in packets if is_key)
      self.count = len(times)
    else:  # An old container: only decoding tells the frames.
      self.count = sum(1 for _ in self._all())
    if not self.count:
      raise ValueError(f'{name} was to be decoded, but its video has no '
                       'frames. Copy or fetch it again.')

  def frames(self, numbers: Sequence[int]) -> Iterator[np.ndarray]:
    """Decodes frames.

    Args:
      numbers: ascending, each once, below `count`.

    Yields:
      uint8[h, w, 3] of each number.

    Raises:
      ValueError: a frame cannot be decoded, as the file is damaged.
    """
    left = list(numbers)
    if self._times:
      for array in self._sought(left):
        yield array
        left = left[1:]
    # What was not where the file says: count frames from the first.
    wanted = set(left)
    if wanted:
      for number, frame in enumerate(self._all()):
        if number in wanted:
          yield _pixels(frame)
          left = left[1:]
          if not left:
            break
    if left:
      raise ValueError(
          f'Frame {left[0]} of the {self.count} of {self.name} was to be '
          'decoded, but the file is damaged or cut short before it. Copy or '
          'fetch it again.')

  def _sought(self, numbers):
    """Frames by their times, up to the first that is not found."""
    with self._opened() as (container, stream):
      decoded, at = container.decode(stream), self._times[0] - 1
      for number in numbers:
        time = self._times[number]
        before = bisect.bisect_right(self._keys, time) - 1
        # Jump where a keyframe lies between; else decoding on is quicker.
        if before > 0 and self._keys[before] > at:
          container.seek(self._keys[before], stream=stream)
          decoded = container.decode(stream)
        frame = next((f for f in decoded if f.pts is None or f.pts >= time),
                     None)
        if frame is None or frame.pts != time:
          return
        at = time
        yield _pixels(frame)

  def _all(self):
    with self._opened() as (container, stream):
      yield from container.decode(stream)

  @contextlib.contextmanager
  def _opened(self):
    """The container and its stream; what PyAV raises names the file."""
    try:
      with self._av.open(io.BytesIO(self._data)) as container:
        if not container.streams.video:
          raise ValueError(
              f'{self.name} was to be decoded, but it has no video stream, '
              'only '
              f'{", ".join(s.type for s in container.streams) or "nothing"}.')
        stream = container.streams.video[0]
        if stream.codec_context is None:
          raise ValueError(
              f'{self.name} was to be decoded, but nothing tells its codec, or '
              'PyAV has none for it. Fetch the file again, or convert it to '
              'h264.')
        stream.codec_context.thread_count = 1  # Other threads have other clips.
        yield container, stream
    except (self._av.FFmpegError, EOFError) as error:
      raise ValueError(
          f'{self.name} of {len(self._data):,} bytes was to be decoded, but it '
          f'is no whole video file ({error}). Copy or fetch it again.'
      ) from error


def check(data: bytes, name: str, way: str = 'all') -> int:
  """Number of frames of a video file that decodes.

  Args:
    data: of the file.
    name: of it, for errors.
    way: a name in `CHECKS`: all frames are decoded, or the first and the last.

  Raises:
    ValueError: it does not, or a frame is known to be damaged.
  """
  check_name(way, CHECKS, 'config.data.check_videos')
  video = Video(data, name)
  if way == 'ends':
    for _ in video.frames(sorted({0, video.count - 1})):
      pass
    return video.count
  if video.lost:
    raise ValueError(
        f'{name} was to have {video.lost} more frames than the {video.count} '
        'that are left: it is damaged or cut short. Copy or fetch it again.')
  number = 0
  for frame in video._all():
    if frame.is_corrupt:
      raise ValueError(f'Frame {number} of the {video.count} of {name} is '
                       'damaged or cut short. Copy or fetch the file again.')
    number += 1
  if number < video.count:
    raise ValueError(
        f'{name} tells of {video.count} frames, but is damaged or cut short: '
        f'{number} decode. Copy or fetch it again.')
  return video.count


def _hole(times: list[int | None]) -> int:
  """Frames that are missing where a tenth of a video has none; 0 elsewhere."""
  if len(times) < _FEW or None in times:
    return 0
  steps = np.diff(np.unique(times))
  usual, longest = np.median(steps), steps.max()
  return int(longest / usual) - 1 if longest > max(
      _STEPS * usual, _HOLE * steps.sum()) else 0


def _pixels(frame) -> np.ndarray:
  """uint8[h, w, 3] of a frame, turned as the camera was held."""
  turns = round(frame.rotation / 90) % 4
  return np.rot90(frame.to_ndarray(format='rgb24'), turns)


def _library():
  try:
    import av  # An extra: only videos need it.
  except ImportError as error:
    raise ValueError('Videos are decoded with PyAV, which is not installed. '
                     'Install it with: pip install bst_jax[video]') from error
  return av
