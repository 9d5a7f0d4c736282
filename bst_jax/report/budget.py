"""Choosing the best submodel that fits what a platform can afford."""
from collections.abc import Iterable, Mapping
import dataclasses
import re
from typing import Any

from bst_jax import elastic, scores

# What a budget may bound, and what it means.
KEYS = {
    'params': 'parameters of the extracted model',
    'macs': 'multiply-accumulates of an example',
    'mean_macs': 'multiply-accumulates of an image for its own tokens, on average',
    'latency_ms': 'measured milliseconds of one question on this machine',
}
_UNITS = {'': 1, 'K': 10 ** 3, 'M': 10 ** 6, 'G': 10 ** 9}


@dataclasses.dataclass(frozen=True)
class Budget:
  """At most `limit` of `key`, one of `KEYS`."""

  key: str
  limit: float

  @classmethod
  def parse(cls, text: str) -> 'Budget':
    """Reads `macs<=0.5G`, `params<=12M` or `latency_ms<=30`."""
    match = re.fullmatch(
        r'\s*(\w+)\s*<=\s*([\d.]+(?:e[+-]?\d+)?)\s*([KMG]?)\s*', text)
    try:
      key, number, unit = match.groups()
      limit = float(number) * _UNITS[unit]
    except (AttributeError, ValueError):
      raise ValueError(
          f'budget {text!r} is not KEY<=NUMBER; write it as macs<=0.5G, '
          'params<=12M or latency_ms<=30 (in quotes, for the shell).') from None
    elastic.check_name(key, KEYS, 'budget key')
    return cls(key, limit)

  def __str__(self) -> str:
    return f'{self.key}<={self.limit:,g}'

  def allows(self, row: Mapping[str, Any]) -> bool:
    """Whether a submodel with the costs in `row` fits."""
    return row[self.key] <= self.limit


def best(rows: Iterable[Mapping[str, Any]], budgets: Iterable[Budget],
         ) -> Mapping[str, Any]:
  """The best row that fits all budgets, the cheapest of equals.

  Args:
    rows: submodels with their scores and all costs that are bounded.
    budgets: limits, all of which must hold.

  Raises:
    ValueError: none fits; the message says what the least would be.
  """
  rows, budgets = list(rows), list(budgets)
  fits = [row for row in rows if all(b.allows(row) for b in budgets)]
  if not fits:
    least = '; '.join(
        f'{b.key} is at least {row[b.key]:,.4g} ({row["submodel"]})'
        for b in budgets for row in [min(rows, key=lambda r: r[b.key])])
    raise ValueError(
        f'no submodel of {len(rows)} fits {" and ".join(map(str, budgets))}: '
        f'{least}. Raise the budget, or train a space with smaller ones.')
  return max(fits, key=lambda row: (scores.main(row), -row['macs']))
