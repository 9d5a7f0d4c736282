"""What training changed of a model, in a small folder, and put onto its base.

Where adapters learn beside frozen layers, most parameters are those of the workdir
that training started from. A light folder has the others, and says whose they
are:

  light.json               config, sizes, what it holds and of which base
  parameters.npz           arrays by path
  vocab/, choice.json      as in the workdir, if they are there
"""
from collections.abc import Mapping
import hashlib
import pathlib
import shutil
from typing import Any
import zipfile

from bst_jax import elastic
from bst_jax.host import files
from bst_jax.run import experiment, start
from bst_jax.store import checkpoint, origin
from bst_jax.store import workdir as workdirs
import jax
import ml_collections
import numpy as np

LIGHT, ARRAYS = 'light.json', 'parameters.npz'
_FIELDS = {'config': dict, 'sizes': dict, 'holds': dict, 'base': dict}
_SHOWN = 6  # Parameters that an error names.


def write(workdir: str | pathlib.Path, output: str | pathlib.Path,
          step: int | None = None) -> int:
  """Writes what training changed of a workdir's model as a light folder.

  Args:
    workdir: whose training started from another one, which must be there.
    output: the folder, which must be empty or not there.
    step: of the checkpoint; None for the last.

  Returns:
    Its number of parameters.

  Raises:
    ValueError: training started from nothing, or the search for layers to skip
      has not ended.
  """
  workdir, exp = pathlib.Path(workdir), experiment.load(workdir)
  base = start.of(exp.config)
  if base is None:
    raise ValueError(
        f'{workdir} was to be written without the parameters that it started '
        'from, but it started at random: all of them are its own. Copy the '
        'workdir.')
  if getattr(exp.model, 'skip', ()) is None:
    raise ValueError(
        f'{workdir} is a search, in which every layer may be skipped or not; '
        'give the workdir of the training behind it, or what extract --choice '
        'made of it.')
  files.check_new(output)
  before = elastic.flatten(start.params(base, exp, exp.config.seed))
  taken = start.sources(base, exp)
  now = {path: np.asarray(leaf) for path, leaf in elastic.flatten(
      checkpoint.load_params(workdir, exp.shapes, step)).items()}
  kept = {path: leaf for path, leaf in now.items() if path not in taken
          or not np.array_equal(leaf, before[path], equal_nan=True)}
  rest = {path: leaf for path, leaf in now.items() if path not in kept}
  with files.folder_beside(output) as place:
    np.savez(place / ARRAYS, **kept)
    workdirs.write_json(place, LIGHT, {
        'holds': {path: list(leaf.shape) for path, leaf in kept.items()},
        'base': {'workdir': str(base.workdir), 'digest': digest(rest)},
        'config': exp.config, 'sizes': dict(exp.sizes)})
    _copy(workdir, place)
  return sum(leaf.size for leaf in kept.values())


def join(light: str | pathlib.Path, base: str | pathlib.Path,
         output: str | pathlib.Path) -> int:
  """Writes the workdir that a light folder came from.

  Args:
    light: the folder.
    base: workdir that its training started from.
    output: a new workdir.

  Returns:
    Its number of parameters.

  Raises:
    ValueError: something is missing, or belongs to another base.
  """
  light, output = pathlib.Path(light), pathlib.Path(output)
  said = workdirs.read_json(light, LIGHT, _FIELDS)
  config = ml_collections.ConfigDict(said['config'])
  begun = config.get('start') or {'workdir': ''}
  config.start = {'workdir': begun} if isinstance(begun, str) else begun
  config.start.workdir = str(base)
  exp = experiment.build(config, said['sizes'])
  files.check_new(output)
  kept = _arrays(light, said['holds'], elastic.flatten(exp.shapes))
  found = elastic.flatten(start.params(start.of(config), exp, config.seed))
  rest = {path: np.asarray(leaf) for path, leaf in found.items()
          if path not in kept}
  if digest(rest) != said['base'].get('digest'):
    raise ValueError(
        f'{light} was to be put onto {base}, but belongs to another base, '
        f'{said["base"].get("workdir")}: the parameters that it lacks are '
        'others here. Give the workdir that its training started from.')
  whole = rest | kept
  checkpoint.save_params(output, jax.tree.unflatten(
      jax.tree.structure(exp.shapes), [whole[path] for path in found]))
  _copy(light, output)
  experiment.save(output, config, exp.sizes)  # Last: it makes a workdir of it.
  return elastic.size(exp.shapes)


def digest(params: Mapping[str, np.ndarray]) -> str:
  """SHA-256 of arrays by path."""
  found = hashlib.sha256()
  for path in sorted(params):
    array = params[path]
    found.update(f'{path} {array.dtype} {array.shape}\n'.encode())
    found.update(np.ascontiguousarray(array).data)
  return found.hexdigest()


def _arrays(light: pathlib.Path, holds: Mapping[str, Any],
            wanted: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """The arrays of a light folder, which are all that it says it holds."""
  try:
    with np.load(light / ARRAYS, allow_pickle=False) as file:
      found = dict(file)
  except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
    raise ValueError(f'{light / ARRAYS} cannot be read ({error}); copy the '
                     'folder again.') from error
  missing = sorted(holds.keys() - found.keys())
  strange = sorted(path for path, leaf in found.items() if path not in wanted
                   or leaf.shape != wanted[path].shape or path not in holds)
  if missing or strange:
    what = 'lacks' if missing else 'has what its model has not:'
    paths = missing or strange
    raise ValueError(
        f'{light / ARRAYS} {what} {", ".join(paths[:_SHOWN])}'
        + (f' and {len(paths) - _SHOWN} more' if len(paths) > _SHOWN else '')
        + f', other than {LIGHT} says; copy the folder again, whole.')
  return found


def _copy(source: pathlib.Path, output: pathlib.Path) -> None:
  """Vocabularies, the choice, and what a model goes back to."""
  if (source / experiment.VOCAB).is_dir():
    shutil.copytree(source / experiment.VOCAB, output / experiment.VOCAB)
  if (source / workdirs.CHOICE).exists():
    shutil.copy(source / workdirs.CHOICE, output / workdirs.CHOICE)
  origin.copy(source, output)
