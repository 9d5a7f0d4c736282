"""Exact scores of many channels: told how long, over devices, gone on with."""
from collections.abc import Mapping, Sequence
import json
import pathlib
import time
from typing import Any

from absl import logging
from bst_jax.elastic import base
from bst_jax.host import alive, files, processes
from bst_jax.learn import sharding
from bst_jax.pruning import exact, watched
from bst_jax.run.experiment import Experiment
import jax
from jax.sharding import NamedSharding, PartitionSpec
import numpy as np

# What is done, and what it is of, in the folder of a run: of whole sets, and
# around a cut.
PART, REFINED = 'scores.part.json', 'refined.part.json'
_CALL = 8  # Channels, or chunks of them, of one call of a program.
_CHUNKS = 1, 4, 16
_SAVED_EVERY = 10.0  # Seconds.


def score(exp: Experiment, params: Any, batches: Sequence[Mapping[str, Any]],
          sets: Mapping[str, np.ndarray], folder: pathlib.Path | None,
          settings: Mapping[str, Any], chunk: int = 0, part: str = PART
          ) -> dict[str, np.ndarray]:
  """Exact scores float64[2, n] of index sets: means over every other picture,
  and over the rest.

  All devices of all processes share each batch. What is done is written to
  `folder` by the first process, and a start after a kill goes on from there, to
  the same bits.

  Args:
    exp: whose model is scored.
    params: its parameters.
    batches: this host's pictures with `mask`, all of one shape.
    sets: int[n], the channels, by full axis name.
    folder: where what is done is kept; None keeps nothing.
    settings: what the scores depend on.
    chunk: channels that are worked on side by side; 0 finds what is fastest.
    part: name of the file.
  """
  path = folder and pathlib.Path(folder, part)
  counts = {name: len(some) for name, some in sets.items()}
  total = sum(counts.values()) * len(batches)
  run = _Run(exp, params, batches, sets, chunk)
  settings = json.loads(json.dumps(  # As it is read again.
      dict(settings) | {'devices': jax.device_count()}))
  done = processes.gather(_read(path, settings))[0]
  with alive.counted('scoring channels one by one', total,
                     'channels of a batch') as count:
    missing = [name for name in sets if name not in done['sets']]
    count(total - len(batches) * sum(counts[name] for name in missing),
          made_before=True)
    if missing and not run.chunk:
      run.tune(missing[0])
    if missing:
      logging.info(
          'Scoring %s channels one by one over %d batches will take about %s.',
          f'{sum(counts[name] for name in missing):,}', len(batches),
          alive.duration(run.estimate(missing)))
    for name in missing:
      begun = done['begun'] if done['begun'].get('set') == name else {}
      sums = np.asarray(begun.get('sums', np.zeros((2, counts[name]))))
      count(counts[name] * begun.get('batches', 0), made_before=True)
      written = time.monotonic()
      for i in range(begun.get('batches', 0), len(batches)):
        for places, values in run.of(name, i):
          sums[:, places] += values
          count(len(places))
        if time.monotonic() - written > _SAVED_EVERY:
          done['begun'] = dict(set=name, batches=i + 1, sums=sums.tolist())
          _write(path, settings, done)
          written = time.monotonic()
      # One picture has no second half.
      means = sums / np.maximum(run.rows, 1)[:, None]
      done['sets'][name], done['begun'] = means.tolist(), {}
      _write(path, settings, done)
  return {name: np.asarray(done['sets'][name], np.float64) for name in sets}


