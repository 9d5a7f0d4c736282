"""A trace of some steps of a run for XProf, and what its memory holds then."""
import pathlib
import re
from typing import Any

from absl import logging
from bst_jax.store import workdir as workdirs
import jax

FOLDER = 'profile'
HELP = ('Traces these steps, both included and counted from 1, for XProf and '
        f"TensorBoard's Profile tab into the workdir's {FOLDER}/, as in 10:15; "
        'then reports the memory in use.')


def parse(text: str | None) -> range | None:
  """The steps that `10:15` names, both included; None for None.

  Raises:
    ValueError: the text is something else, or its steps are none.
  """
  if text is None:
    return None
  found = re.fullmatch(r'(\d+):(\d+)', text.strip())
  if not found:
    raise ValueError(f'--profile_steps {text} cannot be read; give FIRST:LAST, '
                     'such as 10:15.')
  first, last = map(int, found.groups())
  if first < 1:
    raise ValueError(f'--profile_steps {text} begins at step {first}, but '
                     'steps are counted from 1.')
  if last < first:
    raise ValueError(f'--profile_steps {text} ends before it begins; '
                     f'{last}:{first} would trace these steps.')
  return range(first, last + 1)


class Trace:
  """Traces the given steps of a loop.

    with profiling.Trace(profiling.parse('10:15'), workdir, total) as trace:
      for step in range(first + 1, total + 1):
        trace.before(step, state)
        state = train(state)
        trace.after(step, state)

  The workdir receives profile/plugins/profile/<time>/<host>.xplane.pb,
  profile/memory.json (see `memory`) and profile/memory.prof, for pprof.

  Only the first process traces. All run one program, so that its own devices
  show the whole step, waiting for others included; a trace of every host costs
  as many times the disk, and XProf would file those that begin in different
  seconds as different runs.

  The trace begins and ends with idle devices, so that it holds these steps and
  no others. With `steps` None, or where a run goes on from beyond them, nothing
  happens.

  Args:
    steps: what to trace.
    workdir: home of the folder.
    total: last step of the run.

  Raises:
    ValueError: there is no such step.
  """

  def __init__(self, steps: range | None, workdir: pathlib.Path, total: int):
    if steps and steps[-1] > total:
      raise ValueError(
          f'--profile_steps {steps[0]}:{steps[-1]} goes beyond the run, whose '
          f'last step is {total}.')
    self._steps = steps if steps and jax.process_index() == 0 else range(0)
    self._workdir = pathlib.Path(workdir)
    self._running = False
    self._begun = False
    self._annotation = None

  def __enter__(self) -> 'Trace':
    return self

  def __exit__(self, *unused_exception) -> None:
    # The loop was left in the middle: what was traced is kept.
    self._leave_step()
    if self._running:
      self._running = False
      jax.profiler.stop_trace()

  def before(self, step: int, state: Any) -> None:
    """Goes before the step, with the arrays that the last one made."""
    if self._steps and not self._begun and step > self._steps[-1]:
      logging.warning('the run goes on at step %d, past --profile_steps: '
                      'nothing is traced', step)
    self._begun = True
    if step not in self._steps:
      return
    if not self._running:
      jax.block_until_ready(state)
      jax.profiler.start_trace(self._workdir / FOLDER)
      self._running = True
    self._annotation = jax.profiler.StepTraceAnnotation('train', step_num=step)
    self._annotation.__enter__()

  def after(self, step: int, state: Any) -> None:
    """Goes after the step, with the arrays that it made."""
    self._leave_step()
    if not self._running or step < self._steps[-1]:
      return
    jax.block_until_ready(state)
    self._running = False
    jax.profiler.stop_trace()
    logging.info('traced up to step %d: xprof --logdir %s', step,
                 self._workdir / FOLDER)
    _report(self._workdir, step)

  def _leave_step(self):
    if self._annotation is not None:
      self._annotation.__exit__(None, None, None)
      self._annotation = None


def memory() -> list[dict[str, Any]]:
  """What each of this process's devices says of its memory.

  Returns:
    One dict a device: its name, and the backend's statistics, in bytes, such as
    bytes_in_use, peak_bytes_in_use and bytes_limit; None where it keeps none.
  """
  rows = []
  for device in jax.local_devices():
    try:
      statistics = device.memory_stats()
    except jax.errors.JaxRuntimeError:  # Some backends raise: unimplemented.
      statistics = None
    rows.append({'device': str(device), 'statistics': statistics})
  return rows


def _report(workdir, step):
  rows = memory()
  (workdir / FOLDER).mkdir(parents=True, exist_ok=True)
  workdirs.write_json(workdir / FOLDER, 'memory.json',
                      {'step': step, 'devices': rows})
  known = [row for row in rows if row['statistics']]
  if known:
    fullest = max(known, key=lambda r: r['statistics'].get(
        'peak_bytes_in_use', 0))
    use = fullest['statistics']
    gigabytes = lambda name: (
        f'{use[name] / 2**30:.2f} GiB' if name in use else 'unknown')
    logging.info('memory of %s: %s in use, %s at most until step %d, of %s',
                 fullest['device'], gigabytes('bytes_in_use'),
                 gigabytes('peak_bytes_in_use'), step, gigabytes('bytes_limit'))
  else:
    logging.info('the %s backend keeps no statistics of its memory',
                 jax.default_backend())
  place = workdir / FOLDER / 'memory.prof'
  try:
    jax.profiler.save_device_memory_profile(place)
    logging.info('buffers by the line that made them: pprof -text %s', place)
  except jax.errors.JaxRuntimeError as error:
    logging.info('this backend has no profile of its memory (%s)', error)
