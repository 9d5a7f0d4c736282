"""Stopping a run from outside without losing anything."""
from collections.abc import Callable, Iterator
import contextlib
import multiprocessing
import os
import signal
import socket
import threading

from bst_jax.host import processes

_PATIENCE = 4.0  # Seconds that a program which is to end at once may take.


class Interrupt:
  """Turns SIGTERM and the first Ctrl-C into a flag; a second Ctrl-C is at once.

    with interrupt.Interrupt() as stop:
      with stop.at_once():  # Nothing is lost: a signal is a KeyboardInterrupt.
        prepare()
      for batch in batches:
        ...
        if stop.agreed():
          break

  Python runs handlers between its own instructions, which a compiler or a
  collective may keep it from for minutes. Where a signal is to act at once and
  the block is not left within seconds, a thread ends the process.

  Outside the main thread no signal can be caught, and `requested` stays False.

  Args:
    signals: those that are caught.

  Attributes:
    requested: whether a signal came.
    lossless: whether the last one ended an `at_once` block.
    last_words: what that thread calls before it ends the process.
  """

  def __init__(self, signals: tuple[int, ...] = (signal.SIGINT,
                                                 signal.SIGTERM)):
    self.requested = self.lossless = False
    self.last_words: list[Callable[[], None]] = []
    self._signals = signals
    self._vote = processes.Vote()
    self._at_once = False
    self._before = {}  # signal -> handler to put back
    self._left = threading.Event()

  def __enter__(self) -> 'Interrupt':
    if threading.current_thread() is threading.main_thread():
      for number in self._signals:
        self._before[number] = signal.signal(number, self._handle)
      # The system writes to it as a signal comes, whatever Python does.
      self._sent, self._bell = socket.socketpair()
      self._bell.setblocking(False)
      self._bell_before = signal.set_wakeup_fd(
          self._bell.fileno(), warn_on_full_buffer=False)
      threading.Thread(target=self._watch, daemon=True).start()
    return self

  def __exit__(self, *unused_exception) -> None:
    self._left.set()
    if self._before:
      signal.set_wakeup_fd(self._bell_before)
      self._bell.close()  # Which ends the thread.
    for number, handler in self._before.items():
      # None: the handler was not set from Python and cannot be put back.
      signal.signal(number, signal.SIG_DFL if handler is None else handler)
    self._before = {}

  @contextlib.contextmanager
  def at_once(self) -> Iterator[None]:
    """A block that a signal ends, as there is nothing in it to be lost."""
    before, self._at_once = self._at_once, True
    try:
      if self.requested:
        self.lossless = True
        raise KeyboardInterrupt
      yield
    finally:
      self._at_once = before

  def agreed(self, lag: int = processes.Vote.LAG) -> bool:
    """Whether any process was asked to stop; each calls this once a step.

    A signal reaches the processes between different steps, and one that leaves
    the loop alone leaves the others waiting in a collective. So all of them
    stop at the same step, `lag` steps later (`processes.Vote`).
    """
    return self._vote(self.requested, lag)

  def _handle(self, number, unused_frame):
    if self._at_once or (number == signal.SIGINT and self.requested):
      self.requested, self.lossless = True, self._at_once
      raise KeyboardInterrupt
    self.requested = True
    hint = ' Ctrl-C again stops at once.' if number == signal.SIGINT else ''
    # Not print or logging: a handler may run inside of either.
    os.write(2, f'\nStopping after this step.{hint}\n'.encode())

  def _watch(self):
    """Ends the process where a signal is to do that and Python cannot."""
    with self._sent:
      while rung := self._sent.recv(64):
        if not self._at_once or not set(rung) & set(self._signals):
          continue
        if self._left.wait(_PATIENCE):
          return
        for say in self.last_words:
          with contextlib.suppress(Exception):
            say()
        for child in multiprocessing.active_children():
          child.kill()
        os.write(2, b'\ninterrupted\n')
        os._exit(130)
