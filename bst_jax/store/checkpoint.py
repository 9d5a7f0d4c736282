"""Checkpoints of a workdir; the only file that imports orbax.

  <workdir>/checkpoints/<step>/params   the parameters, readable on their own
  <workdir>/checkpoints/<step>/train    step, optimiser, rng, extra

What a checkpoint holds and the data iterator's state, one entry a process, are
in its own JSON metadata. A checkpoint of parameters only (`save_params`) has
the same form without `train`, so `load_params` reads both.
"""
import contextlib
import logging as python_logging
import os
from typing import Any

from absl import logging
from bst_jax.host import processes
from bst_jax.store import old_paths, trees
from etils import epath
from flax.core import meta
import jax
import numpy as np
from orbax.checkpoint.experimental import v1 as ocp

_FOLDER = 'checkpoints'


def _is_worth_reading(record: python_logging.LogRecord) -> bool:
  """False for orbax's own records below WARNING, dozens for each save, and
  for the tracebacks that each of its threads logs of an error that it raises.
  """
  return (f'{os.sep}orbax{os.sep}' not in record.pathname
          or (record.levelno >= python_logging.WARNING
              and not record.exc_info))


python_logging.getLogger('absl').addFilter(_is_worth_reading)


class Store:
  """Saves and restores the training state of one workdir.

    with checkpoint.Store(workdir, save_every=1000) as store:
      if store.latest_step() is not None:
        state, data_state = store.restore(abstract_state)
      ...
      if store.due(step):
        store.save(step, state, data_state)

  Saving copies the arrays, then writes while training goes on; a checkpoint
  appears under its step only when it is complete. Leaving the block waits for
  the last one.

  Args:
    workdir: folder whose `checkpoints` this store owns; made if missing.
    save_every: steps between two checkpoints that are due; 0 for never.
    keep: how many of the latest checkpoints stay.
    keep_every: a checkpoint of a multiple of these steps stays for good; 0 for
      none.
  """

  def __init__(self, workdir: str | os.PathLike, *, save_every: int = 1000,
               keep: int = 3, keep_every: int = 0):
    if keep < 1:
      raise ValueError(
          f'keep={keep} would delete each checkpoint as it is written; '
          'give at least 1.')
    self._workdir = workdir
    self._folder = _folder(workdir)
    self._save_every = save_every
    policies = ocp.training.preservation_policies
    kept = [policies.LatestN(keep)]
    if keep_every:
      kept.append(policies.EveryNSteps(keep_every))
    if jax.process_index() == 0:
      _clean(self._folder)
    self._orbax = ocp.training.Checkpointer(
        self._folder, preservation_policy=policies.AnyPreservationPolicy(kept))

  def __enter__(self) -> 'Store':
    return self

  def __exit__(self, unused_kind, error, unused_traceback) -> None:
    if error is None:
      self.close()
    elif not processes.is_lost(error):  # Orbax would wait for who is lost.
      with contextlib.suppress(OSError):  # Of a save before; `error` counts.
        self.close()

  def latest_step(self) -> int | None:
    """Step of the newest checkpoint, or None where there is none."""
    latest = self._orbax.latest
    # A shared disk may show it to some processes before others.
    return processes.gather({'step': latest and latest.step})[0]['step']

  def due(self, step: int) -> bool:
    """Whether `step` is one to save after."""
    return (self._save_every > 0 and step > 0 and step % self._save_every == 0)

  def save(self, step: int, state: Any, data_state: dict) -> None:
    """Saves `state` under `step`, unless that step is saved already.

    Args:
      step: a host integer, as `int(state.step)` gives.
      state: a TrainState; its `frozen` is left out.
      data_state: this process's position in its data, a small dict of JSON.

    Raises:
      ValueError: `data_state` is not JSON.
      OSError: this checkpoint, or the one before it, could not be written (a
        full disk, say); those that are complete stay.
    """
    step = int(step)
    if any(known.step == step for known in self._orbax.checkpoints):
      return
    # Keys as numbers: not every orbax reads back the keys that it wrote.
    state = trees.raw_keys(meta.unbox(state))
    data = processes.gather(data_state)
    with _Writing(self._folder):
      self._orbax.save_checkpointables_async(
          step,
          {'params': state.params,
           'train': state.replace(params=None, frozen=None)},
          force=True, custom_metadata={'holds': 'state', 'data': data})

  def restore(self, abstract_state: Any, step: int | None = None
              ) -> tuple[Any, dict]:
    """Reads a checkpoint, by default the newest that can be read.

    A newest checkpoint that cannot be read is moved aside, to
    `<step>.unusable`, and the one before it is taken; a warning names both.

    Args:
      abstract_state: TrainState of ShapeDtypeStructs with shardings, which need
        not be those that it was saved with.
      step: the one to read; None for the newest.

    Returns:
      state: the TrainState, bit for bit, with `frozen` as in `abstract_state`.
      data_state: what this process gave to `save`.

    Raises:
      ValueError: there is no such checkpoint, none that can be read, it holds
        parameters only, or another model's.
    """
    self.wait()
    wanted = trees.raw_keys(meta.unbox(abstract_state))
    items = {'params': wanted.params,
             'train': wanted.replace(params=None, frozen=None)}

    def read(path):
      about = _about(path)
      if about.custom_metadata['holds'] == 'params':
        raise ValueError(
            f'Training cannot go on from {path}: it holds parameters only, '
            'without optimiser, step and data position. Start a new run from '
            f'it: a fresh --workdir and --config.init_from={self._workdir}.')
      there = old_paths.as_saved(items, trees.specs(about.metadata))
      trees.check_same(about.metadata, there, path)
      with _Reading():
        loaded = ocp.load_checkpointables(
            path, jax.tree.map(trees.placed, there))
        loaded = old_paths.as_wanted(items, {
            item: trees.like(there[item], loaded[item]) for item in items})
        data = about.custom_metadata['data']
      return loaded, data

    (loaded, data), unusable = _newest_readable(self._workdir, step, read)
    if unusable:
      if jax.process_index() == 0:
        for path in unusable:
          _move_aside(path)
      processes.barrier('moved_aside')
      self._orbax.reload()

    params = trees.like(abstract_state.params, loaded['params'])
    rest = abstract_state.replace(params=None, frozen=None)
    rest = trees.typed_keys(rest, trees.like(rest, loaded['train']))
    state = rest.replace(params=params, frozen=abstract_state.frozen)
    return state, processes.own(data)

  def wait(self) -> None:
    """Returns once everything saved is on disk; OSError if it could not be."""
    with _Writing(self._folder):
      self._orbax.wait()

  def close(self) -> None:
    """Waits, then releases orbax's threads."""
    with _Writing(self._folder):
      try:
        self._orbax.wait()
      finally:
        self._orbax.close()


