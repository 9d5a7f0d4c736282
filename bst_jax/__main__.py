"""The command `bst-jax COMMAND`: runs bst_jax.COMMAND, as `python -m` does."""
import ast
from collections.abc import Sequence
import difflib
import importlib
import os
import pathlib
import sys

import bst_jax

_USAGE = """usage: bst-jax COMMAND [flags]
       python -m bst_jax.COMMAND [flags]

commands:
{commands}

bst-jax COMMAND --help tells its flags, with examples."""


def commands() -> dict[str, str]:
  """{command: what it does}: the modules of the package that can be run.

  They are read and not imported: that would take seconds.
  """
  found = {}
  for path in sorted(pathlib.Path(__file__).parent.glob('*.py')):
    text = path.read_text('utf-8')
    if path.name != '__main__.py' and "if __name__ == '__main__'" in text:
      found[path.stem] = ast.get_docstring(ast.parse(text)).splitlines()[0]
  return found


def main(argv: Sequence[str] | None = None) -> None:
  """Runs the command that the first argument names, and exits.

  Args:
    argv: what stands behind `bst-jax`; the process's own if None.
  """
  argv = sys.argv[1:] if argv is None else list(argv)
  known = commands()
  if not argv or argv[0] in ('help', '-h', '--help'):
    rows = '\n'.join(f'  {name:10} {text}' for name, text in known.items())
    print(_USAGE.format(commands=rows))
    sys.exit(0 if argv else 2)
  if argv[0] == '--version':
    print(bst_jax.__version__)
    sys.exit(0)
  name, *flags = argv
  if name not in known:
    close = difflib.get_close_matches(name, known, 1)
    hint = f' Did you mean {close[0]}?' if close else ''
    print(f'error: there is no command {name!r}.{hint} There are: '
          f'{", ".join(known)}.', file=sys.stderr)
    sys.exit(2)
  # As with `python -m`: a user's own packages lie in the current folder.
  if os.getcwd() not in sys.path:
    sys.path.insert(0, os.getcwd())
  sys.argv = [f'bst-jax {name}', *flags]
  module = importlib.import_module(f'bst_jax.{name}')
  from bst_jax.host import cli

  cli.run(module.main, module.DESCRIPTION, module.EXAMPLES, sys.argv[0])


if __name__ == '__main__':
  main()
