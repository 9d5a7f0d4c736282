"""Kinetics' CSV files: which clip of which video has which class."""
import csv
import dataclasses
import os
import pathlib
import re

_NAMES = {'train': 'train', 'val': 'val', 'validate': 'val',
          'validation': 'val', 'test': 'test'}
_NEEDED = 'youtube_id'


@dataclasses.dataclass(frozen=True)
class Clip:
  """A line of a CSV file.

  Attributes:
    names: of its file without the ending, the usual one first.
    label: its class; '' if the file does not tell.
  """

  names: tuple[str, ...]
  label: str


def read(folder: pathlib.Path) -> dict[str, list[Clip]]:
  """Clips of each split that has a CSV file, in its order.

  Files are SPLIT.csv in the folder or in its annotations/, also with names as
  kinetics-400_val.csv and validate.csv.
  """
  found = {}
  for path in sorted([*folder.glob('*.csv'), *folder.glob('annotations/*.csv')]):
    split = _NAMES.get(re.split(r'[_\-]', path.stem.lower())[-1])
    if split is None:
      continue
    if split in found:
      raise ValueError(
          f'{path} was to give the clips of {split}, but {found[split][0]} does '
          'so too. Leave one of them.')
    found[split] = path, _clips(path)
  owners = {}
  for split, (path, clips) in found.items():
    for clip in clips:
      other = owners.setdefault(clip.names[0], split)
      if other != split:
        raise ValueError(
            f'{path} was to give the clips of {split}, but {clip.names[0]} is '
            f'in {other} too: what one measures the other would have shown. '
            'Put the right file of each split there.')
  return {split: clips for split, (_, clips) in found.items()}


def _clips(path):
  with open(path, encoding='utf-8-sig', newline='') as file:
    rows = csv.DictReader(file)
    try:
      names = rows.fieldnames or ()
    except (ValueError, csv.Error) as error:
      raise ValueError(f'{path} was to be read as annotations of Kinetics, but '
                       f'it is no text of columns ({error}). Fetch the file '
                       'again.') from error
    if _NEEDED not in names:
      raise ValueError(
          f'{path} was to be read as annotations of Kinetics, but its first '
          f'line has no column {_NEEDED}: it has {names}. The '
          'columns are label, youtube_id, time_start, time_end and split.')
    try:
      clips = {}
      for row in rows:
        clip = _clip(row)
        same = clips.setdefault(clip.names[0], clip)
        if same.label != clip.label:
          raise ValueError(f'{clip.names[0]} is {same.label!r} and, further '
                           f'down, {clip.label!r}')
      return list(clips.values())
    except (ValueError, OverflowError, csv.Error) as error:
      raise ValueError(
          f'Line {rows.line_num} of {path} was to name a clip, but cannot be '
          f'read ({error}). Fetch the file again.') from error


def _clip(row):
  name, times = row[_NEEDED], (row.get('time_start'), row.get('time_end'))
  if not name:
    raise ValueError('it has no youtube_id')
  whole = tuple(f'{int(float(t)):06d}' for t in times if t)
  names = ('_'.join((name, *whole)), name) if whole else (name,)
  return Clip(names, (row.get('label') or '').strip())


class Files:
  """The video files below a folder, by their names without endings."""

  def __init__(self, paths: list[str]):
    self._paths = {}
    for path in paths:
      self._paths.setdefault(
          os.path.splitext(os.path.basename(path))[0], []).append(path)

  def __call__(self, clip: Clip) -> str | None:
    """The clip's file; None if it is not there.

    Raises:
      ValueError: there are several.
    """
    for name in clip.names:
      paths = self._paths.get(name, ())
      if len(paths) > 1:
        raise ValueError(
            f'The file of clip {name} was looked for, but {len(paths)} could '
            f'be meant, as {paths[0]} and {paths[1]}. Leave one of them.')
      if paths:
        return paths[0]
    return None
