"""What the processes of a run tell one another."""
import json

import jax
from jax.experimental import multihost_utils
import numpy as np


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
  """This process's entry of what `gather` returned when it was saved."""
  if len(data) == jax.process_count():
    return data[jax.process_index()]
  if all(entry == data[0] for entry in data):
    return data[0]
  raise ValueError(
      f'The checkpoint has the data positions of {len(data)} processes, each '
      f'its own, and {jax.process_count()} are running now; restore on '
      f'{len(data)} processes, or start from its parameters by '
      'config.init_from.')


def all_agree(ok: bool) -> bool:
  """Whether `ok` is true in every process; every process must call this."""
  if jax.process_count() == 1:
    return ok
  return bool(multihost_utils.process_allgather(np.array(ok)).all())


def any_of(asked: bool) -> bool:
  """Whether `asked` is true in any process; every process must call this."""
  return not all_agree(not asked)


def barrier(name: str) -> None:
  """Waits until every process is here."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(name)
