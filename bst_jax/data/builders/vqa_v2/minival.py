"""The pictures of val2014 that are held out from training."""
from collections.abc import Collection
import hashlib
import json
import pathlib

from absl import logging

FILES = ('minival_ids.txt', 'minival_ids.json')
_SHARE = 8  # one picture in so many


def choose(folder: pathlib.Path, pictures: Collection[str]) -> set[str]:
  """Ids of the held-out pictures among those of val2014.

  They are those of minival_ids.txt, one a line, or .json, a list. Published
  splits hold out lists of their own; to compare with one, give its list.
  Without a file every eighth picture is taken, by a hash of its id.
  """
  path = next((folder / f for f in FILES if (folder / f).is_file()), None)
  if path is None:
    logging.warning(
        'No %s in %s: minival is an eighth of val2014 by a hash of the ids, '
        'and not the list of any publication.', FILES[0], folder)
    return {p for p in pictures
            if hashlib.sha256(p.encode()).digest()[0] % _SHARE == 0}
  try:
    content = path.read_text('utf-8-sig')
    listed = (json.loads(content) if path.suffix == '.json'
              else content.split())
    held_out = {str(int(i)) for i in listed}
  except (OSError, TypeError, ValueError, RecursionError) as error:
    raise ValueError(f'{path} was to be read as picture ids, but it is none '
                     f'({error}). Give numbers, one a line.') from error
  strangers = sorted(held_out - set(pictures))
  if strangers or not held_out:
    raise ValueError(
        f'{path} was to choose pictures of val2014, but {len(strangers)} of '
        f'its {len(held_out)} ids have no question there, as {strangers[:5]}: '
        'they may be of training. Give ids of val2014 only.')
  return held_out
