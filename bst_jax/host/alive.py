"""Signs of life of what takes long: a line at its start, and one now and then."""
from collections.abc import Callable, Iterable, Iterator
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
    self._began, self._counted, self._before = time.monotonic(), 0, 0
    self._total, self._unit = None, ''

  def count(self, parts: int, total: int | None, unit: str,
            made_before: bool = False) -> None:
    """Counts parts that are done, and how long the rest may take.

    Args:
      parts: that came to those before.
      total: of all parts, if that is known.
      unit: what the parts are, as `pictures`.
      made_before: whether they took none of the time.
    """
    self._counted += parts
    self._before += parts if made_before else 0
    self._total, self._unit = total, unit

  def said(self) -> str:
    """How far it is, as the beginning of a line's end."""
    if not self._unit:
      return self.done
    now, of, left = self._counted - self._before, '', ''
    if self._total:
      of = f' of {self._total:,}'
      if now > 0:
        rest = (self._total - self._counted) / now
        left = (f'about {duration(rest * (time.monotonic() - self._began))} '
                'left, ')
    return f'{self._counted:,}{of} {self._unit}, {left}'

  def over(self, items: Iterable[Any], unit: str = 'batch') -> Iterator[Any]:
    """The items, counted: as a bar on a terminal, else in the lines."""
    total = len(items) if hasattr(items, '__len__') else None
    of = '' if total is None else f' of {total}'
    for count, item in enumerate(tqdm.tqdm(items, self.what, unit=unit,
                                           disable=None)):
      self.done = f'{unit} {count + 1}{of}, '
      yield item


def duration(seconds: float) -> str:
  """`40 s`, `12 min` or `3 h 20 min`."""
  if seconds < 90:
    return f'{seconds:.0f} s'
  minutes = round(seconds / 60)
  return (f'{minutes} min' if minutes < 90 else
          f'{minutes // 60} h {minutes % 60} min')


@contextlib.contextmanager
def counted(what: str, total: int | None, unit: str, **bar: Any
            ) -> Iterator[Callable]:
  """A bar on a terminal, and elsewhere a line now and then, of many parts.

    with alive.counted('fetching', len(files), 'files') as count:
      for file in files:
        ...
        count(1)

  Args:
    what: is being done.
    total: how many parts there are; None where nobody knows.
    unit: what they are.
    **bar: more for the bar.

  Yields:
    (parts, whether they were there before, text behind the bar) -> None.
  """
  with told(what, False) as stretch, tqdm.tqdm(
      total=total, desc=what, unit=f' {unit}', leave=False, delay=2,
      disable=None, **bar) as shown:
    def count(parts: int, made_before: bool = False, note: str = '') -> None:
      stretch.count(parts, total, unit, made_before)
      if note:
        shown.set_postfix_str(note, refresh=False)
      shown.update(parts)
    yield count


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
        logging.info('%s: %s%.0f s', stretch.what, stretch.said(),
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
