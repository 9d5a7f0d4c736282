"""Moves weights between foreign checkpoints and ours, by a table of rows.

A row is (foreign name, our path, op); `{i}` stands for a layer's number. The
engine is strict both ways: every tensor on either side must be accounted for.
Each op has an inverse, so a table that reads a family also writes it.

A table file holds
  TABLE    the rows; or a function that makes them from the paths of our
           parameters, and all that there may be from None.
and, where it needs them,
  IGNORED  regular expressions of foreign names that may be left over; they are
           not written back.
  RENAMES  pairs (regular expression, replacement), applied in turn to every
           foreign name: old spellings and prefixes.
  ADAPT    (foreign tensors, shapes of ours) -> the tensors
           that a model of our sizes reads; where it resizes places, with
           arguments `resize`, one of `tokens.RESIZES`, and `grids`, rows and
           columns of patches of theirs and of ours.
  PARTIAL  whether it fills only a part of our model: the rest keeps the
           parameters that it starts from; False if left out.
  HEAD     names at the top of our parameters that files of the encoder alone
           lack; ('head',) if left out.
  load     (path, words, our parameters or shapes) -> foreign tensors by name,
           where the foreign file is looked up by the words of the data.
"""
from collections.abc import Callable, Collection, Mapping, Sequence
import re
from typing import Any, NamedTuple

from absl import logging
from bst_jax.elastic import flatten
import numpy as np


class Op(NamedTuple):
  """How one tensor changes its layout.

  Attributes:
    read: (foreign array, shape of ours) -> ours.
    write: ours -> foreign.
    shape: shape of ours -> shape of the foreign tensor.
  """

  read: Callable[[np.ndarray, tuple[int, ...]], np.ndarray]
  write: Callable[[np.ndarray], np.ndarray]
  shape: Callable[[tuple[int, ...]], tuple[int, ...]]


def linear(inputs: int = 1) -> Op:
  """torch's (out, in) matrix; the first `inputs` axes of ours are the input."""
  def shape(ours):
    return int(np.prod(ours[inputs:])), int(np.prod(ours[:inputs]))
  return Op(lambda x, ours: x.T.reshape(ours),
            lambda x: x.reshape(shape(x.shape)[::-1]).T, shape)


def _flat(ours):
  return (int(np.prod(ours)),)


COPY = Op(lambda x, ours: x, lambda x: x, lambda ours: ours)
# A bias or a gain of one axis in torch, of (heads, head_dim) in ours.
VECTOR = Op(lambda x, ours: x.reshape(ours), lambda x: x.reshape(-1), _flat)
LINEAR = linear(1)
# A projection whose input is (heads, head_dim).
LINEAR_FROM_HEADS = linear(2)
# torch's (out, in, height, width) convolution.
CONV = Op(lambda x, ours: x.transpose(2, 3, 1, 0),
          lambda x: x.transpose(3, 2, 0, 1),
          lambda ours: (ours[3], ours[2], ours[0], ours[1]))
# The same of one tap, as a matrix of ours.
POINTWISE = Op(lambda x, ours: x[:, :, 0, 0].T,
               lambda x: x.T[:, :, None, None],
               lambda ours: (ours[1], ours[0], 1, 1))


def lone(axes: int) -> Op:
  """What stands behind leading axes of one in torch, as one of a batch."""
  return Op(lambda x, ours: x.reshape(ours), lambda x: x[(None,) * axes],
            lambda ours: (1,) * axes + tuple(ours))


Row = tuple[str, str | tuple[str, ...], Op]
Table = Sequence[Row] | Callable[[Collection[str] | None], Sequence[Row]]


def linear_rows(foreign: str, ours: str, op: Op = LINEAR) -> tuple[Row, ...]:
  """Weight, by `op`, and bias of a linear layer."""
  return ((f'{foreign}.weight', f'{ours}/kernel', op),
          (f'{foreign}.bias', f'{ours}/bias', VECTOR))


def norm_rows(foreign: str, ours: str) -> tuple[Row, ...]:
  """Gain and shift of a normalisation."""
  return ((f'{foreign}.weight', f'{ours}/scale', COPY),
          (f'{foreign}.bias', f'{ours}/bias', COPY))


def conv_norm_rows(foreign: tuple[str, str],
                   ours: tuple[str, str]) -> tuple[Row, ...]:
  """A convolution without bias and the batch normalisation behind it."""
  (conv, norm), (kernel, scale) = foreign, ours
  return ((f'{conv}.weight', f'{kernel}/kernel', CONV),
          *norm_rows(norm, scale),
          (f'{norm}.running_mean', f'{scale}/stats/mean', COPY),
          (f'{norm}.running_var', f'{scale}/stats/var', COPY))


def rows_for(table: Table, paths: Sequence[str]) -> list[Row]:
  """The rows whose targets exist among `paths`, with `{i}` filled in."""
  known, rows = set(paths), []
  table = table(known) if callable(table) else table
  for foreign, ours, op in table:
    ours = (ours,) if isinstance(ours, str) else tuple(ours)
    pattern = re.escape(ours[0]).replace(r'\{i\}', r'(?P<i>\d+)')
    found = (re.fullmatch(pattern, path) for path in paths)
    for i in sorted({int(m.groupdict().get('i', 0)) for m in found if m}):
      filled = tuple(path.format(i=i) for path in ours)
      if known.issuperset(filled):
        rows.append((foreign.format(i=i), filled, op))
  return rows


def rename(foreign: Mapping[str, np.ndarray],
           renames: Sequence[tuple[str, str]]) -> dict[str, np.ndarray]:
  """The tensors under the names that a table knows."""
  old = {}
  for name in foreign:
    new = name
    for pattern, replacement in renames:
      new = re.sub(pattern, replacement, new)
    if new in old:
      raise ValueError(f'the checkpoint holds both {old[new]} and {name}, '
                       f'two spellings of {new}; leave one of them out.')
    old[new] = name
  return {new: foreign[name] for new, name in old.items()}


