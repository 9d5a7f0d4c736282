"""How far the host runs ahead of the devices, and what the steps gave."""
import time

from bst_jax.host import processes
from bst_jax.run import progress
import jax

# Work that the devices may have before them: with none they would wait for the
# host between two steps, with much a signal would wait for them.
_SECONDS = 1.0
_MOST = 16  # Steps.


class Window:
  """Metrics of the steps since the last line of the log, and their time.

  Attributes:
    closed: how many steps the last closed window had.
    ahead: steps that may be unfinished when the next one is handed over, 0
      until it is known how long they take; the same in all processes.
  """

  def __init__(self, step: int):
    self._step, self._metrics, self.closed = step, [], 0
    self._began, self._first = time.monotonic(), step
    self.ahead, self._done = 0, step

  def add(self, step: int, metrics: dict[str, jax.Array]) -> int:
    """Takes the metrics of a step; waits for the devices if they are behind.

    Returns:
      The last step that is done.
    """
    self._metrics.append(metrics)
    if step == self._first + 2:  # The one behind that which was compiled.
      jax.block_until_ready(metrics)
      steps = _SECONDS / max(time.monotonic() - self._began, 1e-9)
      self.ahead = processes.gather({'ahead': min(int(steps), _MOST)})[0]['ahead']
      self._done = step
      return step
    done = len(self._metrics) - self.ahead
    if done > 0:
      jax.block_until_ready(self._metrics[done - 1])
    self._done = max(self._done, step - min(self.ahead, len(self._metrics)))
    return self._done

  def restart(self) -> float:
    """Sets the clock to zero; returns the seconds that it showed."""
    clock = time.monotonic()
    seconds, self._began = clock - self._began, clock
    return seconds

  def close(self, step: int) -> tuple[dict[str, float], float]:
    """Means of the window's metrics, all of them finite, and its seconds.

    Raises:
      FloatingPointError: a metric is not finite.
    """
    window = jax.device_get(self._metrics)
    for i, metrics in enumerate(window):
      progress.check_finite(metrics, self._step + i + 1)
    self._step, self._metrics, self.closed = step, [], len(window)
    means = {name: sum(float(m[name]) for m in window) / len(window)
             for name in window[0]}
    return means, self.restart()
