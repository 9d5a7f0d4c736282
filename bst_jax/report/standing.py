"""Tables of scores in a workdir: what joins one that stands there."""
from collections.abc import Mapping
import pathlib
from typing import Any

from bst_jax.store import steps
from bst_jax.store import workdir as workdirs

# What two tables share if their rows may stand side by side.
_SAME = ('step', 'data', 'split', 'rule', 'title', 'prior', 'ceiling',
         'recalibrated')


def place(workdir: str | pathlib.Path, result: Mapping[str, Any],
          other: str = '') -> tuple[str, dict[str, Any]]:
  """Where a result goes, and the table that then stands there.

  Rows of submodels join those that were scored of the same checkpoint on the
  same data, or take their places. A table of all submodels replaces one of an
  older checkpoint; less than that never does, and neither does a checkpoint
  that is not the newest: they get files of their own.

  Args:
    workdir: of the network.
    result: from `scoring.evaluate`.
    other: name of data that are not the workdir's own.

  Returns:
    Name of the files without their ending, and the table.
  """
  of = f'{other.replace("/", "_")}_' if other else ''
  usual = f'evaluation_{of}{result["split"]}'
  newest = max(steps.steps(steps.folder(workdir)), default=None)
  step = result.get('step', newest)
  result = dict(result) | {'step': step}
  # A name that is not taken for one of the newest.
  names = (usual, f'step_{step}_{usual}')[step != newest:]
  for name in names:
    before = _read(workdir, name)
    if before is None:
      return name, result
    if _is_same(before, result):
      return name, joined(before, result)
    if {row['submodel'] for row in before['rows']
        if row.get('trained', True)} <= {
            row['submodel'] for row in result['rows']}:
      return name, result
  return name, result


def joined(before: Mapping[str, Any],
           result: Mapping[str, Any]) -> dict[str, Any]:
  """A table with the rows of another, which hold; the cheapest one first."""
  rows = {row['submodel']: row for row in (*before['rows'], *result['rows'])}
  return dict(result) | {'rows': sorted(
      rows.values(), key=lambda row: (row['macs'], row['params']))}


def _is_same(before, result):
  """Whether two tables are of one checkpoint and the same questions."""
  first, *rest = [row.get('questions')
                  for row in (*before['rows'], *result['rows'])]
  return all(count == first for count in rest) and all(
      before.get(key) == result.get(key) for key in _SAME)


def _read(workdir, name):
  """The table of that name; None for none, or one that cannot be read."""
  path = pathlib.Path(workdir) / f'{name}.json'
  if not path.exists():
    return None
  try:
    table = workdirs.read_table(workdir, path.name)
  except ValueError:
    return None
  if not table.get('rows'):
    return None
  if 'step' not in table:  # Of an older version: newer than what it is of.
    place = steps.folder(workdir)
    newest = max(steps.steps(place), default=None)
    if newest is not None and (path.stat().st_mtime
                               >= (place / str(newest)).stat().mtime):
      table['step'] = newest
  return table