def named(table: Table, foreign: Mapping[str, np.ndarray],
          target: Any, renames: Sequence[tuple[str, str]] = ()
          ) -> dict[str, np.ndarray]:
  """The tensors under the names that a table knows, without a wrapper's prefix.

  Training frameworks put `module.`, `_orig_mod.`, `model.` and others before
  all names. Such a prefix goes where no tensor is known with it and some are
  without.

  Args:
    table, foreign, target, renames: see `read`.
  """
  wanted = {name for name, _, _ in rows_for(table, list(flatten(target)))}
  plain = rename(foreign, renames)
  if not foreign or wanted & plain.keys():
    return plain
  first, prefix = next(iter(foreign)), ''
  for part in first.split('.')[:-1]:
    prefix += f'{part}.'
    if not all(name.startswith(prefix) for name in foreign):
      break
    short = rename({name.removeprefix(prefix): value
                    for name, value in foreign.items()}, renames)
    if wanted & short.keys():
      logging.info('All names begin with %s, which is left out.', prefix)
      return short
  return plain


def unsourced(table: Table, target: Any) -> list[str]:
  """Paths of our parameters that no row of a table fills."""
  paths = list(flatten(target))
  covered = {path for _, ours, _ in rows_for(table, paths) for path in ours}
  return sorted(set(paths) - covered)


def read(table: Table, foreign: Mapping[str, np.ndarray], target: Any,
         ignored: Sequence[str] = (), renames: Sequence[tuple[str, str]] = (),
         partial: bool = False, allow_nonfinite: bool = False) -> Any:
  """Parameters in our tree from the tensors of a foreign checkpoint.

  Args:
    table: rows of the checkpoint's family.
    foreign: its tensors by name.
    target: our tree of arrays or shapes, which says what is wanted.
    ignored: regular expressions of foreign names that may be left over.
    renames: pairs (regular expression, replacement) for foreign names.
    partial: keep the arrays of `target` where the table has no row, which
      `unsourced` lists; every row still wants its tensor.
    allow_nonfinite: take NaN and infinity as they are.

  Returns:
    A nested dict of float32 arrays with the shapes of `target`.

  Raises:
    Misfit: lists missing, unexpected and misshapen tensors, all at once.
    ValueError: a tensor holds NaN or infinity.
  """
  foreign = named(table, foreign, target, renames)
  shapes = {path: tuple(leaf.shape) for path, leaf in flatten(target).items()}
  rows = rows_for(table, list(shapes))
  missing, misshapen, result = [], [], {}
  for name, paths, op in rows:
    if name not in foreign:
      missing.append(name)
      continue
    value = np.asarray(foreign[name])
    want = op.shape(shapes[paths[0]])
    want = (want[0] * len(paths), *want[1:])
    if value.shape != want:
      misshapen.append(f'{name} {value.shape}, wanted {want}')
      continue
    for path, piece in zip(paths, np.split(value, len(paths))):
      result[path] = op.read(piece, shapes[path]).astype(np.float32)

  used = {name for name, _, _ in rows}
  unexpected = [n for n in foreign if n not in used
                and not any(re.fullmatch(p, n) for p in ignored)]
  rest = unsourced(table, target)
  problems = {
      'missing': missing, 'unexpected': unexpected, 'misshapen': misshapen,
      'without a row in the table': [] if partial else rest}
  if any(problems.values()):
    raise Misfit(
        'the checkpoint does not fit the model: ' + '; '.join(
            f'{len(found)} {what} ({", ".join(found[:5])}'
            f'{", …" if len(found) > 5 else ""})'
            for what, found in problems.items() if found)
        + '. Check the sizes in config.model and the table that was named.')
  if not allow_nonfinite:
    _check_finite({name: foreign[name] for name in used})
  if partial:
    ours = flatten(target)
    result |= {path: np.asarray(ours[path], np.float32) for path in rest}
  return unflatten(result)


class Misfit(ValueError):
  """A checkpoint that is not of the table, or not of the model's sizes."""


def _check_finite(foreign):
  """Raises where a tensor holds a number that is none."""
  bad = {name: int(np.sum(~np.isfinite(x))) for name, x in foreign.items()
         if np.issubdtype(x.dtype, np.floating)}
  bad = {name: count for name, count in bad.items() if count}
  if bad:
    shown = ', '.join(f'{name} ({n:,})' for name, n in list(bad.items())[:5])
    raise ValueError(
        f'{len(bad)} of {len(foreign)} tensors of the checkpoint hold NaN or '
        f'infinity: {shown}{", …" if len(bad) > 5 else ""}. A model of them '
        'answers nonsense; fetch the checkpoint again or take an earlier one. '
        'To convert it as it is, give --allow_nonfinite.')


def write(table: Table, params: Any) -> dict[str, np.ndarray]:
  """The inverse of `read`: foreign tensors by name from our parameters."""
  flat = flatten(params)
  rows = rows_for(table, list(flat))
  left = unsourced(table, params)
  if left:
    raise ValueError(f'the table has no row for {left[:5]}; name the '
                     "table of this model's family.")
  return {name: np.concatenate([op.write(np.asarray(flat[p])) for p in paths])
          for name, paths, op in rows}


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
  """Nested dict from {'a/b': leaf}."""
  tree = {}
  for path, leaf in flat.items():
    *parents, last = path.split('/')
    node = tree
    for key in parents:
      node = node.setdefault(key, {})
    node[last] = leaf
  return tree