def load_params(workdir: str | os.PathLike, abstract: Any = None,
                step: int | None = None) -> Any:
  """Reads only the parameters of a workdir, trained, extracted or converted.

  Changes nothing on disk, so it may run beside a training. A newest checkpoint
  that cannot be read is passed over with a warning.

  Args:
    workdir: folder that holds `checkpoints`.
    abstract: parameter tree of ShapeDtypeStructs. Shapes must agree; arrays
      come in its dtypes, and on its shardings where it has them.
    step: which checkpoint; None for the newest.

  Returns:
    Nested dict of numpy arrays; with `abstract`, a tree of its structure, of
    jax arrays where it has shardings.

  Raises:
    ValueError: no such checkpoint, none that can be read, or another model's.
  """

  def read(path):
    about = _about(path)
    if abstract is None:
      wanted = about.metadata['params']
    else:
      saved = {'params': about.metadata['params']}
      wanted = old_paths.as_saved(
          {'params': meta.unbox(abstract)}, trees.specs(saved))
      trees.check_same(saved, wanted, path, same_dtype=False)
      wanted = wanted['params']
    # The saved sharding is of no use: its devices may not be here.
    kind = lambda x: (x if abstract is not None and trees.sharding(x)
                      else np.ndarray)
    with _Reading():
      return old_paths.renewed(ocp.load_checkpointables(
          path, {'params': jax.tree.map(kind, wanted)})['params'])

  params, _ = _newest_readable(workdir, step, read)
  if abstract is None:
    return params
  params = trees.like(abstract, params)
  return jax.tree.map(
      lambda x, like: x if trees.sharding(like) else x.astype(like.dtype),
      params, abstract)


def save_params(workdir: str | os.PathLike, params: Any, step: int = 0) -> None:
  """Writes a checkpoint that holds only `params`, and waits for it.

  Raises:
    ValueError: the workdir already has a checkpoint of that step.
  """
  path = _folder(workdir) / str(step)
  if path.exists():
    raise ValueError(
        f'Parameters were to be written to {path}, which is there already; '
        'give a new workdir, or delete that folder first.')
  path.parent.mkdir(parents=True, exist_ok=True)
  ocp.save_checkpointables(
      path, {'params': meta.unbox(params)},
      custom_metadata={'holds': 'params', 'data': processes.gather({})})


# Finding a checkpoint.


class _UnusableError(Exception):
  """A checkpoint is damaged, as opposed to another model's."""


class _Reading:
  """Turns whatever orbax raises on damaged files into _UnusableError."""

  def __enter__(self):
    return self

  def __exit__(self, kind, error, unused_traceback):
    # Running out of memory is no damage, and the next would not fit either.
    if isinstance(error, Exception) and not isinstance(error, MemoryError) and (
        'RESOURCE_EXHAUSTED' not in str(error)):
      reason = ' '.join(str(error).split())[:200]
      raise _UnusableError(f'{kind.__name__}: {reason}') from error


