"""Pictures by the names that a file of annotations gives them."""
import os
import pathlib

from bst_jax.data import picture_file
from bst_jax.data.builders import found
from bst_jax.data.builders.problems import Unusable


class Located:
  """The picture files below a folder, found without a walk for each.

  A name is taken as it is written, below the folder or below one of its
  folders, and else by its last part: annotations of Objects365 say
  images/v2/patch16/x.jpg of what lies in train/patch16/x.jpg.
  """

  def __init__(self, folder: str | os.PathLike):
    self._folder = pathlib.Path(folder)
    self._whole, self._last = set(), {}
    for path in found.files(folder):
      if path.lower().endswith(picture_file.SUFFIXES):
        self._whole.add(path)
        self._last.setdefault(os.path.basename(path), []).append(path)

  def __call__(self, name: str, inside: str = '') -> str:
    """Path of a picture.

    Args:
      name: as the annotations have it.
      inside: a folder in the folder that it lies in, if it is there.

    Raises:
      Unusable: there is no such file, or there are several.
    """
    name = os.path.normpath(name.replace('\\', '/'))
    for folder in (inside, '', 'images'):
      path = os.path.normpath(self._folder / folder / name)
      if path in self._whole:
        return path
    paths = self._last.get(os.path.basename(name), [])
    within = os.path.join(self._folder, inside, '')
    paths = [path for path in paths if path.startswith(within)] or paths
    if len(paths) > 1:
      raise Unusable(
          'several pictures of a name', f'{name} could be {paths[0]} or '
          f'{paths[1]}')
    if not paths:
      raise Unusable('missing picture', f'{name}, in no folder of '
                     f'{self._folder}')
    return paths[0]
