"""Numbers of a run: JSONL, TensorBoard, a progress bar."""
from collections.abc import Mapping, Sequence
import json
import math
import os
import pathlib
import sys
import time
from typing import Any

from absl import logging
from bst_jax.host import files
from bst_jax.host.alive import duration
import tqdm

FILE = 'metrics.jsonl'
_SECONDS_PER_LINE = 10.0  # Between progress lines where there is no terminal.


class Writer:
  """Writes scalars to metrics.jsonl and TensorBoard, and shows progress.

    with metrics.Writer(workdir, total_steps, first_step=step) as writer:
      writer.write(step, {'loss/full': 2.3, 'lr': 1e-4})
      writer.update(step)

  A run that goes on from `first_step` drops what its killed forerunner wrote
  after that step, so the file reads as one run that was never interrupted.

  Args:
    workdir: folder of metrics.jsonl and tensorboard/; made if missing.
    total_steps: length of the progress bar.
    first_step: step of the checkpoint that the run starts from; 0 for none.
    enabled: False on all processes but the first: nothing is written or shown.
    shown: names, or beginnings of names, of the scalars on the progress bar.
  """

  def __init__(self, workdir: str | os.PathLike, total_steps: int, *,
               first_step: int = 0, enabled: bool = True,
               shown: Sequence[str] = ('loss', 'lr', 'examples_per_s')):
    self._enabled = enabled
    if not enabled:
      return
    import tensorboardX  # Slow to import; evaluating does not need it.

    workdir = pathlib.Path(workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    path = workdir / FILE
    _drop_after(path, first_step)
    self._file = open(path, 'a', encoding='utf-8')
    self._board = tensorboardX.SummaryWriter(
        str(workdir / 'tensorboard'),
        purge_step=first_step + 1 if first_step else None)
    self._total = total_steps
    self._first = self._step = first_step
    self._idle = 0.0  # Seconds in which no steps were to be made.
    self._shown, self._latest = tuple(shown), {}
    self._is_terminal = sys.stderr.isatty()
    self._began = self._logged = time.monotonic()
    self._bar = tqdm.tqdm(
        total=total_steps, initial=first_step, unit='step', dynamic_ncols=True,
        disable=not self._is_terminal)
    self._handler = logging.get_absl_handler().python_handler
    self._stream = self._handler.stream
    if self._is_terminal:
      self._handler.setStream(_AboveBar())

  def __enter__(self) -> 'Writer':
    return self

  def __exit__(self, *unused_exception) -> None:
    self.close()

  def write(self, step: int, scalars: Mapping[str, Any]) -> None:
    """Writes a line of scalars: host numbers or arrays of one element."""
    if not self._enabled:
      return
    scalars = {name: _number(value) for name, value in scalars.items()}
    line = {'step': int(step)} | {
        name: value if math.isfinite(value) else str(value)
        for name, value in scalars.items()}
    self._file.write(json.dumps(line) + '\n')
    self._file.flush()
    for name, value in scalars.items():
      self._board.add_scalar(name, value, int(step))
    self._board.flush()
    self._latest.update({
        name: value for name, value in scalars.items()
        if any(name == s or name.startswith(s + '/') for s in self._shown)})
    self._bar.set_postfix_str(self._summary(), refresh=False)

  def update(self, step: int) -> None:
    """Moves the progress bar to `step`; without a terminal, logs now and then.
    """
    if not self._enabled:
      return
    self._bar.update(int(step) - self._step)
    self._step = int(step)
    now = time.monotonic()
    late = now - self._logged >= _SECONDS_PER_LINE or self._step == self._total
    if not self._is_terminal and late:
      steps, seconds = self._step - self._first, max(now - self._began, 1e-9)
      left = (self._total - self._step) * seconds / steps if steps else 0
      logging.info(
          'step %d of %d, %.3g steps/s%s  %s', self._step, self._total,
          steps / max(seconds - self._idle, 1e-9),
          f', about {duration(left)} left' if left else '', self._summary())
      self._logged = now

  def restart(self, step: int) -> None:
    """Counts rate and time left from here: what was before was compiling."""
    if not self._enabled:
      return
    self._first, self._idle = int(step), 0.0
    self._began = self._logged = time.monotonic()
    self._bar.unpause()

  def leave_out(self, seconds: float) -> None:
    """Leaves out of the rate what was no training, but evaluation."""
    if self._enabled:
      self._idle += seconds
      self._bar.unpause()

  def close(self) -> None:
    """Closes the files and leaves the progress bar as it stands."""
    if not self._enabled:
      return
    if self._is_terminal:
      self._handler.setStream(self._stream)
    self._bar.close()
    self._board.close()
    self._file.close()

  def _summary(self) -> str:
    return ' '.join(f'{name}={value:.4g}'
                    for name, value in self._latest.items())


class _AboveBar:
  """Stream whose lines appear above the progress bar, not in it."""

  def write(self, text: str) -> None:
    tqdm.tqdm.write(text, file=sys.stderr, end='')

  def flush(self) -> None:
    sys.stderr.flush()


def read(workdir: str | os.PathLike) -> list[dict[str, Any]]:
  """Lines of the workdir's metrics.jsonl as dicts, in the order written.

  A last line that was being written as its run was killed is left out.

  Raises:
    ValueError: there is no such file, or a line before the last is damaged.
  """
  path = pathlib.Path(workdir) / FILE
  if not path.exists():
    raise ValueError(
        f'{FILE} was looked for in {workdir}, but it is not there; give a '
        'workdir in which bst_jax.train has logged at least once.')
  rows = []
  for line in _lines(path):
    rows.append({name: float(value) if value in ('nan', 'inf', '-inf')
                 else value for name, value in line.items()})
  return rows


def is_measured(workdir: str | os.PathLike, step: int) -> bool:
  """Whether metrics.jsonl has an evaluation of a step."""
  path = pathlib.Path(workdir) / FILE
  return path.exists() and any(
      row['step'] == step and any(name.startswith('eval/') for name in row)
      for row in read(workdir))


def check_finite(metrics: Mapping[str, Any], step: int,
                 since: int | None = None) -> None:
  """Raises FloatingPointError if a host value is not finite.

  Args:
    metrics: {name: number or array of one element}.
    step: the step that they are of.
    since: the last step that was checked before, which bounds the fault.
  """
  bad = {name: value for name, value in
         ((name, _number(value)) for name, value in metrics.items())
         if not math.isfinite(value)}
  if bad:
    values = ', '.join(f"'{name}' is {value}" for name, value in bad.items())
    where = (f'at step {step}' if since is None
             else f'between steps {since + 1} and {step}')
    raise FloatingPointError(
        f'{values} {where}, so training cannot go on. Try a lower '
        'config.optimizer.lr, a longer warm-up or gradient clipping; the last '
        'checkpoint before that is a safe place to go on from.')


def _number(value: Any) -> float:
  """A host float or int of a number or an array of one element."""
  if isinstance(value, (bool, int, float)):
    return value
  return value.item() if hasattr(value, 'item') else float(value)


def _lines(path: pathlib.Path) -> list[dict[str, Any]]:
  """Dicts of a JSONL file, less a half-written last line."""
  texts = path.read_bytes().split(b'\n')
  rows = []
  for i, text in enumerate(texts):
    if not text.strip():
      continue
    try:
      row = json.loads(text)
      if not isinstance(row, dict) or not isinstance(row.get('step'), int):
        raise ValueError('it has no step')
      rows.append(row)
    except (ValueError, RecursionError) as error:
      if i == len(texts) - 1:  # No newline behind it: its write was cut off.
        break
      raise ValueError(
          f'Line {i + 1} of {path} is no line of metrics ({error}); delete that '
          'line to go on.') from error
  return rows


def _drop_after(path: pathlib.Path, step: int) -> None:
  """Removes lines of later steps, and a half-written end, from a JSONL file."""
  if not path.exists():
    return
  kept = [row for row in _lines(path) if row['step'] <= step]
  with files.beside(path) as place:
    place.write_text(''.join(json.dumps(row) + '\n' for row in kept), 'utf-8')
