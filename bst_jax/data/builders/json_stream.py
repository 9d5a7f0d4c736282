"""Large JSON files, one entry at a time."""
from collections.abc import Iterator
import json
import os
from typing import Any

_BLOCK = 1 << 20  # characters read at once


def members(path: str | os.PathLike,
            array: str = '') -> Iterator[tuple[str, Any]]:
  """Yields (name, value) of a file's top-level object as they stand in it.

  Args:
    path: a file that holds an object or a list.
    array: name of a member that is a list; its items come one by one, each
      under that name. The items of a file that is a list come under ''.

  Raises:
    ValueError: the file is missing, damaged, cut short or of another form.
  """
  try:
    with open(path, encoding='utf-8-sig') as file:
      yield from _members(_Reader(file), array)
  except (OSError, ValueError, RecursionError) as error:
    raise ValueError(
        f'{path} was to be read as JSON, but it is missing or damaged '
        f'({error}). Fetch or make the file again.') from error


def lines(path: str | os.PathLike) -> Iterator[tuple[int, Any]]:
  """Yields (number from 1, value) of a file with an object a line.

  Raises:
    ValueError: the file is missing, or a line is no JSON.
  """
  number = 0
  try:
    with open(path, encoding='utf-8-sig') as file:
      for number, line in enumerate(file, 1):
        if line.strip():
          yield number, json.loads(line)
  except (OSError, ValueError, RecursionError) as error:
    raise ValueError(
        f'{path} was to be read as JSON, an object a line, but it is missing or '
        f'damaged at line {max(number, 1)} ({error}). Fetch or make the file again.'
    ) from error


def _members(reader, array):
  opening = reader.take('{[')
  if opening == '[':
    for value in reader.items():
      yield '', value
  elif not reader.skip('}'):
    while True:
      name = reader.value()
      reader.take(':')
      if name == array and reader.skip('['):
        for value in reader.items():
          yield name, value
      else:
        yield name, reader.value()
      if reader.take(',}') == '}':
        break
  if reader.next():
    raise ValueError('there is something behind its end')


class _Reader:
  """The part of a file that was read and is not used yet."""

  def __init__(self, file):
    self._file, self._text, self._at = file, '', 0
    self._decoder = json.JSONDecoder()

  def next(self) -> str:
    """The next character that is no space; '' at the end of the file."""
    while True:
      rest = self._text[self._at:self._at + 1]
      if rest and not rest.isspace():
        return rest
      if rest:
        self._at += 1
      elif not self._more():
        return ''

  def skip(self, character: str) -> bool:
    """Whether that comes next; it is passed then."""
    there = self.next() == character
    self._at += there
    return there

  def take(self, wanted: str) -> str:
    """Passes one of the wanted characters."""
    found = self.next()
    if not found or found not in wanted:
      raise ValueError(f'{found!r} stands where one of {wanted!r} must')
    self._at += 1
    return found

  def items(self) -> Iterator[Any]:
    """Values up to the bracket that closes the list."""
    if self.skip(']'):
      return
    while True:
      yield self.value()
      if self.take(',]') == ']':
        return

  def value(self) -> Any:
    """The next value."""
    self.next()
    while True:
      try:
        value, end = self._decoder.raw_decode(self._text, self._at)
      except json.JSONDecodeError:
        if not self._more():
          raise
        continue
      # A number may go on in what is not read yet.
      if end == len(self._text) and self._more():
        continue
      self._at = end
      return value

  def _more(self) -> bool:
    """Reads on; as much again as is waiting, so that retries stay few."""
    waiting = self._text[self._at:]
    text = self._file.read(max(_BLOCK, len(waiting)))
    self._text, self._at = waiting + text, 0
    return bool(text)
