"""The --config flag: a locked config, overrides of its keys, and advice."""
import ast
from collections.abc import Sequence
import difflib
import functools
import glob
import importlib
import importlib.machinery
import importlib.util
import os
import sys
import types
from typing import Any

from absl import flags
from bst_jax.host import overrides
import ml_collections
from ml_collections import config_flags
from ml_collections.config_flags import config_path, tuple_parser

FLAGS = flags.FLAGS
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# What `define` was given: the options that there are.
_KNOWN = []

# The config file that stands for the config.json of a workdir.
_OF_WORKDIR = os.path.join(_PACKAGE, 'store', 'config_of.py')


class UsageError(ValueError):
  """A command line that cannot be carried out."""


def define(default: str | None = None,
           known: overrides.Known | None = None) -> flags.FlagHolder:
  """Defines --config, whose value is a locked ConfigDict.

    --config=configs/x.py:tiny --config.optimizer.lr=1e-3

  Two commands in one process (as in tests) share the flag.

  Args:
    default: the config where none is given.
    known: tells the options that a config need not list to override them;
      None: it lists all.
  """
  if known is not None:
    _KNOWN[:] = [known]
  if 'config' not in FLAGS:
    register_parsers()
    config_flags.DEFINE_config_file(
        'config', default,
        'A config file, optionally with an argument, as in '
        'configs/quickstart.py:tiny; --config.KEY=VALUE overrides a key.',
        lock_config=True)
  return flags.FlagHolder(FLAGS, FLAGS['config'])


def register_parsers() -> None:
  """Tells ml_collections how --config.KEY=VALUE reads lists, and None."""
  for kind, parser in ((list, _LiteralParser(list)), (tuple, _TupleParser()),
                       (type(None), _LiteralParser(type(None)))):
    config_flags.register_flag_parser_for_type(kind, parser)


class _TupleParser(tuple_parser.TupleParser):
  """Parser of config keys that are tuples: 1/2,1 as well as literals."""

  def parse(self, argument: Any) -> Any:
    return super().parse(
        overrides.tuple_of(argument) if isinstance(argument, str) else argument)


class _LiteralParser(flags.ArgumentParser):
  """Parser of config keys that are lists, or None so far.

  ml_collections has parsers for the other types.
  """

  def __init__(self, kind: type):
    self._kind = kind

  def parse(self, argument: Any) -> Any:
    if not isinstance(argument, str):
      return argument
    if self._kind is list:
      return list(overrides.tuple_of(argument))
    try:
      return ast.literal_eval(argument)
    except (SyntaxError, ValueError):
      return argument


def given_in(argv: list[str]) -> str | None:
  """What --config is given, as in 'configs/x.py:tiny'; None if it is not."""
  if 'config' not in FLAGS:
    return None
  given = FLAGS['config'].default
  for arg, following in zip(argv[1:], argv[2:] + ['']):
    if arg in ('--config', '-config'):
      given = following
    elif arg.startswith(('--config=', '-config=')):
      given = arg.split('=', 1)[1]
  return given if isinstance(given, str) else None


def resolve(argv: list[str]) -> list[str]:
  """The command line with --config as the path of a file that is there.

  --from=WORKDIR stands for a --config too, that of the workdir.

  `configs/NAME.py` is looked for here and then among the package's own, so
  that what the documentation says works outside of a clone too.

  Raises:
    UsageError: there is no such file.
  """
  _load_config.cache_clear()
  argv = _with_config_of(argv)
  given = given_in(argv)
  if given is None:
    return argv
  path, colon, argument = given.partition(':')
  found = _find(path)
  if found != _OF_WORKDIR:  # Its neighbours are ours, imported by their names.
    _make_importable(found)
  changed = {given: found + colon + argument,
             f'--config={given}': f'--config={found}{colon}{argument}'}
  changed[f'-config={given}'] = changed[f'--config={given}']
  return [changed.get(arg, arg) for arg in argv]


