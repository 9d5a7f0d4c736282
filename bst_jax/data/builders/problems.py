"""Records that cannot be used: counted, listed, and no more than allowed."""
import collections
from collections.abc import Iterator, Mapping
import contextlib

_LISTED = 100  # of each kind
_NAMED = 20  # of each kind in an error


class Unusable(ValueError):
  """What is wrong with a record that is left out; `kind` as `Problems.add`."""

  def __init__(self, kind: str, what: str):
    super().__init__(kind, what)  # Both, so that it can be sent.
    self.kind = kind

  def __str__(self) -> str:
    return self.args[1]


class TooMany(ValueError):
  """More records are bad than may be left out; `problems` are all of them."""

  def __init__(self, words: str, problems: 'Problems | None' = None):
    super().__init__(words)
    self.problems = problems


class Problems:
  """Gathers what is wrong with single records while a data set is made.

    problems = Problems(most=5)
    with problems.gathered():
      problems.add('unreadable picture', 'train2014/x.jpg is cut short')

  Attributes:
    counts: kind -> how many.
    listed: kind -> the first hundred, in words.
    remarks: what else may be the reason, as sentences.
  """

  def __init__(self, most: int = 0):
    """`most` records may be left out; one more is an error."""
    self.most = most
    self.counts = collections.Counter()
    self.listed = collections.defaultdict(list)
    self.remarks, self._waiting = [], 0

  @property
  def too_many(self) -> bool:
    """Whether more were noted than may be left out."""
    return self.counts.total() > self.most

  @contextlib.contextmanager
  def gathered(self) -> Iterator[None]:
    """A block of which all is noted before it is counted, at its end.

    Raises:
      TooMany: more are bad than may be left out; a ValueError that ended the
        block is told along.
    """
    self._waiting += 1
    try:
      yield
    except ValueError as error:
      if self.too_many and not isinstance(error, TooMany):
        self.remark(str(error))
        self._waiting -= 1
        self._check()
        self._waiting += 1
      raise
    finally:
      self._waiting -= 1
    self._check()

  def add(self, kind: str, what: str) -> None:
    """Notes that a record is left out.

    Raises:
      TooMany: it is one too many, outside of a block of `gathered`; all noted
        so far are named.
    """
    self.counts[kind] += 1
    if len(self.listed[kind]) < _LISTED:
      self.listed[kind].append(what)
    self._check()

  def remark(self, words: str) -> None:
    """Notes a sentence that an error of too many bad records ends with."""
    if words not in self.remarks:
      self.remarks.append(words)

  def _check(self):
    if self.too_many and not self._waiting:
      remarks = ''.join(f'\n{words}' for words in self.remarks)
      raise TooMany(
          f'The data set was to be made with at most {self.most} bad records '
          f'left out, but there are more:\n{self}{remarks}\nMend them, or set '
          'config.data.max_bad to how many may be left out.', self)

  def merge(self, report: Mapping[str, Mapping]) -> None:
    """Adds what others noted, as their `report` gives it.

    Raises:
      TooMany: as of `add`.
    """
    for kind, noted in report.items():
      self.counts[kind] += noted['count']
      self.listed[kind] += noted['first'][:_LISTED - len(self.listed[kind])]
    self._check()

  def report(self) -> dict:
    """What a data set's metadata hold of it."""
    return {kind: {'count': count, 'first': self.listed[kind]}
            for kind, count in sorted(self.counts.items())}

  def told(self) -> str:
    """What may be left out and is bad, for the end of another error."""
    told = self.counts and not self.too_many  # Else `gathered` tells it.
    return f'\nBad records are\n{self}' if told else ''

  def __str__(self) -> str:
    return '\n'.join(
        f'  {kind}: {count}, as {"; ".join(self.listed[kind][:_NAMED])}'
        for kind, count in sorted(self.counts.items()))
