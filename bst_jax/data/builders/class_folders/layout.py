"""What lies where in a folder SPLIT/CLASS/NAME.jpg, and what is wrong of it."""
from collections.abc import Iterable
import os
import pathlib
import unicodedata

from bst_jax.data import picture_file
from bst_jax.data.builders import found

_SPLITS = {'train', 'training', 'val', 'valid', 'validation', 'dev', 'test',
           'testing'}
_BEGINNING = 64  # bytes that tell a picture whose name does not


def folders(folder: pathlib.Path) -> list[pathlib.Path]:
  """The folders in one, sorted, but for strays, as `found.is_stray` tells."""
  return sorted(path for path in folder.iterdir()
                if path.is_dir() and not found.is_stray(path.name))


def is_picture(path: str | os.PathLike) -> bool:
  """Whether a file is one, read or not: by its ending, else by its content."""
  name = os.fspath(path).lower()
  if name.endswith(picture_file.SUFFIXES + picture_file.OTHERS):
    return True
  if os.path.splitext(name)[1] in ('.txt', '.json', '.xml', '.csv', '.md'):
    return False
  try:
    with open(path, 'rb') as file:
      return picture_file.is_read(file.read(_BEGINNING))
  except OSError:
    return False


def classes(folder: pathlib.Path) -> list[str]:
  """Names of the classes, which all splits share.

  Raises:
    ValueError: the folder is laid out in another way.
  """
  splits = folders(folder)
  each = {split.name: [path.name for path in folders(split)]
          for split in splits}
  names = next(iter(each.values()), [])
  if not any(each.values()):
    raise ValueError(
        f'{folder} was to hold SPLIT/CLASS/NAME.jpg, but there are '
        f'{_instead(folder, splits)}')
  for split, others in each.items():
    if others != names:
      _raise_differing(folder, next(iter(each)), names, split, others)
  if {name.lower() for name in names} <= _SPLITS:
    raise ValueError(
        f'{folder} was to hold SPLIT/CLASS/NAME.jpg, but its folder '
        f'{next(iter(each))} holds {", ".join(names)}, which are splits. Give '
        f'{folder / next(iter(each))} as config.data.manual_dir.')
  return names


def _instead(folder, splits):
  """What there is where no split has a class, and what to do."""
  flat = [split.name for split in splits
          if any(map(is_picture, _files(split)))]
  if flat and {name.lower() for name in flat} <= _SPLITS:
    return (f'pictures in {", ".join(flat)} that are in no folder of a class. '
            'Move each into one, as '
            f'{flat[0]}/cat/NAME.jpg.')
  if flat:
    return (f'pictures in {", ".join(flat[:3])}: are these the classes? Then '
            'the folders of splits are missing. Move some of each class into '
            f'train/{flat[0]}, and others into val/{flat[0]}.')
  if any(map(is_picture, _files(folder))):
    return ('pictures in it that are in no folder. Move each into '
            'SPLIT/CLASS, as train/cat.')
  return 'no such folders. Move each picture into one.'


def _files(folder) -> Iterable[str]:
  return (entry.path for entry in os.scandir(folder)
          if entry.is_file() and not found.is_stray(entry.name))


def _raise_differing(folder, one, names, split, others):
  """Raises for two splits whose classes are not the same."""
  differ = sorted(set(names) ^ set(others))
  same = lambda name: unicodedata.normalize('NFC', name).casefold()
  if not others or not names:
    raise ValueError(
        f'{folder} was to hold the same classes in each split, but '
        f'{split if names else one} has no folders of classes. Move its '
        'pictures into some, or the folder itself out.')
  if {*map(same, names)} == {*map(same, others)}:
    raise ValueError(
        f'{folder} was to hold the same classes in each split, but some of '
        f'{split} are written in another way than in {one}, as {differ[:2]}. '
        'Rename the folders of one.')
  raise ValueError(
      f'{folder} was to hold the same classes in each split, but {split} '
      f'differs from {one} in {len(differ)}, as {differ[:3]}. Make the folders '
      'that are missing.')
