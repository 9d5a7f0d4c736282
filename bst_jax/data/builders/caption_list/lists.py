"""Lists of captions and pictures, in the forms that data sets publish."""
from collections.abc import Iterator, Mapping
import pathlib
from typing import Any, NamedTuple

from bst_jax.data import picture_file
from bst_jax.data.builders import captioned, json_stream
from bst_jax.data.builders.problems import Problems

SUFFIXES = '.tsv', '.json', '.jsonl'
# What lists call a picture, and its captions.
_PICTURES = ('image', 'file_name', 'filename', 'url', 'image_url', 'image_id')
_CAPTIONS = 'caption', 'captions', 'text'
_COLUMNS = frozenset((*_PICTURES, *_CAPTIONS, 'source', 'split',
                      'caption_version'))


class Entry(NamedTuple):
  """A picture with some of its captions.

  Attributes:
    picture: its name, id or address.
    told: the rest.
    split: as the entry tells it; ''.
  """

  picture: str
  told: captioned.Told
  split: str = ''


def read(path: pathlib.Path, problems: Problems) -> Iterator[Entry]:
  """The entries of a list; what is none of a picture is counted.

  A .tsv has columns apart by tabs: two, of which one is an address or the name
  of a picture's file and the other its caption (Conceptual Captions), or more
  below a line with their names. A .jsonl has an object a line (Open Images'
  localized narratives), a .json a list of them (COCO's results), COCO's
  annotations of captions, or two lists `image_urls` and `captions` (SBU).

  Raises:
    ValueError: the file is damaged, or nothing tells which column is which.
  """
  source = {'.tsv': _rows, '.jsonl': json_stream.lines,
            '.json': _objects}[path.suffix]
  for place, values in source(path):
    entry = _entry(values, path.stem)
    if entry is None:
      problems.add('malformed entry', f'{path.name}, {place}: '
                   f'{str(values)[:60]}')
    elif not entry.told.captions:
      problems.add('empty caption', f'{path.name}, {place}')
    else:
      yield entry


def _entry(values: Any, name: str) -> Entry | None:
  """What an object says; None where it names no picture, or bad tags."""
  if not isinstance(values, Mapping):
    return None
  text = lambda key: captioned.sentence(values.get(key, ''))
  picture = next((values[key] for key in _PICTURES if key in values), None)
  said = next((values[key] for key in _CAPTIONS if key in values), None)
  tags = captioned.tags(values.get('tags', []))
  if tags is None or isinstance(picture, bool) or not isinstance(
      picture, (str, int)) or not str(picture).strip():
    return None
  each = said if isinstance(said, list) else [said]
  if said is None or not all(isinstance(one, str) for one in each):
    return None
  captions = tuple(filter(None, map(captioned.sentence, each)))
  return Entry(str(picture).strip(), captioned.Told(
      captions, tags, text('source') or name, text('caption_version'),
      text('tag_version')), text('split'))


def _rows(path):
  """(place, {column: text}) of a file with tabs; lists where columns lack."""
  names = None
  # Not by splitlines: Unicode's own line ends belong to a caption.
  with open(path, encoding='utf-8-sig', newline='\n') as file:
    for number, line in enumerate(file, 1):
      cells = [cell.strip() for cell in line.rstrip('\r\n').split('\t')]
      if not any(cells):
        continue
      if names is None:
        names = _names(path, cells)
        if {cell.lower() for cell in cells} <= _COLUMNS:
          continue
      yield f'line {number}', (dict(zip(names, cells))
                               if len(cells) == len(names) else cells)


def _names(path, cells):
  """Names of columns, by the first line of a file."""
  told = [cell.lower() for cell in cells]
  if set(told) <= _COLUMNS and set(told) & set(_PICTURES) and set(
      told) & set(_CAPTIONS):
    return told
  there = [is_address(cell) or cell.lower().endswith(picture_file.SUFFIXES)
           for cell in cells]
  if len(cells) != 2 or sum(there) != 1:
    raise ValueError(
        f'{path} was to be read as captions and pictures, but its first line '
        f'has {len(cells)} columns of which {sum(there)} are the address or '
        'file of a picture. Two are needed, one of each, or a first line with '
        'their names, as caption and image.')
  return ['image' if one else 'caption' for one in there]


def is_address(name: str) -> bool:
  """Whether a picture's name is where it was on the web."""
  return name.startswith(('http://', 'https://'))


def _objects(path):
  """(place, object) of a JSON file."""
  parts = {}
  for number, (name, value) in enumerate(json_stream.members(path), 1):
    if name:
      parts[name] = value
    else:
      yield f'entry {number}', value
  if 'annotations' in parts and 'images' in parts:
    names = {image['id']: image['file_name'] for image in parts['images']}
    for number, one in enumerate(parts['annotations'], 1):
      yield f'annotation {number}', {
          'image': names.get(one.get('image_id')),
          'caption': one.get('caption')}
  elif 'image_urls' in parts and 'captions' in parts:
    for number, (url, caption) in enumerate(zip(
        parts['image_urls'], parts['captions'], strict=True), 1):
      yield f'entry {number}', {'url': url, 'caption': caption}
  elif parts:
    raise ValueError(
        f'{path} was to be read as captions and pictures, but it holds '
        f'{sorted(parts)[:8]}. A list of objects with image and caption, '
        "COCO's annotations, or image_urls and captions side by side would "
        'work.')