def split(argv: list[str]) -> tuple[list[str], list[overrides.Override]]:
  """The command line without overrides of keys that the config lacks, and those.

  `complete` puts them into the config once the rest is parsed. Where no options
  are known, or no config is given, none is taken out.

  Args:
    argv: from `resolve`.
  """
  given = given_in(argv)
  if given is None or not _KNOWN or not overrides.given_in(argv):
    return argv, []
  return overrides.split(argv, _load_config(given))


def complete(argv: list[str], unlisted: list[overrides.Override]) -> None:
  """Adds the options that were taken out of the command line to the config.

  Those of a schedule, say, that another takes the place of are dropped.

  Args:
    argv: from `resolve`.
    unlisted: from `split`.

  Raises:
    UsageError: there is no such option, or its value is of another type.
  """
  given = given_in(argv)
  if given is None or not overrides.given_in(argv) or not _KNOWN:
    return
  config, file = FLAGS['config'].value, _load_config(given)
  try:
    unknown = overrides.complete(config, unlisted, *_KNOWN)
    overrides.drop_options_of_others(
        config, file, [o.key for o, _ in overrides.given_in(argv)], *_KNOWN)
  except ValueError as error:
    raise UsageError(str(error)) from error
  if unknown is not None:
    raise _no_key(unknown.key, config)


def _no_key(key: str, config: ml_collections.ConfigDict) -> UsageError:
  """That there is no such key, and which could be meant."""
  keys = _dotted(config)
  whole, section, _ = overrides.section_of(config, key)
  if _KNOWN and whole:
    prefix = key.rpartition('.')[0]
    options = [f'{prefix}.{name}' for name in _KNOWN[0](whole, section) or ()]
    keys += [name for name in options if name not in keys]
  return UsageError(
      f'--config.{key}: the config has no key {key!r}.'
      + (did_you_mean(_close_keys(key, keys), '--config.')
         or f' Its keys: {", ".join(sorted(config))}.'))


def shipped() -> str:
  """Folder of the configs that come with the package.

  An installed package holds them; in a clone they lie beside it.
  """
  inside = os.path.join(_PACKAGE, 'configs')
  return inside if os.path.isdir(inside) else os.path.join(
      os.path.dirname(_PACKAGE), 'configs')


def load_config(given: str) -> ml_collections.ConfigDict:
  """The config of a file, as --config takes it: 'configs/quickstart.py:tiny'.

  Each call makes a new one, which may be changed.

  Raises:
    UsageError: there is no such file, or it rejects its argument.
  """
  path, colon, argument = given.partition(':')
  path = _find(path)
  _make_importable(path)
  return _load_config.__wrapped__(path + colon + argument)


def _with_config_of(argv: list[str]) -> list[str]:
  """The arguments with the --config that --from=WORKDIR stands for."""
  if 'from' not in FLAGS:
    return argv
  for i, arg in enumerate(argv[1:], 1):
    flag, _, workdir = arg.partition('=')
    if flag not in ('--from', '-from'):
      continue
    if given_in(argv) is not None:
      raise UsageError(
          f'--from and --config both give a config; leave --from out, or give '
          f'--config.start={workdir or "WORKDIR"} with --config.')
    workdir = workdir or ''.join(argv[i + 1:i + 2])
    if not os.path.isfile(os.path.join(workdir, 'config.json')):
      raise UsageError(
          f'--from={workdir}: there is no config.json in that folder; give a '
          'workdir that train, extract or convert wrote.')
    # Behind argv[0]: a config stands before what overrides its keys.
    return [argv[0], f'--config={_OF_WORKDIR}:{workdir}', *argv[1:]]
  return argv


def _find(path: str) -> str:
  """The file of a --config; raises UsageError where there is none."""
  if os.path.isfile(path):
    return path
  folder, name = os.path.split(os.path.normpath(path))
  ours = os.path.join(shipped(), name)
  if folder == 'configs' and os.path.isfile(ours):
    return ours
  here = _configs_in('configs')
  known = list(dict.fromkeys(here + _configs_in(shipped())))
  beside = sorted(glob.glob(os.path.join(folder or '.', '*.py')))[:20]
  stem = lambda name: os.path.splitext(os.path.basename(name))[0]
  by_stem = {stem(name): name for name in beside + known}
  close = [by_stem[s] for s in difflib.get_close_matches(
      stem(path), by_stem, n=3)]
  listed = (f' Configs here: {", ".join(here)}.' if here else
            f' There are: {", ".join(known)}.')
  raise UsageError(f'There is no config file {path!r}.'
                   + did_you_mean(close) + listed)


