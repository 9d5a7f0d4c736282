"""Compiled programs that are kept for the next start, by jax's own cache.

Importing this file does not import jax.
"""
import hashlib
import os
import pathlib
import platform
import re
import time
import warnings
import zlib

from absl import logging
from bst_jax.host import files, processor

# Set to a folder, to a bucket, or to NONE.
VARIABLE = 'BST_JAX_CACHE'
NONE = 'none'
# Bytes that may lie there when a run starts; the oldest go first.
LIMIT = 4 << 30
# Seconds of compiling from which on a program is kept; jax's own is 1.
_LEAST = 0.1
# Entries of jax: name of a program, and a digest of all that it depends on.
_ENTRIES = '*-cache'
_ZSTANDARD = b'\x28\xb5\x2f\xfd'
_ERROR = re.compile(r'Error (reading|writing) persistent compilation cache '
                    r'entry for .*?: (?P<why>.*)', re.DOTALL)
# Entries that were looked at, with their sizes.
_SEEN = 'whole.txt'


def usual() -> pathlib.Path:
  """The folder where nobody names one; another kind of processor has another.

  Programs are machine code: a home folder may be shared by machines of which
  one has not the instructions of the other.
  """
  root = os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
  return pathlib.Path(root) / 'bst_jax' / 'programs' / _processor()


def start(asked: str | None) -> str:
  """Turns the cache on, and says so in one line.

  A folder that cannot be written to is a warning, and the run goes on.

  Args:
    asked: a folder or bucket, NONE, or None for that of the environment
      (VARIABLE, then jax's JAX_COMPILATION_CACHE_DIR), else `usual`.

  Returns:
    Where programs are kept; empty if none are.
  """
  import jax

  asked = asked or os.environ.get(VARIABLE)
  where = asked or jax.config.jax_compilation_cache_dir or str(usual())
  if where == NONE:
    jax.config.update('jax_enable_compilation_cache', False)
    return ''
  _tell_once(where)
  if '://' in where:
    told = ''
  else:
    where = os.path.abspath(os.path.expanduser(where))
    try:
      count, size = tidied(pathlib.Path(where))
    except OSError as error:
      logging.warning(
          'Compiled programs are not kept, as %s cannot be used (%s); '
          '--compilation_cache names another folder.', where, error.strerror
          or error)
      jax.config.update('jax_enable_compilation_cache', False)
      return ''
    told = f' ({count} there, {size / 2 ** 20:.0f} MiB)'
  jax.config.update('jax_enable_compilation_cache', True)
  jax.config.update('jax_compilation_cache_dir', where)
  if 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS' not in os.environ:
    jax.config.update('jax_persistent_cache_min_compile_time_secs', _LEAST)
  logging.info('Compiled programs are kept in %s%s; --compilation_cache=%s '
               'keeps none.', where, told, NONE)
  return where


def tidied(folder: pathlib.Path, limit: int = LIMIT) -> tuple[int, int]:
  """Makes a folder ready: what is cut or too much goes.

  A process that was killed, or a full disk, leaves half an entry, which jax
  would try to read, and warn of, at every start, and never write anew.

  Args:
    folder: made where it is not there.
    limit: bytes that may stay.

  Returns:
    The number of entries and their bytes.

  Raises:
    OSError: it cannot be made or written to.
  """
  folder.mkdir(parents=True, exist_ok=True)
  seen = folder / _SEEN
  known = set(seen.read_text().splitlines()) if seen.exists() else set()
  kept, total = [], 0
  for path, stat in sorted(_entries(folder), key=_used, reverse=True):
    line = f'{path.name} {stat.st_size}'
    if total + stat.st_size > limit or not (line in known or _whole(path)):
      path.unlink(missing_ok=True)  # Another start may be tidying, too.
      continue
    kept.append(line)
    total += stat.st_size
  with files.beside(seen) as place:
    place.write_text(''.join(f'{line}\n' for line in kept))
  return len(kept), total


def _entries(folder):
  """Paths and states of the entries that are there."""
  for path in folder.glob(_ENTRIES):
    try:
      yield path, path.stat()
    except FileNotFoundError:
      continue


def _used(entry):
  """When an entry was read or written last."""
  _, stat = entry
  return max(stat.st_atime, stat.st_mtime)


def _whole(path):
  """Whether an entry can be read; one that is being written counts as one."""
  try:
    if time.time() - path.stat().st_mtime < 60:
      return True
    data = path.read_bytes()
    if not data.startswith(_ZSTANDARD):
      zlib.decompress(data)
      return True
    import zstandard
    zstandard.ZstdDecompressor().decompress(data)
  except ImportError:
    return True  # Then jax does not read it either.
  except Exception:  # Of two libraries, and of the file system.
    return False
  return True


def _processor():
  """A few letters for what the machine's processor can do."""
  known = sorted(processor.instructions()) or [platform.processor()]
  digest = hashlib.sha256(' '.join(known).encode())
  return f'{platform.machine()}-{digest.hexdigest()[:8]}'


def _tell_once(where):
  """Lets jax's warnings of single entries be one, of the folder."""
  show, told = getattr(warnings.showwarning, 'before',
                       warnings.showwarning), set()

  def shown(message, category, filename, lineno, file=None, line=None):
    match = _ERROR.match(str(message))
    if not match:
      show(message, category, filename, lineno, file, line)
    elif match[1] not in told:
      told.add(match[1])
      logging.warning(
          'A compiled program cannot be %s %s (%s); the run goes on without.',
          'read from' if match[1] == 'reading' else 'kept in', where,
          ' '.join(match['why'].split())[:200])

  shown.before = show
  warnings.showwarning = shown
