"""What all commands share: flags, help, errors and exit codes, start, stop.

Importing this file, or asking a command for --help, does not import jax.

Exit codes: 0 done; 1 a file could not be read or written, or a fault of ours;
2 the user's input is wrong; 3 a number stopped being finite; 4 another process
of the run was lost; 130 interrupted.
"""
import atexit
from collections.abc import Callable, Sequence
import difflib
import logging as python_logging
import os
import re
import signal
import sys
import time
import traceback
from typing import Any

from absl import flags, logging
from bst_jax.host import (
  command_help,
  config_flag,
  heap,
  processor,
  program_cache,
)
from bst_jax.host.config_flag import UsageError
from ml_collections import config_flags

FLAGS = flags.FLAGS

_MULTIHOST = flags.DEFINE_bool(
    'multihost', False,
    'Join the other processes of this run; the launcher sets it.')
_COORDINATOR = flags.DEFINE_string(
    'coordinator', None,
    'HOST:PORT of process 0, for --multihost where the platform does not tell '
    '(TPU, GKE, Slurm and MPI do). Then --num_processes and --process_id too.')
_NUM_PROCESSES = flags.DEFINE_integer(
    'num_processes', None, 'How many processes there are; see --coordinator.')
_PROCESS_ID = flags.DEFINE_integer(
    'process_id', None, 'Which one this is, from 0; see --coordinator.')
_COMPILATION_CACHE = flags.DEFINE_string(
    'compilation_cache', None,
    'Folder or bucket that keeps compiled programs, so that a second start is '
    f'quick; {program_cache.NONE} for none. If left out, a folder of the home '
    f'folder, or that of {program_cache.VARIABLE}.')
_TRACEBACK = flags.DEFINE_bool(
    'traceback', False, 'Show where in the code an error comes from.')

# The flag of `run.other_data`; --data.KEY=VALUE is short for --data=KEY=VALUE.
DATA = 'data'

_INTERRUPTED = 130
_HELP = ('help', 'h', '?', 'helpshort')
# Seconds of silence after which a process counts as lost. Jax waits for 100;
# threads of its own send the signs of life, so that work delays none.
_HEARTBEAT = 30
# Seconds that process 0, without whom jax ends the others, outlives an error,
# so that they can say theirs.
_LAST_WORDS = 3.0


def run(main: Callable[[], Any], description: str,
        examples: str | Sequence[str] = '', command: str = '') -> None:
  """Parses the flags, calls `main()`, and exits with a code that tells.

  Args:
    main: takes nothing (it reads its flags); what it returns is dropped.
    description: what the command does, for --help. `FIRST` of the module of
      main names the few flags that --help tells before all others.
    examples: command lines, for --help.
    command: how it was called, for --help; '' for what python was told to run.
  """
  code = _run(main, description, examples, command)
  if code:
    _leave(code)
  if code == _INTERRUPTED:
    atexit.register(_end_now)
  sys.exit(code)


def define_workdir(text: str = 'Folder of config, metrics and checkpoints.'
                   ) -> flags.FlagHolder:
  """Defines --workdir; two commands in one process share it."""
  if 'workdir' not in FLAGS:
    flags.DEFINE_string('workdir', None, text)
  return flags.FlagHolder(FLAGS, FLAGS['workdir'])


def required(holder: flags.FlagHolder) -> Any:
  """The flag's value; raises UsageError where it was not given."""
  if holder.value is None:
    raise UsageError(f'--{holder.name} is required.')
  return holder.value


def start(multihost: bool | None = None) -> None:
  """Starts jax as the shared flags say; the first thing that a main does.

  Logs are short lines; processes other than the first log warnings only.

  Args:
    multihost: whether to join other processes; None for what --multihost says.

  Raises:
    ValueError: --multihost was given, but there is no run to join.
  """
  processor.use_wide_vectors()
  import jax

  if _value(_MULTIHOST) if multihost is None else multihost:
    # Its handler would take every SIGTERM, also where nobody asks for it;
    # `interrupt` takes them where a run can be stopped.
    jax.config.update('jax_enable_preemption_service', False)
    python_logging.getLogger('jax._src.distributed').setLevel(
        python_logging.WARNING)
    try:
      jax.distributed.initialize(
          _value(_COORDINATOR), _value(_NUM_PROCESSES), _value(_PROCESS_ID),
          heartbeat_timeout_seconds=_HEARTBEAT)
    except (RuntimeError, ValueError) as error:
      raise ValueError(
          '--multihost was asked for, but jax found no run to join '
          f'({error}). Leave it out for a single process, start the processes '
          'by one of the ways in launch/README.md, or give --coordinator, '
          '--num_processes and --process_id.') from error
  logging.use_absl_handler()
  # It tells of every accelerator that is not there.
  python_logging.getLogger('jax._src.xla_bridge').setLevel(
      python_logging.WARNING)
  python_logging.getLogger('absl').addFilter(_is_worth_reading)
  process = jax.process_index()
  logging.get_absl_handler().setFormatter(_ShortFormatter(process))
  if process:
    logging.set_verbosity(logging.WARNING)
  program_cache.start(_value(_COMPILATION_CACHE))
  heap.give_back_after_compiling()
  if jax.default_backend() == 'cpu':
    heap.keep_large_blocks()


def _is_worth_reading(record: python_logging.LogRecord) -> bool:
  """False for what TFDS says of every data set, or folder, that it opens."""
  if f'{os.sep}tensorflow_datasets{os.sep}' not in record.pathname:
    return True
  return (record.levelno >= python_logging.WARNING
          and 'custom data configuration' not in record.getMessage())


# Running.