def _configs_in(folder: str) -> list[str]:
  """Configs of a folder by the name to ask for them, pieces left out."""
  return sorted(f'configs/{name}' for name in (
      os.listdir(folder) if os.path.isdir(folder) else ())
      if name.endswith('.py') and name not in ('__init__.py', 'common.py'))


def _make_importable(path: str) -> None:
  """Lets a config file import its neighbours, and the package's `configs`.

  Configs say `from configs import common`: from a clone, from the installed
  package, where that folder is no top-level module, and from a user's folder.
  """
  folder = os.path.dirname(os.path.abspath(path))
  root = os.path.dirname(folder)
  # Inside the package, profile.py would stand before Python's own profile.
  if root != _PACKAGE and root not in sys.path:
    sys.path.insert(0, root)
  try:
    configs = importlib.import_module('configs')
  except ModuleNotFoundError:
    configs = sys.modules['configs'] = types.ModuleType('configs')
  first = [folder] if os.path.basename(folder) == 'configs' else []
  configs.__path__ = list(dict.fromkeys(
      [*first, *getattr(configs, '__path__', ()), shipped()]))


def check_overrides(argv: list[str], given: str, error: Exception) -> None:
  """Raises UsageError if one of the --config.KEY=VALUE caused `error`."""
  config = _load_config(given)
  for (key, text, _), _ in overrides.given_in(argv):
    if not overrides.is_key(config, key):
      raise _no_key(key, config) from error
    kind = config_path.get_type(key, config)
    value = config_path.get_value(key, config)
    if isinstance(error, flags.IllegalFlagValueError) and (
        f'config.{key}=' in str(error)):
      if isinstance(value, ml_collections.ConfigDict):
        value = f'a dict of {", ".join(value)}'
      raise UsageError(
          f'--config.{key}={text}: the config has {value} there, so a value '
          f'of type {kind.__name__} is wanted.') from error


@functools.lru_cache(maxsize=1)  # Until `resolve` reads another command line.
def _load_config(given: str) -> ml_collections.ConfigDict:
  """The config as its file gives it, before overrides; not to be changed.

  Raises:
    UsageError: get_config rejects its argument.
    Exception: whatever a faulty config file raises.
  """
  path, *argument = given.split(':', 1)
  loader = importlib.machinery.SourceFileLoader('config_to_check', path)
  module = importlib.util.module_from_spec(
      importlib.util.spec_from_loader(loader.name, loader))
  loader.exec_module(module)
  try:
    return module.get_config(*argument)
  except ValueError as error:
    raise UsageError(f'--config={given}: {error}') from error


def _dotted(config: Any, prefix: str = '') -> list[str]:
  """Dotted keys of all leaves and nodes of a ConfigDict."""
  keys = []
  for name in config:
    keys.append(prefix + name)
    if isinstance(config[name], ml_collections.ConfigDict):
      keys += _dotted(config[name], f'{prefix}{name}.')
  return keys


def _close_keys(key: str, keys: list[str]) -> list[str]:
  """Keys with the same last word first (lr: optimizer.lr), then alike ones."""
  last = key.split('.')[-1]
  same = [known for known in keys if known.split('.')[-1] == last]
  alike = difflib.get_close_matches(key, keys, n=3)
  words = difflib.get_close_matches(
      last, {known.split('.')[-1] for known in keys}, n=2, cutoff=0.7)
  alike += [known for word in words for known in keys
            if known.split('.')[-1] == word]
  return list(dict.fromkeys(same + alike))[:3]


def did_you_mean(names: Sequence[str], prefix: str = '') -> str:
  if not names:
    return ''
  return f' Did you mean {" or ".join(prefix + name for name in names)}?'
