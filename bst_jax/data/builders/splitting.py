"""Which split a picture is of: by lists, by the file's name, or by a share."""
from collections.abc import Mapping
import hashlib
import os
import pathlib
import re

# What a file calls them -> what they are called here.
NAMES = {'train': 'train', 'training': 'train', 'val': 'val',
         'validation': 'val', 'valid': 'val', 'test': 'test'}
_NUMBERS = 1 << 32


def lists(folder: str | os.PathLike) -> dict[str, str]:
  """{picture: split} of train.txt, val.txt and test.txt, a picture a line.

  A line is a file's name or a picture's number; folders and endings do not
  count, and nothing behind a space does.

  Raises:
    ValueError: a picture is in two of them.
  """
  found = {}
  for split in ('train', 'val', 'test'):
    path = pathlib.Path(folder, f'{split}.txt')
    if not path.is_file():
      continue
    for line in path.read_text('utf-8-sig').splitlines():
      first = found.setdefault(stem(line.split()[0]), split) if (
          line.strip()) else split
      if first != split:
        raise ValueError(
            f'{path} lists {line.strip()!r}, which {first}.txt does, too: what '
            'one measures the other would have shown. Leave it in one.')
  return found


def stem(name: str) -> str:
  """A picture's name without folders and ending."""
  return os.path.splitext(os.path.basename(name.replace('\\', '/')))[0]


def of_file(name: str) -> str:
  """The split that a file's name tells, as instances_val2017.json; '' for none.
  """
  told = {NAMES[word] for word in re.findall('[a-z]+', name.lower())
          if word in NAMES}
  return told.pop() if len(told) == 1 else ''


def listed(listing: Mapping[str, str], name: str, number: int) -> str:
  """The split of a picture by `lists`; '' where it is in none."""
  return listing.get(stem(name)) or listing.get(str(number), '')


def by_share(key: str, share: float) -> str:
  """'val' for that share of all pictures, else 'train': by chance, but always
  the same for a key.
  """
  number = int.from_bytes(hashlib.sha256(key.encode(
      'utf-8', 'surrogateescape')).digest()[:4], 'big')
  return 'val' if number < share * _NUMBERS else 'train'
