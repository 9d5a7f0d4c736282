"""Parts of an experiment by name: files of ours, or modules of a user's own."""
from collections.abc import Collection, Iterable
import difflib
import importlib
import pkgutil
import re
import traceback
import types


def check_name(name: str, known: Iterable[str], what: str,
               hint: str = '') -> None:
  """Raises a ValueError that lists the known names and the closest one."""
  known = sorted(known)
  if name not in known:
    close = difflib.get_close_matches(str(name), known, 1)
    closest = f' Did you mean {close[0]!r}?' if close else ''
    raise ValueError(f'there is no {what} {name!r}.{closest} There are: '
                     f'{", ".join(known)}.{hint}')


def own_names(package: str, leave: Collection[str] = ()) -> list[str]:
  """Modules of a package of ours, but for those to `leave` out."""
  path = importlib.import_module(package).__path__
  return [module.name for module in pkgutil.iter_modules(path)
          if module.name not in leave]


def by_name(name: str, package: str, what: str, attribute: str,
            leave: Collection[str] = (), also: Collection[str] = (),
            ) -> types.ModuleType:
  """The module that a config names.

    by_name('mcan', 'bst_jax.models', 'model', 'Model').Model
    by_name('my_package.my_model', 'bst_jax.models', 'model', 'Model').Model

  Args:
    name: a file of `package`; with a dot in it, a module of the user's own, as
      Python finds it: in the current folder or among what is installed.
    package: of ours, with a file for each of what there is.
    what: the name names, for errors.
    attribute: that the module must have.
    leave: files of the package that are none.
    also: other names that the caller knows, for errors.

  Raises:
    ValueError: there is no such file or module, importing it fails, or it lacks
      the attribute.
  """
  if not isinstance(name, str):
    raise ValueError(f'the name of a {what} is {name!r}, which is no text.')
  if '.' in name:
    module = _import(name, what)
  else:
    check_name(name, [*own_names(package, leave), *also], what,
               f' A dotted name, as my_package.my_{what.split()[-1]}, is a '
               'module of your own.')
    module = importlib.import_module(f'{package}.{name}')
  if not hasattr(module, attribute):
    there = [found for found in vars(module) if not found.startswith('_')]
    close = difflib.get_close_matches(attribute, there, 1, 0.5)
    closest = f'; it has {close[0]!r}' if close else ''
    raise ValueError(
        f'the {what} {name!r} is the module {module.__file__}, which has no '
        f'{attribute!r}{closest}. A module that is named as a {what} defines '
        f'{attribute!r}.')
  return module


def _import(name, what):
  """Imports a user's module; an error says why that fails, and where."""
  try:
    return importlib.import_module(name)
  except ModuleNotFoundError as error:
    # `a.b.c` is not there where a, a.b or a.b.c is not.
    if error.name is None or not f'{name}.'.startswith(f'{error.name}.'):
      raise _broken(name, what, error) from error
    raise ValueError(
        f'the {what} {name!r} is to be imported, but Python finds no module '
        f'{error.name!r}. Run the command in the folder that holds '
        f'{name.partition(".")[0]!r}, or install it.') from error
  except Exception as error:
    raise _broken(name, what, error) from error


def _broken(name, what, error):
  last = traceback.extract_tb(error.__traceback__)[-1]
  return ValueError(
      f'the {what} {name!r} is to be imported, but that fails: '
      f'{type(error).__name__}: {error} ({last.filename}, line {last.lineno}).')


def in_order(path: str) -> list[str | int]:
  """Sorts paths with the numbers in them as numbers: layer_9 before layer_10."""
  return [int(part) if part.isdigit() else part
          for part in re.split(r'(\d+)', path)]
