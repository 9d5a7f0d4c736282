"""COCO's JSON of objects: pictures, boxes, categories with their own numbers."""
from collections.abc import Mapping, Sequence
import math
import os
import pathlib
from typing import NamedTuple

from bst_jax.data.builders import json_stream
from bst_jax.data.builders.annotations import Annotations, Columns, Picture
from bst_jax.data.builders.problems import Problems

_MOST = 1 << 62  # of a number that identifies something


class Category(NamedTuple):
  """A class: its number in the file, which may be any, and its name."""

  number: int
  name: str


class Coco(NamedTuple):
  """What a file holds.

  Attributes:
    categories: in the order of their numbers; class i is categories[i].
    annotations: their labels are classes, not numbers.
  """

  categories: tuple[Category, ...]
  annotations: Annotations


def read(path: str | os.PathLike, problems: Problems) -> Coco:
  """Reads a file, an annotation at a time; masks are passed over unread.

  Args:
    path: of the file. Without annotations, as those of test splits are, its
      pictures have no objects.
    problems: takes malformed pictures and annotations, annotations of unknown
      pictures and categories, and pictures whose number stands there twice.

  Raises:
    ValueError: the file is damaged or lacks a part, two categories have one
      number, or a box is not finite.

  Reference: Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014,
    and "Data format" of cocodataset.org.
  """
  path, parts, rows = pathlib.Path(path), {}, Columns()
  for name, entry in json_stream.members(path, 'annotations'):
    if name == 'annotations':
      _take(entry, rows, path.name, problems)
    elif name in ('images', 'categories'):
      parts[name] = entry if isinstance(entry, list) else [entry]
  missing = [name for name in ('images', 'categories') if name not in parts]
  if missing:
    raise ValueError(
        f"{path} was to be read as COCO's JSON of objects, but it has no "
        f'{" and no ".join(missing)}. Give an object with the lists images, '
        'annotations and categories.')
  categories = _categories(parts['categories'], path)
  pictures = _pictures(parts['images'], path.name, problems)
  return Coco(categories, rows.of(
      pictures, [category.number for category in categories],
      lambda what, id, number: problems.add(
          f'annotation of an unknown {what}',
          f'{path.name}: annotation {id} of {what} {number}')))


def shared(each: Mapping[str, Sequence[Category]],
           name: str) -> tuple[Category, ...]:
  """The categories that all files have.

  Args:
    each: file -> its categories.
    name: of the data set, for errors.

  Raises:
    ValueError: they are not the same.
  """
  first, known = next(iter(each.items()), ('', ()))
  for other, categories in each.items():
    differ = sorted({*known} ^ {*categories})
    if differ:
      raise ValueError(
          f'{name} was to be made of {first} and {other}, but their categories '
          f'are not the same: {differ[0].number}, {differ[0].name!r}, is in '
          f'one of them alone, as are {len(differ) - 1} more. Give both the '
          'same list; a category may have no example.')
  return tuple(known)


def columns(categories: Sequence[Category]) -> tuple[list[str], list[int]]:
  """Names and numbers of categories."""
  return ([one.name for one in categories], [one.number for one in categories])


def _categories(entries, path) -> tuple[Category, ...]:
  """Categories by number; names that several have tell the number along."""
  found = []
  for entry in entries:
    number, name = (entry.get(key) if isinstance(entry, Mapping) else None
                    for key in ('id', 'name'))
    if not _is_number(number) or not isinstance(name, str) or not name.strip():
      raise ValueError(
          f'{path} was to be read, but one of its categories is '
          f'{str(entry)[:80]}. Each must have a name and an id, a whole number.'
      )
    found.append(Category(number, ' '.join(name.split())))
  found.sort()
  numbers, names = [c.number for c in found], [c.name for c in found]
  for one, other in zip(found, found[1:]):
    if one.number == other.number:
      raise ValueError(
          f'{path} gives the number {one.number} to two categories, '
          f'{one.name!r} and {other.name!r}. Give each its own.')
  return tuple(Category(number, name if names.count(name) == 1 else
                        f'{name} ({number})')
               for number, name in zip(numbers, names))


def _pictures(entries, file, problems) -> list[Picture]:
  found, seen = [], set()
  for entry in entries:
    number, name = (entry.get(key) if isinstance(entry, Mapping) else None
                    for key in ('id', 'file_name'))
    if not _is_number(number) or not isinstance(name, str) or not name:
      problems.add('malformed picture', f'{file}: {str(entry)[:80]}, without '
                   'an id, a whole number, or a file_name')
    elif number in seen:
      problems.add('picture listed twice', f'{file}: picture {number}, {name}')
    else:
      seen.add(number)
      height, width = (entry.get(side) for side in ('height', 'width'))
      sides = (int(side) if _is_number(side) and side > 0 else 0
               for side in (height, width))
      split = entry.get('split')
      found.append(Picture(number, name, *sides,
                           split if isinstance(split, str) else ''))
  return found


def _take(entry, columns, file, problems):
  """Takes an annotation, unless it is malformed."""
  id, picture, category, box = (
      entry.get(key) if isinstance(entry, Mapping) else None
      for key in ('id', 'image_id', 'category_id', 'bbox'))
  if not all(map(_is_number, (id, picture, category))) or not (
      isinstance(box, list) and len(box) == 4 and all(map(_is_real, box))):
    problems.add(
        'malformed annotation', f'{file}: {str(entry)[:80]}, without id, '
        'image_id, category_id or a bbox of four numbers')
    return
  if not all(map(math.isfinite, box)):
    raise ValueError(
        f'{file}: annotation {id} of picture {picture} has the bbox {box}, '
        'which is not a number everywhere. Mend it, or take it out of the file.')
  area = entry.get('area')
  known = _is_real(area) and 0 <= area < math.inf
  columns.add(picture, id, box, category, entry.get('iscrowd') in (1, True),
              area if known else math.nan)


def _is_number(value) -> bool:
  return isinstance(value, int) and not isinstance(value, bool) and (
      abs(value) < _MOST)


def _is_real(value) -> bool:
  return isinstance(value, (int, float)) and not isinstance(value, bool)
