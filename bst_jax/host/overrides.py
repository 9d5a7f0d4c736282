"""--config.KEY=VALUE for options that exist, whether or not the config lists them.

A config file lists what its readers change most. The flags of ml_collections
know those keys alone; the others are taken out of the command line before it is
parsed, and put into the config behind it.
"""
import ast
from collections.abc import Callable, Mapping, Sequence
import inspect
import re
from typing import Any, NamedTuple

from absl import logging
import ml_collections
from ml_collections.config_flags import config_path

# (config, name of a section, as 'model') -> its options by name; None where
# they are not known.
Known = Callable[[Mapping[str, Any], str],
                 Mapping[str, inspect.Parameter] | None]

_OVERRIDE = re.compile(r'--?(no)?config\.([^=]+)(?:=(.*))?$', re.DOTALL)
_YES, _NO = ('true', 't', '1', 'yes'), ('false', 'f', '0', 'no')


class Override(NamedTuple):
  """One --config.KEY=VALUE; a text of None is a flag without a value."""

  key: str
  text: str | None
  negated: bool = False

  def __str__(self) -> str:
    return f'--{"no" if self.negated else ""}config.{self.key}' + (
        '' if self.text is None else f'={self.text}')


def given_in(argv: Sequence[str]) -> list[tuple[Override, slice]]:
  """The overrides of a command line, with their places in it."""
  overrides = []
  for i, arg in enumerate(argv):
    match = _OVERRIDE.match(arg) if i else None
    if not match:
      continue
    negated, key, text = match.groups()
    end = i + 1
    if text is None and not negated and end < len(argv) and (
        not argv[end].startswith('-')):
      text, end = argv[end], end + 1
    overrides.append((Override(key, text, bool(negated)), slice(i, end)))
  return overrides


def is_key(config: ml_collections.ConfigDict, key: str) -> bool:
  """Whether a config has a dotted key."""
  try:
    config_path.get_type(key, config)
  except (AttributeError, KeyError, IndexError, TypeError, ValueError):
    return False
  return True


def split(argv: Sequence[str], config: ml_collections.ConfigDict
          ) -> tuple[list[str], list[Override]]:
  """A command line without the overrides whose keys a config lacks, and those.
  """
  kept, unlisted, end = [], [], 0
  for override, place in given_in(argv):
    if not is_key(config, override.key):
      kept += argv[end:place.start]
      end = place.stop
      unlisted.append(override)
  return [*kept, *argv[end:]], unlisted


def section_of(config: ml_collections.ConfigDict, key: str
               ) -> tuple[ml_collections.ConfigDict | None, str, str]:
  """Where an option belongs: (config, or its teacher's, section, option).

  None in place of the config where it has no such section.
  """
  *parents, section, option = ('', *key.split('.'))
  whole = config
  for parent in filter(None, parents):
    whole = whole.get(parent) if isinstance(
        whole, ml_collections.ConfigDict) else None
  there = isinstance(whole, ml_collections.ConfigDict) and section in whole
  return whole if there else None, section, option


def complete(config: ml_collections.ConfigDict, unlisted: Sequence[Override],
             known: Known) -> Override | None:
  """Puts options into a config that does not list them.

  Args:
    config: gets them.
    unlisted: from `split`.
    known: tells which options there are.

  Returns:
    The first override that is no option of anything; None if all are.

  Raises:
    ValueError: a value that the option cannot have.
  """
  for override in unlisted:
    whole, section, option = section_of(config, override.key)
    options = known(whole, section) if whole else None
    if option not in (options or {}):
      return override
    value = _value(override, options[option])
    with config.unlocked():
      whole[section][option] = value
  return None


def drop_options_of_others(config: ml_collections.ConfigDict,
                           file: ml_collections.ConfigDict,
                           overridden: Sequence[str], known: Known,
                           prefix: str = '') -> None:
  """Drops what only the schedule, say, that an override replaced takes.

  A config that names cosine has its warm-up; --config.schedule.name=constant
  means a schedule that has none. Weights of one method mean another thing in
  another (labels weigh nothing in a sandwich, and everything in plain
  training), so another method begins with its own.

  Args:
    config: with all overrides.
    file: the same as its file gives it.
    overridden: keys that the command line gives, which stay.
    known: tells which options there are.
    prefix: of the keys of `config`, as 'teacher.'.
  """
  for section, before in file.items():
    after = config.get(section)
    if section in ('teacher', 'search') and before and after:
      drop_options_of_others(after, before, overridden, known,
                             f'{prefix}{section}.')
    if not isinstance(before, ml_collections.ConfigDict) or (
        after is None or after.get('name') == before.get('name')):
      continue
    options = known(config, section)
    if options is None:
      continue
    gone = [option for option in before if option != 'name'
            and (option not in options or section == 'method')
            and f'{prefix}{section}.{option}' not in overridden]
    with config.unlocked():
      for option in gone:
        del after[option]
    if gone:
      logging.info('config.%s%s is %s, not %s; left out, as they are options '
                   'of %s: %s.', prefix, section, after.name, before.name,
                   before.name, ', '.join(gone))


def tuple_of(text: str) -> tuple:
  """(3, 4) as a Python literal, or as 3,4; '1/2,1' are two texts."""
  try:
    value = ast.literal_eval(text)
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)
  except (SyntaxError, ValueError):
    pass
  if re.search(r'[\[\](){}"\']', text):
    raise ValueError(f'{text!r} is no list; write it as 1/2,1')
  return tuple(part.strip() for part in text.split(',') if part.strip())


def _value(override, option):
  """The value of an override, of the type that the option has."""
  text, usual = override.text, option.default
  # An annotation tells more than a default: 'auto' may stand for a number.
  kind = option.annotation
  if kind in (inspect.Parameter.empty, Any) or not isinstance(kind, type):
    loose = kind is Any or usual in (None, inspect.Parameter.empty)
    kind = object if loose else type(usual)
  if text is None and kind is not bool:
    raise ValueError(f'{override} has no value; write {override}=VALUE.')
  try:
    return _READ.get(kind, _literal)(text, override)
  except (SyntaxError, ValueError) as error:
    raise ValueError(f'{override}: {error}; it is usually {usual!r}, so a '
                     f'value of type {kind.__name__} is wanted.') from None


def _literal(text, unused_override):
  try:
    return ast.literal_eval(text)
  except (SyntaxError, ValueError):
    return text


def _bool(text, override):
  if text is None:
    return not override.negated
  if text.lower() not in (*_YES, *_NO):
    raise ValueError(f'{text!r} is neither true nor false')
  return text.lower() in _YES


_READ = {
    bool: _bool,
    int: lambda text, _: int(text),
    float: lambda text, _: float(text),
    str: lambda text, _: text,
    tuple: lambda text, _: tuple_of(text),
}
