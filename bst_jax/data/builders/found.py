"""Files of pictures in folders, found by the pictures' ids."""
from collections.abc import Iterable
import hashlib
import os
import pathlib
import re
from typing import Any

from bst_jax.data.builders.problems import Unusable

_MOST_ASKED = 20_000  # files that are asked for their sizes and times
_SAMPLED = 'sampled '
_STRAYS = ('__macosx', 'thumbs.db', 'desktop.ini', '@eadir', '#recycle',
           '$recycle.bin', 'system volume information', 'lost+found')


class Found:
  """Files below folders, by picture id.

  A file is found by its name without endings, or by a number behind a _, - or
  space at its end: COCO_val2014_000000000042.jpg.npz is picture 42, but n42.npz
  is not, as GQA has an n42 and a 42.
  """

  def __init__(self, folders: Iterable[str | os.PathLike] = (),
               suffixes: tuple[str, ...] = ()):
    self._names, self._numbers = {}, {}
    for folder in folders:
      for path in files(folder):
        if path.lower().endswith(suffixes):
          self.add(path, path)

  def add(self, name: str, where: Any) -> None:
    """Takes one more: its name, or path, and what is found by it."""
    stem = _stem(name)
    self._names.setdefault(stem, []).append(where)
    number = re.search(r'(?:^|[_\- ])(\d+)$', stem)
    # Also as it stands: picture 0042 is x_0042.png, and never x_42.png.
    for found in {number[1], str(int(number[1]))} if number else ():
      self._numbers.setdefault(found, []).append(where)

  def __bool__(self) -> bool:
    return bool(self._names)

  def __call__(self, picture: str) -> Any:
    """Path of the file, or what was added; None if there is none.

    Raises:
      Unusable: several could be meant.
    """
    paths = (self._names.get(picture) or self._numbers.get(picture)
             or self._names.get(_stem(picture), ()))
    if len(paths) > 1:
      raise Unusable(
          'several files',
          f'The file of picture {picture!r} was looked for, but {len(paths)} '
          f'could be meant, as {paths[0]} and {paths[1]}. Leave one of them.')
    return paths[0] if paths else None


def _stem(path: str) -> str:
  """A file's name without folders and endings."""
  return re.sub(r'(\.(npz|jpe?g?|jfif|png|webp|gif|bmp|tiff?))+$', '',
                os.path.basename(path), flags=re.IGNORECASE)


def files(folder: str | os.PathLike) -> list[str]:
  """Paths of all files below a folder, sorted; none if it is not there.

  Links to folders are followed. What systems and programs leave there, as
  `is_stray` tells, is passed over.
  """
  paths = []
  for root, folders, names in os.walk(folder, followlinks=True):
    folders[:] = [name for name in folders if not is_stray(name)
                  and not _leads_back(root, name)]
    paths += [os.path.join(root, name) for name in names if not is_stray(name)]
  return sorted(paths)


def size(path: str | os.PathLike) -> int:
  """Bytes of a file; 0 for a link that leads nowhere."""
  try:
    return os.path.getsize(path)
  except OSError:
    return 0


def is_stray(name: str) -> bool:
  """Whether a file or folder of that name is no user's: .ipynb_checkpoints,
  ._1.jpg, __MACOSX, Thumbs.db, ….
  """
  return name.startswith('.') or name.lower() in _STRAYS


def _leads_back(root, name):
  """Whether a folder is a link to one that it lies in."""
  path = os.path.join(root, name)
  if not os.path.islink(path):
    return False
  target = os.path.join(os.path.realpath(path), '')
  return os.path.join(os.path.realpath(root), '').startswith(target)


def beside(folder: str | os.PathLike, split: str) -> str:
  """Path of a split's questions without its pictures, a line a picture.

  A data set has it beside its records, as those are read through in minutes.
  """
  return os.path.join(folder, f'{split}.questions.jsonl')


def column(folder: str | os.PathLike, split: str, name: str) -> str:
  """Path of one number of each of a split's records, as .npy.

  For the same reason: labels of videos are asked for without their files.
  """
  return os.path.join(folder, f'{split}.{name}.npy')


def checksums(folder: str | os.PathLike,
              suffixes: tuple[str, ...] = ('.json', '.txt')) -> dict[str, str]:
  """SHA-256 of the files in a folder itself, by name.

  These are questions, annotations and lists: what it takes to compare two
  copies of a data set. Features and pictures lie deeper.
  """
  found = {}
  for path in sorted(pathlib.Path(folder).iterdir()):
    if path.is_file() and path.suffix in suffixes:
      with path.open('rb') as file:
        found[path.name] = hashlib.file_digest(file, 'sha256').hexdigest()
  return found


def fingerprint(folder: str | os.PathLike, sampled: bool | None = None) -> str:
  """A hash that changes when files below the folder come, go or change.

  Of many files all names count, but sizes and times of some only, as asking
  for those of a million takes minutes: such a hash begins with 'sampled'.

  Args:
    folder: with the files.
    sampled: whether to do so; None: where they are more than 20,000.
  """
  return _fingerprint(folder, files(folder), sampled)


def fingerprints(folder: str | os.PathLike) -> tuple[str, str]:
  """The hash that opening compares, and one of sizes and times of all files."""
  paths = files(folder)
  return _fingerprint(folder, paths, None), _fingerprint(folder, paths, False)


def _fingerprint(folder, paths, sampled):
  sampled = len(paths) > _MOST_ASKED if sampled is None else sampled
  step = -(-len(paths) // _MOST_ASKED) if sampled else 1
  sha, start = hashlib.sha256(), len(os.path.join(os.fspath(folder), ''))
  for number, path in enumerate(paths):
    line = f'{path[start:]}\t'
    if number % step == 0:
      try:
        about = os.stat(path)
      except OSError:  # A link that leads nowhere.
        line += '-'
      else:
        line += f'{about.st_size}\t{int(about.st_mtime)}'
    sha.update(f'{line}\n'.encode('utf-8', 'surrogateescape'))
  return f'{_SAMPLED}{sha.hexdigest()}' if sampled else sha.hexdigest()


def is_fingerprint(value: str, folder: str | os.PathLike) -> bool:
  """Whether the files below a folder are those that gave the hash."""
  return value == fingerprint(folder, value.startswith(_SAMPLED))
