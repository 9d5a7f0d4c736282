"""Stopping a run from outside without losing anything."""
import os
import signal
import threading

from bst_jax.host import processes


class Interrupt:
  """Turns SIGTERM and the first Ctrl-C into a flag; a second Ctrl-C is at once.

    with interrupt.Interrupt() as stop:
      for batch in batches:
        ...
        if stop.agreed():
          break

  Outside the main thread no signal can be caught, and `requested` stays False.
  """

  def __init__(self):
    self.requested = False
    self._vote = processes.Vote()
    self._before = {}  # signal -> handler to put back

  def __enter__(self) -> 'Interrupt':
    if threading.current_thread() is threading.main_thread():
      for number in (signal.SIGINT, signal.SIGTERM):
        self._before[number] = signal.signal(number, self._handle)
    return self

  def __exit__(self, *unused_exception) -> None:
    for number, handler in self._before.items():
      # None: the handler was not set from Python and cannot be put back.
      signal.signal(number, signal.SIG_DFL if handler is None else handler)
    self._before = {}

  def agreed(self) -> bool:
    """Whether any process was asked to stop; each calls this once a step.

    A signal reaches the processes between different steps, and one that leaves
    the loop alone leaves the others waiting in a collective. So all of them
    stop at the same step, some steps later (`processes.Vote`).
    """
    return self._vote(self.requested)

  def _handle(self, number, unused_frame):
    if number == signal.SIGINT and self.requested:
      raise KeyboardInterrupt
    self.requested = True
    hint = ' Ctrl-C again stops at once.' if number == signal.SIGINT else ''
    # Not print or logging: a handler may run inside of either.
    os.write(2, f'\nStopping after this step.{hint}\n'.encode())