def _run(main, description, examples, command) -> int:
  argv = sys.argv
  asked = [arg.lstrip('-') for arg in argv[1:] if arg.startswith('-')]
  if 'helpfull' in asked:
    print(FLAGS.get_help())
    return 0
  if any(name in asked for name in _HELP):
    shared = (config_flag.__name__, __name__)
    print(command_help.text(main, description, examples, command, shared))
    return 0

  show = '--traceback' in argv  # Flags may be what fails.
  try:
    _parse(argv)
    from bst_jax.host import interrupt  # Imports jax.

    with interrupt.Interrupt((signal.SIGINT,)) as stop, stop.at_once():
      main()
    return 0
  except KeyboardInterrupt:
    return _fail('interrupted', _INTERRUPTED)
  except SystemExit as left:
    if left.code != _INTERRUPTED or _is_one_of_many():
      raise
    return _INTERRUPTED
  except Exception as error:
    return _failed(error, show)


def _failed(error: Exception, show: bool) -> int:
  """Says what is known of an error; returns the exit code."""
  if _is_one_of_many():
    from bst_jax.host import processes

    if processes.is_lost(error):
      reason = ' '.join(str(error).split())[:200]
      return _fail(
          'error: another process of this run ended or cannot be reached '
          f'({reason}). Start all of them again: training goes on from its '
          'last checkpoint.', 4, show)
  if isinstance(error, FloatingPointError):
    return _fail(f'error: {error}', 3, show)
  if isinstance(error, UsageError):
    return _fail(f'error: {error}\n--help lists the flags.', 2, show)
  if isinstance(error, ValueError):
    return _fail(f'error: {error}', 2, show)
  if isinstance(error, OSError):
    return _fail(f'error: {error}', 1, show)
  traceback.print_exception(error)
  return 1


def _is_one_of_many() -> bool:
  jax = sys.modules.get('jax')
  return jax is not None and jax.distributed.is_initialized()


def _leave(code: int) -> None:
  """Ends a process of several that failed, without waiting for the others.

  At exit jax would wait for minutes for them, and they for this one.
  """
  if not _is_one_of_many():
    return
  import jax

  _flush()
  try:
    first = jax.process_index() == 0
  except RuntimeError:  # It never got as far as having devices.
    first = True
  if first:
    time.sleep(_LAST_WORDS)
  os._exit(code)


def _end_now() -> None:
  """Ends an interrupted process before jax does what it does at exit.

  It waits for all that its devices still work on, and may crash where it was
  left in the middle.
  """
  _flush()
  os._exit(_INTERRUPTED)


def _flush() -> None:
  sys.stdout.flush()
  sys.stderr.flush()


def _fail(message: str, code: int, show_traceback: bool = False) -> int:
  sys.stdout.flush()
  if show_traceback:
    traceback.print_exc()
  print(message, file=sys.stderr, flush=True)
  return code


def _parse(argv: list[str]) -> None:
  """Parses `argv` into FLAGS; raises UsageError with advice."""
  if DATA in FLAGS:
    argv = [re.sub(rf'^--?{DATA}\.(?=\w+=)', f'--{DATA}=', arg) for arg in argv]
  whole = config_flag.resolve(argv)
  argv, unlisted = config_flag.split(whole)
  given = config_flag.given_in(argv)
  asked, sys.argv = sys.argv, argv  # ml_collections looks there for overrides.
  try:
    rest = FLAGS(argv)[1:]
  except flags.UnrecognizedFlagError as error:
    name = error.flagname
    if given is not None:
      config_flag.check_overrides(argv, given, error)
    elif name.startswith('config.'):
      raise UsageError(
          f'--{name} overrides a key of a config, but none is given; add '
          '--config=FILE before it.') from error
    known = [flag for flag in FLAGS if len(flag) > 1]
    close = difflib.get_close_matches(name, known, n=3)
    raise UsageError(f'There is no flag --{name}.'
                     + config_flag.did_you_mean(close, '--')) from error
  except Exception as error:
    # ml_collections raises anything from KeyError to OSError here.
    if given is not None:
      config_flag.check_overrides(argv, given, error)
    if isinstance(error, flags.Error):
      raise UsageError(_tidy(error)) from error
    raise
  finally:
    sys.argv = asked
  if rest:
    hint = ' Flags begin with --.' if '=' in rest[0] else ''
    raise UsageError(f'This command takes flags only, not {rest[0]!r}.{hint}')
  if FLAGS['verbosity'].using_default_value:
    FLAGS.verbosity = logging.INFO
  logging.use_absl_handler()
  logging.get_absl_handler().setFormatter(_ShortFormatter(0))
  config_flag.complete(whole, unlisted)


def _tidy(error: Exception) -> str:
  """The message of an absl error, without its repetitions."""
  missing = re.search(r'Flag --(\S+) must have a value other than None', str(
      error))
  if missing:
    return f'--{missing[1]} is required.'
  if isinstance(error, config_flags.config_flags.FlagOrderError):
    return f'{error}; give --config first, then what overrides its keys.'
  return str(error)


def _value(holder: flags.FlagHolder):
  """The flag's value, or its default where nothing was parsed (notebooks)."""
  return holder.value if FLAGS.is_parsed() else holder.default


class _ShortFormatter(python_logging.Formatter):
  """`12:00:00 message`; level and process only where they are news."""

  def __init__(self, process: int):
    super().__init__(datefmt='%H:%M:%S')
    self._process = process

  def format(self, record: python_logging.LogRecord) -> str:
    text = record.getMessage()
    if record.levelno >= python_logging.WARNING:
      text = f'{record.levelname.lower()}: {text}'
    if self._process:
      text = f'[{self._process}] {text}'
    if record.exc_info:
      text = f'{text}\n{self.formatException(record.exc_info)}'
    return f'{self.formatTime(record, self.datefmt)} {text}'
