"""Batches on their way to the devices, one ahead of the step that runs."""
from collections.abc import Mapping
import time
from typing import Any

from bst_jax.learn import sharding
import jax


class Feed:
  """Places batches, the next one while a step runs.

    feed = Feed(batches, mesh)
    for last in ...:
      metrics = step(feed.take())     # Returns at once.
      if not last:
        feed.load()                   # Meanwhile, the batch behind it.
      save(feed.position)

  Args:
    batches: an iterator with `get_state`.
    mesh: splits the batches.

  Attributes:
    position: state of `batches` behind the batch that was taken last, whatever
      was loaded since.
  """

  def __init__(self, batches: Any, mesh: jax.sharding.Mesh):
    self._batches, self._mesh = batches, mesh
    self._ready = None  # (placed batch, state behind it)
    self._waited = 0.0
    self.position = batches.get_state()

  def take(self) -> Mapping[str, jax.Array]:
    """The next batch, as global arrays."""
    self.load()
    (batch, self.position), self._ready = self._ready, None
    return batch

  def load(self) -> None:
    """Reads and places the next batch, unless one is ready."""
    if self._ready is not None:
      return
    began = time.monotonic()
    batch = next(self._batches)
    self._waited += time.monotonic() - began
    self._ready = (sharding.place(batch, self._mesh),
                   self._batches.get_state())

  def waited(self) -> float:
    """Seconds of waiting for `batches` since this was last asked."""
    waited, self._waited = self._waited, 0.0
    return waited
