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
    steps: that a batch serves.
    step: how many were done before.

  Attributes:
    position: state of `batches` from which the step behind the last one gets
      its batch, whatever was loaded since. A batch that serves more steps is
      read again from it.
  """

  def __init__(self, batches: Any, mesh: jax.sharding.Mesh, steps: int = 1,
               step: int = 0):
    self._batches, self._mesh = batches, mesh
    self._steps, self._step = steps, step
    self._batch, self._before = None, None
    self._ready = None  # (placed batch, state before it, state behind it)
    self._waited = 0.0
    self.position = batches.get_state()

  def take(self) -> Mapping[str, jax.Array]:
    """The batch of the next step, as global arrays."""
    self.load()
    if self._ready is not None:
      (self._batch, before, behind), self._ready = self._ready, None
      self._before, self._behind = before, behind
    self._step += 1
    serves_on = self._step % self._steps
    self.position = self._before if serves_on else self._behind
    return self._batch

  def load(self) -> None:
    """Reads and places the batch of the next step, unless one is ready."""
    serves = self._batch is not None and self._step % self._steps
    if serves or self._ready is not None:
      return
    began = time.monotonic()
    before = self._batches.get_state()
    batch = next(self._batches)
    self._waited += time.monotonic() - began
    self._ready = (sharding.place(batch, self._mesh), before,
                   self._batches.get_state())

  def waited(self) -> float:
    """Seconds of waiting for `batches` since this was last asked."""
    waited, self._waited = self._waited, 0.0
    return waited


class Streams:
  """The feeds of a method by name, as one; see `Feed`.

  Args:
    batches: {stream: iterator with `get_state` and `set_state`}.
    mesh: splits the batches.
    steps: {stream: steps that a batch serves}.
    step: how many were done before.
    position: what `position` was then; None at the beginning.
  """

  def __init__(self, batches: Mapping[str, Any], mesh: jax.sharding.Mesh,
               steps: Mapping[str, int], step: int = 0,
               position: Mapping[str, Any] | None = None):
    # Runs of one stream kept the place of that alone, without its name.
    saved = (position or {}).get('streams', {'train': position})
    for name, iterator in batches.items():
      if saved.get(name) is not None:
        iterator.set_state(saved[name])
    self._feeds = {name: Feed(batches[name], mesh, steps[name], step)
                   for name in batches}

  @property
  def position(self) -> dict[str, Any]:
    """Where every stream goes on behind the last step."""
    return {'streams': {name: feed.position
                        for name, feed in self._feeds.items()}}

  def take(self) -> dict[str, Mapping[str, jax.Array]]:
    """{stream: batch} of the next step."""
    return {name: feed.take() for name, feed in self._feeds.items()}

  def load(self) -> None:
    """Reads and places what the next step needs."""
    for feed in self._feeds.values():
      feed.load()

  def waited(self) -> float:
    """Seconds of waiting for batches since this was last asked."""
    return sum(feed.waited() for feed in self._feeds.values())
