"""The pictures of a split by number, as models read them."""
import collections
from collections.abc import Iterator, Mapping
import threading
from typing import Any

from bst_jax.data import augment as augment_lib
from bst_jax.data import image as image_lib
from bst_jax.data import kinds as kinds_lib
from bst_jax.data import records as records_lib
from bst_jax.data.frame import Frame
import numpy as np

_SMALL = 2 << 30  # bytes
_PLAIN = augment_lib.Recipe()


class Pictures:
  """What models read of each picture of a split, decoded once if that is little.

    pictures = Pictures(records, kinds, reading)
    batch = pictures(np.array([3, 5, -1]))

  Those that are kept are all read when a batch first asks for one, or before,
  where somebody goes over the records by `keep`.

  Attributes:
    in_memory: they are kept decoded.
    rows: inputs of a picture in evaluation: one.
  """

  rows = 1

  def __init__(self, records: Any, kinds: Mapping[str, kinds_lib.Kind],
               reading: kinds_lib.Reading, cache: bool | str = 'auto',
               recipe: augment_lib.Recipe = _PLAIN, canvases: bool = False):
    """Opens the pictures of a split.

    Args:
      records: with what the kinds read.
      kinds: {key of a batch: what is read}.
      reading: how.
      cache: True, False, or 'auto': whether they take less than 2 GiB, and none
        is kept larger than it is needed.
      recipe: what becomes of training pictures.
      canvases: training pictures have other sizes than those of evaluation.
    """
    self._records, self._kinds, self._reading = records, kinds, reading
    self._recipe = recipe
    # Training cuts its pictures out of whole ones, not of those at size.
    self._whole = 'image' in kinds and (recipe.pictures or canvases)
    if cache == 'auto':
      first = self._decoded(records[0])
      cache = len(records) * sum(a.nbytes for a in first.values()) < _SMALL
      if cache and self._whole:
        cache = kinds_lib.pixels(
            records[0], reading.name).shape == first['image'].shape
    self.in_memory = bool(cache)
    self._arrays, self._kept = {}, []
    self._complete, self._lock = False, threading.Lock()

  def __len__(self) -> int:
    return len(self._records)

  def once(self) -> 'Pictures':
    """The same: evaluation has one input of a picture."""
    return self

  def keep(self, records: Any = None) -> Iterator[Mapping[str, Any]]:
    """Goes over the records in order, and keeps what is to be in memory.

    Args:
      records: the same ones, as behind a progress bar.
    """
    kept, arrays = [], {}
    for i, record in enumerate(self._records if records is None else records):
      if self.in_memory and self._whole:
        kept.append({**record, 'image': kinds_lib.pixels(
            record, self._reading.name)})
      elif self.in_memory:
        self._put(arrays, i, record, len(self._records))
      yield record
    self._kept, self._arrays, self._complete = kept, arrays, True

  def __call__(self, numbers: np.ndarray,
               draws: list[tuple[int, ...]] | None = None,
               size: tuple[int, int] | None = None) -> dict[str, np.ndarray]:
    """Arrays of int[P] pictures; zeros where the number is negative.

    Args:
      numbers: of pictures.
      draws: for each a seed of what training does to it; None in evaluation.
      size: height and width of training pictures; None for the usual.
    """
    # The first picture stands in for padding, whose shapes it gives.
    wanted, padding = np.maximum(numbers, 0).tolist(), (numbers < 0).all()
    if self.in_memory and not padding:
      self._keep_all()
    if self._whole and (draws is not None or size is not None):
      seeds = draws or [(0,)] * len(wanted)  # Of a batch that is an example.
      each = [self._drawn(i, seed, size) for i, seed in zip(wanted, seeds)]
      found = {key: np.stack([one[key] for one in each]) for key in each[0]}
    elif self._arrays:
      found = {key: array[numbers] for key, array in self._arrays.items()}
    else:
      found, first = {}, {}
      for place, number in enumerate(wanted):
        if number not in first:
          first[number] = place
          self._put(found, place, self._record(number), len(wanted))
          continue
        for array in found.values():
          array[place] = array[first[number]]
    if (numbers < 0).any():
      for array in found.values():
        array[numbers < 0] = 0
    return found

  def _keep_all(self):
    """Reads all pictures, once, whichever thread is first."""
    if self._complete:
      return
    with self._lock:
      if not self._complete:
        collections.deque(
            self.keep(records_lib.progress(self._records)), maxlen=0)

  def _put(self, arrays, place, record, count):
    """Writes what is read of a record into arrays of `count` of them."""
    frame = None
    if 'image' in self._kinds:
      record, frame = self._framed(record)
    for key, kind in self._kinds.items():
      if key in arrays and kind.into:
        kind.into(record, self._reading, frame, arrays[key][place])
        continue
      one = kind.decode(record, self._reading, frame)
      if key not in arrays:
        arrays[key] = np.zeros((count, *one.shape), one.dtype)
      arrays[key][place] = one

  def _framed(self, record):
    """The record with its picture decoded, and the picture's place."""
    own = kinds_lib.pixels(record, self._reading.name)
    return {**record, 'image': own}, Frame(
        own.shape[:2], image_lib.sides(self._reading.image_size),
        self._reading.image_fit, shorter=self._reading.image_shorter)

  def _record(self, number: int) -> Mapping[str, Any]:
    return self._kept[number] if self._kept else self._records[number]

  def _decoded(self, record, frame=None):
    if 'image' in self._kinds and frame is None:
      record, frame = self._framed(record)
    return {key: kind.decode(record, self._reading, frame)
            for key, kind in self._kinds.items()}

  def _drawn(self, number, draw, size):
    """The arrays of a picture as training has it: all in one frame."""
    record, rng = self._record(number), np.random.default_rng(draw)
    own = kinds_lib.pixels(record, self._reading.name)
    frame = self._recipe.frame(
        own.shape[:2], size or image_lib.sides(self._reading.image_size), rng,
        self._reading.image_fit, self._reading.image_shorter)
    found = self._decoded({**record, 'image': own}, frame)
    if 'image' in found:  # Bars beside it stay as they are.
      inner = found['image'][:frame.extent[0], :frame.extent[1]]
      inner[:] = self._recipe.changed(inner.copy(), rng)
    return found
