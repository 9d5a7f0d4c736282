"""What was once read of records, kept beside them, so that opening is quick.

Where the folder of a data set cannot be written, as one that several users share,
it is kept in a cache folder of the user's own. All of it can be deleted.
"""
from collections.abc import Mapping, Sequence
import contextlib
import hashlib
import os
import pathlib
import zipfile

from absl import logging
from bst_jax.data import buckets
from bst_jax.host import files
from etils import epath
import numpy as np

# What a file that is damaged, or of another kind, raises as it is read.
DAMAGED = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile)


class Kept:
  """Arrays that belong to a split's records."""

  def __init__(self, folder: str | os.PathLike, mark: str):
    """Takes a data set's folder and a text that other records do not have."""
    self._folder = os.fspath(folder)
    self._mark = hashlib.sha256(f'{self._folder}\n{mark}'.encode()).hexdigest()

  def place(self, name: str) -> str:
    """Path of that name beside the records."""
    return os.path.join(self._folder, name)

  def cached(self, name: str) -> pathlib.Path:
    """Path of that name where the folder cannot be written."""
    home = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
    return pathlib.Path(home).expanduser() / 'bst_jax' / 'kept' / (
        self._mark[:16]) / name

  def array(self, name: str, length: int) -> np.ndarray | None:
    """An array[length] of an .npy file; None where there is none that fits."""
    for path in (self.place(name), self.cached(name)):
      with contextlib.suppress(*DAMAGED), epath.Path(path).open('rb') as file:
        found = np.load(file, allow_pickle=False)
        if found.shape == (length,):
          return found
    return None

  def arrays(self, name: str, source: int) -> dict[str, np.ndarray] | None:
    """The arrays of an .npz file; None where there is none that fits.

    Args:
      name: of the file.
      source: size in bytes of the file that they were made of.
    """
    for path in (self.place(name), self.cached(name)):
      with contextlib.suppress(*DAMAGED), epath.Path(path).open('rb') as file:
        with np.load(file, allow_pickle=False) as kept:
          if kept['source'] == source:
            return {key: kept[key] for key in kept.files}
    return None

  def save(self, name: str,
           arrays: np.ndarray | Mapping[str, np.ndarray]) -> None:
    """Writes an .npy or .npz file, whole or not at all."""
    places: Sequence = [self.place(name), self.cached(name)]
    if buckets.is_remote(self._folder):  # A bucket is not written to on the side.
      places = places[1:]
    for path in places:
      try:
        with files.beside(path) as place:
          if isinstance(arrays, Mapping):
            np.savez(place, **arrays)
          else:
            np.save(place, arrays)
        return
      except OSError as error:
        logging.info('%s could not be kept there (%s).', path, error)
