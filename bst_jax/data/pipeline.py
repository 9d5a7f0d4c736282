"""The order of examples: shuffled, sharded by host, prefetched, resumable."""
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np


def endless(count: int, batch: int, gather: Callable, seed: int,
            shard_index: int, shard_count: int) -> Iterator[Any]:
  """Batches of `gather(indices, generator)` for ever.

  Every epoch is shuffled anew, the last rows that fill no batch are dropped.
  All hosts shuffle alike and take every `shard_count`-th index.

  Args:
    count: number of examples.
    batch: indices in a batch of this host.
    gather: (int[batch], numpy Generator) -> batch.
    seed: of order and generators.
    shard_index: this host.
    shard_count: number of hosts.

  Returns:
    A grain iterator with get_state() and set_state(state): the state, a small
    JSON dict, is all that a resumed run needs to see the batches that it would
    have seen.
  """
  import grain

  ds = grain.MapDataset.range(count).seed(seed).shuffle()
  ds = ds[shard_index::shard_count].batch(batch, drop_remainder=True).repeat()
  # Only indices travel through the shuffle; arrays are gathered a batch at a
  # time, from a generator that the position in the data decides.
  ds = ds.random_map(gather, seed=seed)
  return iter(ds.to_iter_dataset(
      grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)))


def once(count: int, batch: int, shard_index: int,
         shard_count: int) -> list[tuple[np.ndarray, np.ndarray]]:
  """Indices and true places of batches that visit every example exactly once.

  Returns:
    (int[batch], bool[batch]) pairs, as many on every host; places past the
    last example repeat the first one and are false.
  """
  mine = np.arange(shard_index, count, shard_count)
  batches = -(-count // (batch * shard_count))
  index = np.zeros(batches * batch, np.int64)
  index[:len(mine)] = mine
  true = np.arange(len(index)) < len(mine)
  return list(zip(index.reshape(-1, batch), true.reshape(-1, batch)))
