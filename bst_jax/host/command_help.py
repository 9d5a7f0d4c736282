"""What --help prints of a command."""
from collections.abc import Callable, Sequence
import os
import re
import sys
import textwrap
from typing import Any

from absl import flags

FLAGS = flags.FLAGS


def text(main: Callable[[], Any], description: str,
         examples: str | Sequence[str], command: str,
         shared: Sequence[str]) -> str:
  """Usage, flags and examples of a command.

  Args:
    main, description, examples, command: as of `cli.run`.
    shared: modules whose flags every command has.
  """
  module = main.__module__
  spec = getattr(sys.modules.get('__main__'), '__spec__', None)
  command = command or (f'python -m {spec.name}' if spec else
                        os.path.basename(sys.argv[0]))
  # absl files the flags of a script under the name it was called by.
  own = FLAGS.get_key_flags_for_module(
      sys.argv[0] if module == '__main__' else module)
  shared = [flag for name in shared
            for flag in FLAGS.get_key_flags_for_module(name)]
  wanted = getattr(sys.modules[module], 'FIRST', ('config', 'workdir'))
  first = [FLAGS[name] for name in wanted if name in FLAGS]
  own = [flag for flag in own if flag not in (*shared, *first)]
  own = [flag for flag in shared if flag not in first
         and flag.name in ('config', 'workdir')] + own
  rest = [flag for flag in shared if flag not in (*first, *own)]

  parts = [f'usage: {command} [flags]', textwrap.fill(description.strip(), 80)]
  parts += [f'{title}:\n' + '\n'.join(map(_flag_help, some))
            for title, some in (('flags that matter first', first),
                                ('more flags', own),
                                ('flags of every command', rest)) if some]
  if not isinstance(examples, str):
    examples = '\n'.join(examples)
  if examples.strip():
    lines = textwrap.dedent(examples).strip('\n')
    parts.append('examples:\n' + textwrap.indent(lines, '  '))
  parts.append('--helpfull lists the flags of the libraries too.')
  return '\n\n'.join(parts)


def _flag_help(flag: flags.Flag) -> str:
  text = (flag.help or '').strip()
  if isinstance(flag, flags.MultiFlag):  # absl's own words, after a semicolon.
    text = re.sub(r';\s+repeat this option to specify a list of values', '',
                  text)
  if isinstance(flag, flags.EnumFlag):  # absl writes <a|b|c>: before its text.
    text = text.partition('>: ')[2] or text
    text = f'One of {", ".join(flag.parser.enum_values)}. {text}'
  if flag.default not in (None, False, '', []):
    text = f'{text} (default: {flag.default})'
  return f'  --{flag.name}\n' + textwrap.fill(
      text, 80, initial_indent=' ' * 6, subsequent_indent=' ' * 6)
