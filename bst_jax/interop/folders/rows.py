"""The rows of a table that a checkpoint needs, and its tensors at our sizes."""
from collections.abc import Callable, Mapping
import inspect
import types
from typing import Any, NamedTuple

from absl import logging
from bst_jax.interop import core
from bst_jax.interop.folders.description import Description
from flax import linen as nn
import numpy as np

# What is at the top of our parameters where a model tells classes apart, if a
# table does not say it as HEAD.
_HEAD = ('head',)


class Rows(NamedTuple):
  """A table with what it leaves out, see `core`; `headless`: without a head."""

  TABLE: core.Table
  IGNORED: tuple[str, ...]
  RENAMES: tuple[tuple[str, str], ...]
  ADAPT: Callable | None
  PARTIAL: bool
  headless: bool = False


def head_of(module: types.ModuleType) -> tuple[str, ...]:
  """Names at the top of our parameters that an encoder alone may lack."""
  return getattr(module, 'HEAD', _HEAD)


def of(module: types.ModuleType, tensors: Mapping[str, np.ndarray],
       described: Description | None) -> Rows:
  """The rows of a table; without a head where the checkpoint has none."""
  rows = Rows(module.TABLE, tuple(getattr(module, 'IGNORED', ())),
              tuple(getattr(module, 'RENAMES', ())),
              getattr(module, 'ADAPT', None),
              getattr(module, 'PARTIAL', False))
  if described is None or rows.PARTIAL:
    return rows
  table = rows.TABLE(None) if callable(rows.TABLE) else rows.TABLE
  # Wrappers put a prefix before all names.
  there = lambda row: any(name.endswith(row[0]) for name in tensors)
  part = lambda row: str(row[1]).partition('/')[0]
  if any(there(row) for row in table if part(row) in _HEAD):
    return rows
  lacking = {row[0] for row in table
             if part(row) in head_of(module) and not there(row)}
  logging.warning(
      'The checkpoint has no head that tells classes apart: the head of %d '
      'classes is random. Train on with --config.start of the workdir.',
      described.sizes['num_answers'])

  def left(paths):
    all_rows = rows.TABLE(paths) if callable(rows.TABLE) else rows.TABLE
    return tuple(row for row in all_rows if row[0] not in lacking)

  return rows._replace(TABLE=left, PARTIAL=True, headless=True)


def adapted(rows: Rows, tensors: Mapping[str, np.ndarray], shapes: Any,
            model: nn.Module, resize: str | None,
            described: Description | None, family: str
            ) -> Mapping[str, np.ndarray]:
  """The tensors that a model reads.

  Args:
    rows, tensors: of the checkpoint.
    shapes: of our parameters.
    model: ours.
    resize: how places are resized, as a user asks for it.
    described: what files say of the checkpoint.
    family: name of the table.

  Raises:
    ValueError: `resize` of what has no places that could be resized.
  """
  able = rows.ADAPT and 'resize' in inspect.signature(rows.ADAPT).parameters
  if resize and not able:
    raise ValueError(f'--resize={resize} is about places of patches, and table '
                     f'{family!r} resizes none; leave it out.')
  if not rows.ADAPT:
    return tensors
  options = {'resize': resize or (described.resize if described else None)}
  if described and described.grid:
    options['grids'] = described.grid, model.token_grid
  known = inspect.signature(rows.ADAPT).parameters
  return rows.ADAPT(tensors, shapes, **{
      key: value for key, value in options.items() if value and key in known})
