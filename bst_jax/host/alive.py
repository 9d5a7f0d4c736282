"""Signs of life of what takes long: a line at its start, and one now and then."""
from collections.abc import Iterable, Iterator
import contextlib
import sys
import threading
import time
from typing import Any

from absl import logging
import tqdm

_SECONDS = 10.0  # Between two lines.

_running = []  # Stretches, one within the other; the innermost one speaks.


class Stretch:
  """What is being done, and how far.

  Attributes:
    what: that, as `evaluating 10 submodels`.
    done: parts of it that are done, '' where it has none.
  """

  def __init__(self, what: str):
    self.what, self.done = what, ''

  def over(self, items: Iterable[Any], unit: str = 'batch') -> Iterator[Any]:
    """The items, counted: as a bar on a terminal, else in the lines."""
    total = len(items) if hasattr(items, '__len__') else None
    of = '' if total is None else f' of {total}'
    for count, item in enumerate(tqdm.tqdm(items, self.what, unit=unit,
                                           disable=None)):
      self.done = f'{unit} {count + 1}{of}, '
      yield item


@contextlib.contextmanager
def told(what: str, at_once: bool = True) -> Iterator[Stretch]:
  """Logs what is done in the block, and every ten seconds that it still is.

    with alive.told('evaluating on test') as stretch:
      for batch in stretch.over(batches):
        ...

  While a bar is on the terminal, that is the sign of life.

  Args:
    what: is being done.
    at_once: whether it is said at the start, or when it takes long only.
  """
  stretch, ended, began = Stretch(what), threading.Event(), time.monotonic()
  if at_once:
    logging.info('%s', what)

  def tell():
    while not ended.wait(_SECONDS):
      if _running[-1:] == [stretch] and not _has_bar():
        logging.info('%s: %s%.0f s', stretch.what, stretch.done,
                     time.monotonic() - began)

  _running.append(stretch)
  threading.Thread(target=tell, daemon=True).start()
  try:
    yield stretch
  finally:
    _running.remove(stretch)
    ended.set()


def _has_bar() -> bool:
  """Whether a bar stands on the terminal."""
  return sys.stderr.isatty() and any(
      not bar.disable for bar in list(getattr(tqdm.tqdm, '_instances', ())))
