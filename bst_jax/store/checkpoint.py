"""Checkpoints of a workdir; the only file that imports orbax.

  <workdir>/checkpoints/<step>/params   the parameters, readable on their own
  <workdir>/checkpoints/<step>/train    step, optimiser, rng, extra
  <workdir>/checkpoints/<step>/ema      running means of parameters, if kept

What a checkpoint holds and the data iterator's state, one entry a process, are
in its own JSON metadata. A checkpoint of parameters only (`save_params`) has
the same form without `train`, so `load_params` reads both.
"""
import contextlib
import dataclasses
import logging as python_logging
import os
from typing import Any

from absl import logging
from bst_jax import elastic
from bst_jax.host import alive, processes
from bst_jax.learn import paths
from bst_jax.store import best as bests
from bst_jax.store import old_paths, steps, trees
from etils import epath
from flax.core import meta
import jax
import numpy as np
from orbax.checkpoint.experimental import v1 as ocp

# Fields of a TrainState in `train`; other items have the names of theirs.
_TRAIN = ('step', 'opt_state', 'rng', 'extra')


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
    keep_best: whether the best one that `note_score` was told of stays, too.
  """

  def __init__(self, workdir: str | os.PathLike, *, save_every: int = 1000,
               keep: int = 3, keep_every: int = 0, keep_best: bool = False):
    if keep < 1:
      raise ValueError(
          f'keep={keep} would delete each checkpoint as it is written; '
          'give at least 1.')
    self._workdir = workdir
    self._folder = steps.folder(workdir)
    self._save_every = save_every
    policies = ocp.training.preservation_policies
    kept = [policies.LatestN(keep)]
    if keep_every:
      kept.append(policies.EveryNSteps(keep_every))
    self._best, self._stays = None, bests.Policy(None)
    if keep_best:
      kept.append(self._stays)
      self._read_best()
    if jax.process_index() == 0:
      steps.clean(self._folder)
    self._orbax = ocp.training.Checkpointer(
        self._folder, preservation_policy=policies.AnyPreservationPolicy(kept))
    # `interrupt` stops runs, so jax's preemption service is off; orbax before
    # 0.12 asks that service at every save, and fails where it is off.
    self._orbax._manager.reached_preemption = lambda unused_step: False

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
    items = _items(trees.raw_keys(meta.unbox(state)))
    data = processes.gather(data_state)
    with steps.writing(self._folder):
      self._orbax.save_checkpointables_async(
          step, items, force=True, custom_metadata={
              'holds': 'state', 'ema': 'ema' in items, 'data': data})

  def note_score(self, step: int, score: float, of: str) -> None:
    """Keeps the checkpoint of this step if none before was as good.

    Args:
      step: of a checkpoint that was saved.
      score: more is better; one that is not finite is none.
      of: what was scored.
    """
    if not bests.is_better(score, self._best):
      return
    self.wait()  # A file must not name what may never be there.
    self._best = bests.Best(step, float(score), of)
    if jax.process_index() == 0:
      bests.write(self._workdir, self._best)
    self._stays.step = step
    logging.info('best so far: %s', self._best)

  def _read_best(self):
    # That of the first process holds for all.
    best = processes.gather({'best': dataclasses.asdict(best) if (
        best := bests.read(self._workdir)) else None})[0]['best']
    self._best = best and bests.Best(**best)
    self._stays.step = self._best and self._best.step

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
    items = _items(trees.raw_keys(meta.unbox(abstract_state)))

    def read(path):
      about = _about(path)
      if about.custom_metadata['holds'] == 'params':
        raise ValueError(
            f'Training cannot go on from {path}: it holds parameters only, '
            'without optimiser, step and data position. Start a new run from '
            f'it: a fresh --workdir and --config.start={self._workdir}.')
      there = old_paths.as_saved(items, trees.specs(about.metadata))
      trees.check_same(about.metadata, there, path)
      with steps.reading():
        loaded = ocp.load_checkpointables(
            path, jax.tree.map(trees.placed, there))
        loaded = old_paths.as_wanted(items, {
            item: trees.like(there[item], loaded[item]) for item in items})
        data = about.custom_metadata['data']
      return loaded, data

    (loaded, data), unusable = steps.newest_readable(self._workdir, step, read)
    if unusable:
      if jax.process_index() == 0:
        for path in unusable:
          steps.move_aside(path)
      processes.barrier('moved_aside')
      self._orbax.reload()
      if self._best:
        self._read_best()

    rest = abstract_state.replace(params=None, frozen=None, ema=None)
    fields = {field: loaded['train'][field] for field in _TRAIN}
    rest = trees.typed_keys(rest, trees.like(rest, rest.replace(**fields)))
    state = rest.replace(frozen=abstract_state.frozen, **{
        item: trees.like(getattr(abstract_state, item), loaded[item])
        for item in loaded if item != 'train'})
    return state, processes.own(data)

  def wait(self) -> None:
    """Returns once everything saved is on disk; OSError if it could not be."""
    with steps.writing(self._folder):
      self._orbax.wait()

  def close(self) -> None:
    """Waits, then releases orbax's threads."""
    with steps.writing(self._folder):
      try:
        self._orbax.wait()
      finally:
        self._orbax.close()


