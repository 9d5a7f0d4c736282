"""The pictures of a split by number, as models read them."""
from collections.abc import Iterator, Mapping
from typing import Any

from bst_jax.data import augment as augment_lib
from bst_jax.data import image as image_lib
from bst_jax.data import kinds as kinds_lib
from bst_jax.data.frame import Frame
import numpy as np

_SMALL = 2 << 30  # bytes
_PLAIN = augment_lib.Recipe()


class Pictures:
  """What models read of each picture of a split, decoded once if that is little.

    pictures = Pictures(records, kinds, reading)
    rows = [read(record) for record in pictures.keep()]
    batch = pictures(np.array([3, 5, -1]))

  Attributes:
    in_memory, filled_by_keep: they are decoded, once `keep` was gone over.
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
    self.in_memory = self.filled_by_keep = bool(cache)
    self._arrays, self._kept = {}, []

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
    for i, record in enumerate(self._records if records is None else records):
      if self.in_memory and self._whole:
        self._kept.append({**record, 'image': kinds_lib.pixels(
            record, self._reading.name)})
      elif self.in_memory:
        for key, array in self._decoded(record).items():
          if not i:
            self._arrays[key] = np.zeros((len(self._records), *array.shape),
                                         array.dtype)
          self._arrays[key][i] = array
      yield record

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
    wanted = np.maximum(numbers, 0).tolist()
    if self._whole and (draws is not None or size is not None):
      seeds = draws or [(0,)] * len(wanted)  # Of a batch that is an example.
      each = [self._drawn(i, seed, size) for i, seed in zip(wanted, seeds)]
      found = {key: np.stack([one[key] for one in each]) for key in each[0]}
    elif self._arrays:
      found = {key: array[numbers] for key, array in self._arrays.items()}
    else:
      once = {i: self._decoded(self._record(i)) for i in sorted(set(wanted))}
      found = {key: np.stack([once[i][key] for i in wanted])
               for key in once[wanted[0]]}
    if (numbers < 0).any():
      for array in found.values():
        array[numbers < 0] = 0
    return found

  def _record(self, number: int) -> Mapping[str, Any]:
    return self._kept[number] if self._kept else self._records[number]

  def _decoded(self, record, frame=None):
    if 'image' in self._kinds and frame is None:
      own = kinds_lib.pixels(record, self._reading.name)
      record = {**record, 'image': own}
      frame = Frame(own.shape[:2], image_lib.sides(self._reading.image_size),
                    self._reading.image_fit)
    return {key: kind.decode(record, self._reading, frame)
            for key, kind in self._kinds.items()}

  def _drawn(self, number, draw, size):
    """The arrays of a picture as training has it: all in one frame."""
    record, rng = self._record(number), np.random.default_rng(draw)
    own = kinds_lib.pixels(record, self._reading.name)
    frame = self._recipe.frame(
        own.shape[:2], size or image_lib.sides(self._reading.image_size), rng,
        self._reading.image_fit)
    found = self._decoded({**record, 'image': own}, frame)
    found['image'] = self._recipe.changed(found['image'], rng)
    return found
