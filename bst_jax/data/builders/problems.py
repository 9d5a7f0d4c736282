"""Records that cannot be used: counted, listed, and no more than allowed."""
import collections
from collections.abc import Mapping

_LISTED = 100  # of each kind


class Unusable(ValueError):
  """What is wrong with a record that is left out; `kind` as `Problems.add`."""

  def __init__(self, kind: str, what: str):
    super().__init__(kind, what)  # Both, so that it can be sent.
    self.kind = kind

  def __str__(self) -> str:
    return self.args[1]


class Problems:
  """Gathers what is wrong with single records while a data set is made.

    problems = Problems(most=5)
    problems.add('unreadable picture', 'train2014/x.jpg is cut short')

  Attributes:
    counts: kind -> how many.
    listed: kind -> the first hundred, in words.
  """

  def __init__(self, most: int = 0):
    """`most` records may be left out; one more is an error."""
    self.most = most
    self.counts = collections.Counter()
    self.listed = collections.defaultdict(list)

  def add(self, kind: str, what: str) -> None:
    """Notes that a record is left out.

    Raises:
      ValueError: it is one too many; all noted so far are named.
    """
    self.counts[kind] += 1
    if len(self.listed[kind]) < _LISTED:
      self.listed[kind].append(what)
    self._check()

  def _check(self):
    if self.counts.total() > self.most:
      raise ValueError(
          f'The data set was to be made with at most {self.most} bad records '
          f'left out, but there are more:\n{self}\nMend them, or set '
          'config.data.max_bad to how many may be left out.')

  def merge(self, report: Mapping[str, Mapping]) -> None:
    """Adds what others noted, as their `report` gives it.

    Raises:
      ValueError: together it is too much; all noted so far are named.
    """
    for kind, noted in report.items():
      self.counts[kind] += noted['count']
      self.listed[kind] += noted['first'][:_LISTED - len(self.listed[kind])]
    self._check()

  def report(self) -> dict:
    """What a data set's metadata hold of it."""
    return {kind: {'count': count, 'first': self.listed[kind]}
            for kind, count in sorted(self.counts.items())}

  def __str__(self) -> str:
    return '\n'.join(
        f'  {kind}: {count}, as {"; ".join(self.listed[kind][:5])}'
        for kind, count in sorted(self.counts.items()))
