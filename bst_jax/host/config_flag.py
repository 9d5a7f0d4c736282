"""The --config flag: a locked config, overrides of its keys, and advice."""
import ast
from collections.abc import Sequence
import difflib
import glob
import importlib.machinery
import importlib.util
import os
import re
from typing import Any

from absl import flags
import ml_collections
from ml_collections import config_flags
from ml_collections.config_flags import config_path

FLAGS = flags.FLAGS


class UsageError(ValueError):
  """A command line that cannot be carried out."""


def define(default: str | None = None) -> flags.FlagHolder:
  """Defines --config, whose value is a locked ConfigDict.

    --config=configs/x.py:tiny --config.optimizer.lr=1e-3

  Two commands in one process (as in tests) share the flag.
  """
  if 'config' not in FLAGS:
    for kind in (list, type(None)):
      config_flags.register_flag_parser_for_type(kind, _LiteralParser(kind))
    config_flags.DEFINE_config_file(
        'config', default,
        'A config file, optionally with an argument, as in '
        'configs/quickstart.py:tiny; --config.KEY=VALUE overrides a key.',
        lock_config=True)
  return flags.FlagHolder(FLAGS, FLAGS['config'])


class _LiteralParser(flags.ArgumentParser):
  """Parser of Python literals for config keys that are lists, or None so far.

  ml_collections has parsers for the other types.
  """

  def __init__(self, kind: type):
    self._kind = kind

  def parse(self, argument: Any) -> Any:
    if not isinstance(argument, str):
      return argument
    try:
      value = ast.literal_eval(argument)
    except (SyntaxError, ValueError):
      value = argument
    if self._kind is list and not isinstance(value, (list, tuple)):
      raise ValueError(f'{argument!r} is not a list')
    return list(value) if self._kind is list else value


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


def check_file(path: str) -> None:
  if os.path.isfile(path):
    return
  there = sorted(name for name in glob.glob('configs/*.py')
                 if not name.endswith(('__init__.py', 'common.py')))
  beside = sorted(glob.glob(os.path.join(os.path.dirname(path) or '.', '*.py')))
  names = list(dict.fromkeys(there + beside[:20]))
  stem = lambda name: os.path.splitext(os.path.basename(name))[0]
  by_stem = {stem(name): name for name in names}
  close = [by_stem[s] for s in difflib.get_close_matches(
      stem(path), by_stem, n=3)]
  listed = (f' Configs here: {", ".join(there)}.' if there else
            ' There is no configs folder here; is this the right folder?')
  raise UsageError(f'There is no config file {path!r}.'
                   + did_you_mean(close) + listed)


def check_overrides(argv: list[str], given: str, error: Exception) -> None:
  """Raises UsageError if one of the --config.KEY=VALUE caused `error`."""
  config = _load_config(given)
  keys = _dotted(config)
  for arg in argv[1:]:
    match = re.match(r'--?(?:no)?config\.([^=]+)(?:=(.*))?$', arg, re.DOTALL)
    if not match:
      continue
    key, text = match.groups()
    try:
      kind = config_path.get_type(key, config)
      value = config_path.get_value(key, config)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError):
      raise UsageError(
          f'--config.{key}: the config has no key {key!r}.'
          + (did_you_mean(_close_keys(key, keys), '--config.')
             or f' Its keys: {", ".join(sorted(config))}.')) from error
    if isinstance(error, flags.IllegalFlagValueError) and (
        f'config.{key}=' in str(error)):
      if isinstance(value, ml_collections.ConfigDict):
        value = f'a dict of {", ".join(value)}'
      raise UsageError(
          f'--config.{key}={text}: the config has {value} there, so a value '
          f'of type {kind.__name__} is wanted.') from error


def _load_config(given: str) -> ml_collections.ConfigDict:
  """The config as its file gives it, before overrides.

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
