"""What is measured over a split, one file each, found by name.

A name with a dot in it, as `my_package.my_measure`, is a module of a user's own.
"""
from collections.abc import Callable, Mapping
import inspect
from typing import Any, NamedTuple

from bst_jax.elastic import by_name, check_name
import jax
import numpy as np

Arrays = Mapping[str, jax.Array]
# Files here that measures are made of.
_PARTS = 'bleu', 'cider', 'ngrams', 'ptb', 'rouge', 'tokens'


class Measure(NamedTuple):
  """A measure in two halves: on the device batch by batch, then on the host.

  Attributes:
    name: key of its numbers in results.
    title: of its numbers in tables and pictures, with their unit.
    read: (outputs, batch) -> {name: float[B, …]}, compiled with the model.
    join: how batches come together: 'rows', one behind the other without
      padding, or 'sum'.
    finish: ({name: array of the whole split}, data) -> {name: number}, the main
      one first; `data` tells names, as of question types.
  """

  name: str
  title: str
  read: Callable[[Arrays, Arrays], dict[str, jax.Array]]
  join: str
  finish: Callable[[Mapping[str, np.ndarray], Any], dict[str, float]]
  check: Callable[[], Any] = lambda: None


def create(config: str | Mapping[str, Any], output: str) -> Measure:
  """The measure that `make(output, …)` of a module gives.

  Args:
    config: the module's name, or `{'name': …}` with options of its `make`.
    output: of the model, that is measured.

  Raises:
    ValueError: no such measure or option.
  """
  options = {'name': config} if isinstance(config, str) else dict(config)
  name = options.pop('name')
  make = by_name(name, __name__, 'measure', 'make', leave=_PARTS).make
  known = [*inspect.signature(make).parameters][1:]
  for option in options:
    check_name(option, known, f'option of measure {name}')
  return make(output, **options)


class Gather:
  """Brings together what a measure reads, batch by batch.

    gather = Gather(measure)
    gather.add(found, mask)
    scores = gather.finish(data)
  """

  def __init__(self, measure: Measure):
    self._measure, self._parts = measure, []

  def add(self, found: Mapping[str, np.ndarray], mask: np.ndarray) -> None:
    """Adds what `read` gave for a batch whose real rows are bool[B]."""
    if self._measure.join == 'rows':
      found = {name: np.asarray(x)[np.asarray(mask, bool)]
               for name, x in found.items()}
    self._parts.append(found)

  def finish(self, data: Any) -> dict[str, float]:
    """The numbers of all that was added."""
    join = np.concatenate if self._measure.join == 'rows' else (
        lambda parts: np.sum(parts, axis=0))
    whole = {name: join([part[name] for part in self._parts])
             for name in self._parts[0]}
    return self._measure.finish(whole, data)


def main(row: Mapping[str, Any]) -> float:
  """The main number of a row of results."""
  return next(iter(numbers(row).values()))


def numbers(row: Mapping[str, Any]) -> dict[str, float]:
  """All numbers of a row of results, the main one first."""
  return row[row.get('measure', 'accuracy')]
