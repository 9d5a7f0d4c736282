"""What the processes of a run tell one another."""
import collections
from collections.abc import Iterator, Mapping
import contextlib
import functools
import hashlib
import json
import os
import pathlib
import re
import sys
import time
from typing import Any

import jax
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec
import numpy as np

_SEEN_WITHIN = 5.0  # Seconds for a new file to show on a shared disk.
# What errors of jax say when the way to another process is cut.
_CUT = re.compile(r'Gloo|NCCL|RCCL|coordination|heartbeat|UNAVAILABLE|'
                  r'DEADLINE_EXCEEDED|Socket closed|Connection (closed|reset)')


def gather(data: dict) -> list[dict]:
  """Every process's dict, in order of process."""
  try:
    text = json.dumps(data)
  except TypeError as error:
    raise ValueError(
        f'data_state cannot be saved: {error}. It must be a dict of JSON: '
        'numbers, strings, lists and dicts.') from error
  if jax.process_count() == 1:
    return [json.loads(text)]
  mine = np.frombuffer(text.encode(), np.uint8)
  sizes = multihost_utils.process_allgather(np.array(mine.size))
  padded = np.pad(mine, (0, int(sizes.max()) - mine.size))
  rows = multihost_utils.process_allgather(padded)
  return [json.loads(bytes(row[:size])) for row, size in zip(rows, sizes)]


def own(data: list[dict]) -> dict:
  """This process's entry of what `gather` returned when it was saved.

  Entries that are all the same, as positions counted in global steps are, do
  for any number of processes.
  """
  if len(data) == jax.process_count():
    return data[jax.process_index()]
  if all(entry == data[0] for entry in data):
    return data[0]
  raise ValueError(
      f'The checkpoint has the data positions of {len(data)} processes, each '
      f'its own, and {jax.process_count()} are running now; restore on '
      f'{len(data)} processes, or start from its parameters by '
      'config.start.')


def all_agree(ok: bool) -> bool:
  """Whether `ok` is true in every process; every process must call this."""
  if jax.process_count() == 1:
    return ok
  return bool(multihost_utils.process_allgather(np.array(ok)).all())


def barrier(name: str) -> None:
  """Waits until every process is here."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(name)


class Vote:
  """Whether any process has said yes, told to all at the same call.

    vote = Vote()
    for batch in batches:
      ...
      if vote(asked):
        break

  Every process calls it once a step. An answer is that of `lag` calls before,
  so that nobody waits for the others: the devices add up one number a call,
  between their steps, while the host goes on. In one process it is `asked`.
  """

  LAG = 2  # Steps that the devices may be behind before the host waits.

  def __init__(self):
    self._pending = collections.deque()

  def __call__(self, asked: bool, lag: int = LAG) -> bool:
    if jax.process_count() == 1:
      return asked
    split, count = _counter()
    self._pending.append(count(jax.make_array_from_callback(
        (jax.device_count(),), split, lambda _: np.array([asked]))))
    answer = False
    while len(self._pending) > lag:
      answer |= bool(self._pending.popleft())
    return answer


@functools.cache
def _counter():
  """Where each device's answer lies, and a program that joins them."""
  mesh = jax.sharding.Mesh(np.array(jax.devices()), ('all',))
  return NamedSharding(mesh, PartitionSpec('all')), jax.jit(
      lambda answers: answers.any(),
      out_shardings=NamedSharding(mesh, PartitionSpec()))


@contextlib.contextmanager
def together() -> Iterator[None]:
  """What fails in one process fails in all of them, with the same words.

  For blocks in which the processes do not wait for one another; what fails
  elsewhere ends the others by the loss of this one.

  Raises:
    ValueError: another process failed, and why.
  """
  failure = None
  try:
    yield
  except Exception as error:
    failure = error
  said = [None] if jax.process_count() == 1 else [
      entry['error'] for entry in gather({'error': failure and str(failure)})]
  if failure is not None:
    raise failure
  for process, error in enumerate(said):
    if error is not None:
      raise ValueError(f'process {process} of {len(said)}: {error}')


def check_same(settings: Mapping[str, Any]) -> None:
  """Raises where the processes of a run differ in what must be the same.

  Compared are `settings` (JSON), the versions of jax and of the libraries that
  trace with it, this package's code, and the number of devices.

  Raises:
    ValueError: in every process; names what differs.
  """
  if jax.process_count() == 1:
    return
  mine = {key: json.dumps(value) for key, value in settings.items()}
  mine |= _versions() | {'devices': str(jax.local_device_count())}
  text = json.dumps(mine, sort_keys=True)
  digests = gather({'digest': hashlib.sha256(text.encode()).hexdigest()})
  if all(entry == digests[0] for entry in digests):
    return
  everyone = gather(mine)
  keys = dict.fromkeys(key for entry in everyone for key in entry)
  lines = []
  for key in keys:
    values = {}  # value -> processes that have it
    for process, entry in enumerate(everyone):
      values.setdefault(entry.get(key, 'absent'), []).append(process)
    if len(values) > 1:
      lines.append(f'  {key}: ' + ', '.join(
          f'{value} in {_named(who)}' for value, who in values.items()))
  raise ValueError(
      'The processes of this run differ:\n' + '\n'.join(lines)
      + '\nStart all of them by the same command, with the same files, '
      'libraries and number of devices.')


def check_shared(folder: str | os.PathLike) -> None:
  """Raises where a folder of this name is another one for some process."""
  if jax.process_count() == 1:
    return
  # A name that nobody has looked for: file systems remember what is missing.
  name = gather({'name': f'.shared{os.getpid()}.{time.time_ns()}'})[0]['name']
  path = pathlib.Path(folder) / name
  with together():
    if jax.process_index() == 0:
      path.touch()
  limit = time.monotonic() + _SEEN_WITHIN
  while not (seen := path.exists()) and time.monotonic() < limit:
    time.sleep(0.1)
  everyone = gather({'seen': seen})
  if jax.process_index() == 0:
    path.unlink()
  blind = [i for i, entry in enumerate(everyone) if not entry['seen']]
  if blind:
    raise ValueError(
        f'{folder} is not the same folder for all: what process 0 writes '
        f'there, {_named(blind)} cannot see. Checkpoints are written by all to '
        'one place; give a folder on a disk that all of them share.')


def is_lost(error: Exception) -> bool:
  """Whether an error of jax means that another process ended."""
  return (jax.distributed.is_initialized()
          and isinstance(error, (ValueError, RuntimeError))
          and bool(_CUT.search(str(error))))


def _named(who: list[int], most: int = 4) -> str:
  """`process 1`, `processes 0, 2 and 5 more`."""
  more = f' and {len(who) - most} more' if len(who) > most else ''
  return (f'process{"es" if len(who) > 1 else ""} '
          f'{", ".join(map(str, who[:most]))}{more}')


def _versions() -> dict[str, str]:
  """Versions of what a step is made by; for this package, a hash of its code.
  """
  digest, folder = hashlib.sha256(), pathlib.Path(__file__).parent
  for path in sorted(folder.rglob('*.py')):
    digest.update(f'{path.relative_to(folder)}'.encode() + path.read_bytes())
  found = {name: getattr(sys.modules.get(name), '__version__', 'absent')
           for name in ('jax', 'jaxlib', 'flax', 'optax', 'numpy')}
  return found | {'python': '.'.join(map(str, sys.version_info[:2])),
                  'code of bst_jax': digest.hexdigest()[:12]}