class _Run:
  """The programs of one scoring, its batches on the devices, and their times.

  Attributes:
    rows: int[2], pictures of all batches that are no padding, of both halves.
    chunk: channels side by side; 0 until it is known.
  """

  def __init__(self, exp, params, batches, sets, chunk):
    mesh = sharding.make_mesh({'data': -1})
    self._everywhere = NamedSharding(mesh, PartitionSpec())
    self._exp, self._scorers = exp, {}
    self._modules = watched.modules(exp)
    self._params = jax.device_put(params, self._everywhere)
    self._sets = sets
    self.chunk = chunk or int(mesh.devices.flat[0].platform == 'cpu')
    run = jax.jit(lambda params, batch: exact.logits(
        exp, exp.model, params, batch))
    whole = jax.jit(lambda mask: mask, out_shardings=self._everywhere)
    self._batches = []
    for batch in batches:
      batch = sharding.place(batch, mesh)
      self._batches.append((batch, run(self._params, batch),
                            np.asarray(whole(batch['mask']))))
    self.rows = sum(halves(mask, mask[None])[:, 0] for *_, mask in self._batches)

  def of(self, name, i):
    """Yields places of channels, and sums float64[2, m] of scores over batch i.
    """
    batch, teacher, mask = self._batches[i]
    scorer = self._scorer(name)
    kept = scorer.start(self._params, batch)
    length, count = self._length(), len(self._sets[name])
    for places in np.array_split(np.arange(count), range(length, count, length)):
      # The last call is as long as all others: another length is a program more.
      js = np.pad(self._sets[name][places], (0, length - len(places)), 'edge')
      found = np.asarray(
          scorer(self._params, batch, teacher, kept, js), np.float64)
      yield places, halves(mask, found[:len(places)])

  def tune(self, name):
    """Finds the chunk with which a channel takes the least time."""
    times = {}
    for chunk in _CHUNKS:
      self.chunk = chunk
      self._scorers.pop(name, None)
      times[chunk] = self._seconds(name)[1]
    self.chunk = min(times, key=times.get)
    self._scorers.pop(name, None)
    logging.info('%d channels are scored side by side (tried: %s).', self.chunk,
                 ', '.join(f'{n} at a time, {1e3 * each:.2f} ms each'
                           for n, each in times.items()))

  def estimate(self, sets):
    """Seconds that the sets will take, from the first and last of each kind.

    What lies behind a layer gets shorter from layer to layer, by about as much.
    """
    kinds = {}
    for name in sets:
      stack = name.partition('@')[2].split('/')[0]
      kinds.setdefault((base(name), stack), []).append(name)
    total, compiling = 0.0, []
    for names in kinds.values():
      ends = [self._seconds(name) for name in {names[0]: 0, names[-1]: 0}]
      compiling += [seconds for seconds, _ in ends]
      each = np.linspace(ends[0][1], ends[-1][1], len(names))
      total += sum(seconds * len(self._sets[name])
                   for name, seconds in zip(names, each)) * len(self._batches)
    return total + (len(sets) - len(compiling)) * float(np.mean(compiling))

  def _seconds(self, name):
    """Seconds of compiling, and then of one channel of one batch."""
    batch, teacher, _ = self._batches[0]
    scorer, times = self._scorer(name), []
    kept = None
    for _ in range(3):
      began = time.monotonic()
      kept = scorer.start(self._params, batch)
      jax.block_until_ready(kept)
      began_calls = time.monotonic()
      js = np.zeros(self._length(), np.int32)
      jax.block_until_ready(scorer(self._params, batch, teacher, kept, js))
      ended = time.monotonic()
      times.append((ended - began, (ended - began_calls) / len(js)))
    each = min(each for _, each in times[1:])
    # What enters the set is computed once a batch for all of its channels.
    once = min(whole - part * self._length() for whole, part in times[1:])
    return times[0][0], each + once / len(self._sets[name])

  def _scorer(self, name):
    if name not in self._scorers:
      self._scorers[name] = exact.Scorer(
          self._exp, name, self.chunk, self._everywhere, self._modules)
    return self._scorers[name]

  def _length(self):
    return _CALL * self.chunk


def halves(mask: np.ndarray, values: np.ndarray) -> np.ndarray:
  """Sums over every other picture, and over the rest.

  Args:
    mask: bool[B], false for padding.
    values: [n, B].

  Returns:
    [2, n].
  """
  real = values[:, mask]
  return np.stack([real[:, ::2].sum(1), real[:, 1::2].sum(1)])


def _read(path, settings):
  """What an earlier start left, of the same model and pictures."""
  nothing = {'sets': {}, 'begun': {}}
  if not path or not path.exists():
    return nothing
  try:
    found = json.loads(path.read_text())
    if found['settings'] == settings:
      done = found['done']
      logging.info('Scoring goes on: %d sets of channels are done in %s.',
                   len(done['sets']), path)
      return nothing | done
    logging.warning('%s is of another model, kind, pictures or number of '
                    'devices; scoring begins anew.', path)
  except (ValueError, KeyError, TypeError):
    logging.warning('%s cannot be read; scoring begins anew.', path)
  return nothing


def _write(path, settings, done):
  if path and jax.process_index() == 0:
    with files.beside(path) as place:
      place.write_text(json.dumps({'settings': settings, 'done': done}))
