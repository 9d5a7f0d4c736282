"""Values of many rows, of which many are equal: each kept once, with numbers.

What depends on a value, as its words or its score, is found once for each that
is different, and brought to the rows by one gather.
"""
import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
import functools
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray]


class Packed(Sequence):
  """Texts in two arrays, decoded when one is first asked for.

  Attributes:
    arrays: 'bytes', uint8 of all texts in UTF-8, and 'ends', int64[n], where
      each ends, in characters.
  """

  def __init__(self, arrays: Arrays):
    self.arrays = {name: arrays[name] for name in ('bytes', 'ends')}

  @classmethod
  def of(cls, texts: Sequence[str]) -> 'Packed':
    """The same texts, packed."""
    whole = ''.join(texts).encode('utf-8', 'surrogatepass')
    ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
    return cls({'bytes': np.frombuffer(whole, np.uint8), 'ends': ends})

  @functools.cached_property
  def _texts(self):
    whole = self.arrays['bytes'].tobytes().decode('utf-8', 'surrogatepass')
    ends = self.arrays['ends'].tolist()
    if len(whole) != (ends[-1] if ends else 0):
      raise ValueError('texts and their ends do not fit')
    return [whole[a:b] for a, b in zip([0, *ends], ends)]

  def __len__(self) -> int:
    return len(self.arrays['ends'])

  def __getitem__(self, i):
    return self._texts[i]

  def __iter__(self) -> Iterator[str]:
    return iter(self._texts)


class Lists(Sequence):
  """Tuples of words, as numbers.

  Attributes:
    words: those that are different.
    numbers: int32[n, K], of each tuple's words; -1 behind its last.
  """

  def __init__(self, words: Sequence[str], numbers: np.ndarray):
    self.words, self.numbers = words, numbers

  @classmethod
  def of(cls, lists: Sequence[Sequence[str]]) -> 'Lists':
    """The same tuples."""
    words = {}
    each = [[words.setdefault(word, len(words)) for word in one]
            for one in lists]
    numbers = np.full((len(each), max(map(len, each), default=0)), -1, np.int32)
    for width in set(map(len, each)):
      which = [i for i, one in enumerate(each) if len(one) == width]
      numbers[which, :width] = np.array(
          [each[i] for i in which], np.int32).reshape(len(which), width)
    return cls(list(words), numbers)

  def __len__(self) -> int:
    return len(self.numbers)

  def __getitem__(self, i):
    if isinstance(i, slice):
      return [self[j] for j in range(*i.indices(len(self)))]
    return tuple(self.words[n] for n in self.numbers[i].tolist() if n >= 0)


class Coded(Sequence):
  """Values of rows; read like the list of them.

  Attributes:
    different: the values that are different, in the order of their first row.
    numbers: int32[m], which of them each row has.
  """

  def __init__(self, different: Sequence[Any], numbers: np.ndarray):
    self.different, self.numbers = different, numbers

  @classmethod
  def of(cls, values: Iterable[Any]) -> 'Coded':
    """The same values."""
    seen = {}
    numbers = np.fromiter(
        (seen.setdefault(value, len(seen)) for value in values), np.int32)
    return cls(list(seen), numbers)

  @classmethod
  def joined(cls, parts: Sequence['Coded']) -> 'Coded':
    """The values of all parts, one behind the other."""
    if len(parts) == 1:
      return parts[0]
    seen, numbers = {}, [np.zeros(0, np.int32)]
    for part in parts:
      places = [seen.setdefault(value, len(seen)) for value in part.different]
      numbers.append(np.array(places, np.int32)[part.numbers])
    return cls(list(seen), np.concatenate(numbers))

  def __len__(self) -> int:
    return len(self.numbers)

  def __getitem__(self, i):
    if isinstance(i, slice):
      return [self.different[n] for n in self.numbers[i].tolist()]
    return self.different[self.numbers[i]]

  def __iter__(self) -> Iterator[Any]:
    return map(self.different.__getitem__, self.numbers.tolist())

  def __eq__(self, other) -> bool:
    return isinstance(other, Sequence) and list(self) == list(other)

  __hash__ = None

  def first(self, count: int) -> 'Coded':
    """Those of the first rows."""
    numbers = self.numbers[:count]
    # They are numbered as they appear: no later value is among them.
    return Coded(self.different[:int(numbers.max(initial=-1)) + 1], numbers)


class Columns:
  """Rows that come one by one, of which each different value is kept once."""

  def __init__(self, count: int):
    """`count` values make a row."""
    self._seen = [{} for _ in range(count)]
    self._numbers = [array.array('i') for _ in range(count)]

  def add(self, row: Sequence[Any]) -> None:
    """Takes a row."""
    for value, seen, numbers in zip(row, self._seen, self._numbers):
      numbers.append(seen.setdefault(value, len(seen)))

  def coded(self) -> list[Coded]:
    """The columns."""
    return [Coded(list(seen), np.array(numbers, np.int32))
            for seen, numbers in zip(self._seen, self._numbers)]


def different(values: Sequence[Any]) -> tuple[Sequence[Any], np.ndarray]:
  """The values that are different, and int[m], which of them each row has."""
  if not isinstance(values, Coded):
    values = Coded.of(values)
  return values.different, values.numbers