def _items(state: Any) -> dict[str, Any]:
  """What a checkpoint of a TrainState holds, by name.

  Orbax wants the very keys back that were written, so that `train` keeps those
  of the first version, empty or not.
  """
  train = {field: getattr(state, field) for field in _TRAIN}
  items = {'params': state.params,
           'train': train | {'params': None, 'frozen': None}}
  return items if state.ema is None else items | {'ema': state.ema}


def load_params(workdir: str | os.PathLike, abstract: Any = None,
                step: int | None = None) -> Any:
  """Reads only the parameters of a workdir, trained, extracted or converted.

  Where the training kept running means, they are taken in place of the
  parameters that they are of, and the log says so. Changes nothing on disk, so
  it may run beside a training. A newest checkpoint that cannot be read is
  passed over with a warning.

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
    items = {'params': jax.tree.map(kind, wanted)}
    if about.custom_metadata.get('ema'):
      logging.info('Of %s the running means are taken that its training kept '
                   '(config.ema).', path)
      items['ema'] = paths.split(
          items['params'], elastic.flatten(about.metadata['ema']).keys())[1]
    with steps.reading():
      loaded = ocp.load_checkpointables(path, items)
    return paths.join(old_paths.renewed(loaded['params']),
                      loaded.get('ema', {}))

  with alive.told(f'reading the parameters of {workdir}', False):
    params, _ = steps.newest_readable(workdir, step, read)
  if abstract is None:
    return params
  params = trees.like(abstract, params)
  return jax.tree.map(
      lambda x, like: x if trees.sharding(like) else x.astype(like.dtype),
      params, abstract)


def shapes(workdir: str | os.PathLike, step: int | None = None) -> Any:
  """Shapes of a workdir's parameters, as `load_params` would give them.

  Raises:
    ValueError: no such checkpoint, or none that can be read.
  """
  read = lambda path: old_paths.renewed(jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype),
      _about(path).metadata['params']))
  return steps.newest_readable(workdir, step, read)[0]


def save_params(workdir: str | os.PathLike, params: Any, step: int = 0) -> None:
  """Writes a checkpoint that holds only `params`, and waits for it.

  Raises:
    ValueError: the workdir already has a checkpoint of that step.
  """
  path = steps.folder(workdir) / str(step)
  if path.exists():
    raise ValueError(
        f'Parameters were to be written to {path}, which is there already; '
        'give a new workdir, or delete that folder first.')
  processes.barrier('no such checkpoint')  # Before another process writes it.
  path.parent.mkdir(parents=True, exist_ok=True)
  ocp.save_checkpointables(
      path, {'params': meta.unbox(params)},
      custom_metadata={'holds': 'params', 'data': processes.gather({})})


def _about(path: epath.Path):
  """Metadata of a checkpoint: the trees' shapes, and what we noted with it."""
  with steps.reading():
    about = ocp.checkpointables_metadata(path)
    noted = about.custom_metadata or {}
    items = {'state': {'params', 'train'}, 'params': {'params'}}.get(
        noted.get('holds'))
    if noted.get('ema'):
      items = items | {'ema'}
    if items is None:
      raise LookupError('its _CHECKPOINT_METADATA does not say what it holds')
    # Orbax gives None, and a warning, for an item whose metadata is damaged.
    lost = [item for item in sorted(items) if about.metadata.get(item) is None]
    if lost:
      raise LookupError(f'the metadata of {steps.listed(lost)} is lost or damaged')
    return about
