"""Which table the names of a checkpoint's tensors belong to."""
from collections.abc import Collection, Iterable
import functools
import importlib
import pathlib
import re

from absl import logging
from bst_jax.elastic import own_names
from bst_jax.interop import core
from bst_jax.interop.folders.description import Description

PACKAGE = 'bst_jax.interop'
# Modules there that are no tables.
OTHERS = ('core', 'files', 'folders')
# Tables that fill parts of models, whose names those of whole ones hold too.
_LAST = {'openvqa_mcan', 'glove', 'minivlm', 'minivlm_bert',
         'minivlm_pretrained'}


def fitting(names: Iterable[str]) -> list[str]:
  """Tables that know all of these names, the closest first."""
  names = set(names)
  shares = {family: share for family in own_names(PACKAGE, OTHERS)
           if (share := _share(family, names)) is not None}
  return sorted(shares, key=lambda family: (family in _LAST, -shares[family]))


def known(tensors: Collection[str], weights: pathlib.Path) -> str:
  """The table that knows the names of a checkpoint's tensors.

  Raises:
    ValueError: there is none.
  """
  tables = fitting(tensors)
  if not tables:
    shown = ', '.join(sorted(tensors)[:3])
    raise ValueError(
        f'no table knows the names of the tensors in {weights} ({shown}, …). '
        'If you know the family, name it by --table; docs/own_backbone.md tells '
        'how to write one.')
  logging.info('The names of the tensors are those of table %s.', tables[0])
  return tables[0]


def check_layers(tensors: Collection[str], family: str,
                 described: Description) -> None:
  """Raises where files describe other numbers of layers than there are.

  Before a model is built: it could be one of a million layers.
  """
  module = importlib.import_module(f'{PACKAGE}.{family}')
  rows = module.TABLE(None) if callable(module.TABLE) else module.TABLE
  names = core.rename(dict.fromkeys(tensors), getattr(module, 'RENAMES', ()))
  there = {}
  for foreign, ours, _ in rows:
    stack, inside, _ = (ours if isinstance(ours, str) else ours[0]).partition(
        '/layer_{i}')
    if not inside:
      continue
    pattern = re.compile(re.escape(foreign).replace(r'\{i\}', r'(\d+)'))
    there.setdefault(stack, set()).update(
        int(match[1]) for name in names if (match := pattern.fullmatch(name)))
  told = described.model['num_layers']
  told = (dict(encoder=told) if isinstance(told, int) else
          {f'stage_{i}': count for i, count in enumerate(told)})
  for stack, numbers in there.items():
    if numbers and len(numbers) != told.get(stack, 0):
      raise ValueError(
          f'{described.where} describes a model of {told.get(stack, 0):,} '
          f'layers ({stack}), but the weights have {len(numbers)}. Put the '
          'config.json beside them that they came with.')


def better(tensors: Collection[str], family: str,
           described: Description | None) -> str:
  """A word about what would fit better than a table did, for an error."""
  tables = fitting(tensors)
  if tables and family not in tables:
    return f' The names are those of table {tables[0]}: --table {tables[0]}.'
  if described:
    return (f' The sizes are those of {described.where}, which does not '
            'describe these weights.')
  return ''


def _share(family, names):
  """Share of the names that a table wants, where it knows all; else None."""
  module = importlib.import_module(f'{PACKAGE}.{family}')
  table, renames = module.TABLE, getattr(module, 'RENAMES', ())
  try:
    renamed = core.rename(dict.fromkeys(names), renames)
  except ValueError:  # Two spellings of one tensor: none of this table.
    return None
  wanted = _pattern(family)
  ignored = getattr(module, 'IGNORED', ())
  matched = {name for name in renamed if wanted.fullmatch(name)}
  rest = renamed.keys() - matched
  if not matched or not all(
      any(re.fullmatch(p, name) for p in ignored) for name in rest):
    return None
  # Names that need no other spelling, and few that are left over.
  kept = len(matched & names) + 0.5 * len(matched - names)
  rows = len(table) if isinstance(table, Collection) else len(matched)
  return (kept - len(rest)) / len(names) - 1e-4 * rows


@functools.cache
def _pattern(family):
  """Matches the foreign names of a table."""
  table = importlib.import_module(f'{PACKAGE}.{family}').TABLE
  rows = table(None) if callable(table) else table
  return re.compile('|'.join(
      re.escape(foreign).replace(r'\{i\}', r'\d+') for foreign, *_ in rows))