class _Writing:
  """Turns what orbax raises while it writes into OSError, with what is left."""

  def __init__(self, folder: epath.Path):
    self._folder = folder

  def __enter__(self):
    return self

  def __exit__(self, unused_kind, error, unused_traceback):
    if not isinstance(error, Exception) or processes.is_lost(error):
      return
    reason = ' '.join(str(error).split())[:300]
    steps = _steps(self._folder)
    rest = (f'The newest complete one is that of step {steps[-1]}: make room, '
            'and the same command goes on from there.' if steps else
            'There is no complete one yet: make room, and start again.')
    raise OSError(f'A checkpoint could not be written to {self._folder} '
                  f'({reason}). {rest}') from error


def _folder(workdir) -> epath.Path:
  workdir = os.fspath(workdir)
  if '://' not in workdir:
    workdir = os.path.abspath(workdir)  # Orbax rejects relative paths.
  return epath.Path(workdir) / _FOLDER


def _steps(folder: epath.Path) -> list[int]:
  """Steps of the folder's finished checkpoints, ascending."""
  if not folder.exists():
    return []
  return sorted(int(path.name) for path in folder.iterdir()
                if path.name.isdecimal())


def _newest_readable(workdir, step, read):
  """Result of `read` on the newest checkpoint on which it does not fail.

  Args:
    workdir: folder that holds `checkpoints`.
    step: the only one to try, or None for all, newest first.
    read: function of a checkpoint's path; raises _UnusableError on damage.

  Returns:
    What `read` returned, and the paths of the newer ones that it failed on.
  """
  folder = _folder(workdir)
  # A shared disk may show them to some processes before others.
  steps = processes.gather({'steps': _steps(folder)})[0]['steps']
  if not steps:
    raise ValueError(_nothing_there(folder))
  if step is not None and step not in steps:
    raise ValueError(
        f'Checkpoint {step} was asked for, but {folder} has only the steps '
        f'{_listed(steps)}; give one of them, or none for the newest.')

  failures = {}  # path -> reason
  for candidate in reversed(steps) if step is None else [step]:
    path = folder / str(candidate)
    result, reason = None, ''
    try:
      result = read(path)
    except _UnusableError as error:
      reason = str(error)
    if processes.all_agree(not reason):
      if failures:
        logging.warning(
            'Using checkpoint %s, as the newer %s cannot be read (%s).', path,
            _listed(failures), next(iter(failures.values())))
      return result, list(failures)
    failures[path] = reason or 'another process could not read it'

  tried = '; '.join(f'{path.name} ({why})' for path, why in failures.items())
  others = [known for known in steps if known != step]
  if step is not None and others:
    remedy = f'Other steps there: {_listed(others)}.'
  else:
    remedy = ('Restore the folder from a copy, or start again in a new '
              'workdir.')
  raise ValueError(
      f'A readable checkpoint was looked for in {folder}, but every one tried '
      f'is damaged or unfinished: {tried}. {remedy}')


def _nothing_there(folder: epath.Path) -> str:
  workdir = folder.parent
  if not workdir.exists():
    why = f'{workdir} does not exist'
  elif not folder.exists():
    names = sorted(path.name for path in workdir.iterdir())
    why = (f"it has no folder '{_FOLDER}', only {_listed(names)}" if names
           else 'it is empty')
  else:
    names = sorted(path.name for path in folder.iterdir())
    why = (f"its '{_FOLDER}' has no finished one, only {_listed(names)}"
           if names else f"its '{_FOLDER}' is empty")
  return (f'A checkpoint was looked for in workdir {workdir}, but {why}. Give '
          'a workdir that bst_jax.train, extract or convert has written.')


def _about(path: epath.Path):
  """Metadata of a checkpoint: the trees' shapes, and what we noted with it."""
  with _Reading():
    about = ocp.checkpointables_metadata(path)
    noted = about.custom_metadata or {}
    items = {'state': {'params', 'train'}, 'params': {'params'}}.get(
        noted.get('holds'))
    if items is None:
      raise LookupError('its _CHECKPOINT_METADATA does not say what it holds')
    # Orbax gives None, and a warning, for an item whose metadata is damaged.
    lost = [item for item in sorted(items) if about.metadata.get(item) is None]
    if lost:
      raise LookupError(f'the metadata of {_listed(lost)} is lost or damaged')
    return about


def _clean(folder: epath.Path) -> None:
  """Removes what a killed process had not finished writing."""
  if not folder.exists():
    return
  for path in folder.iterdir():
    if '.orbax-checkpoint-tmp' in path.name:
      logging.info('Removing the unfinished checkpoint %s.', path)
      path.rmtree()


def _move_aside(path: epath.Path) -> None:
  target, n = path.parent / f'{path.name}.unusable', 1
  while target.exists():
    n += 1
    target = path.parent / f'{path.name}.unusable{n}'
  logging.warning('Moved the checkpoint that cannot be read to %s.', target)
  path.rename(target)


def _listed(items, most: int = 8) -> str:
  items = [getattr(item, 'name', str(item)) for item in items]
  more = f' and {len(items) - most} more' if len(items) > most else ''
  return ', '.join(items[:most]) + more
