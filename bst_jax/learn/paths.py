"""Parameters by path: globs that name them, and trees taken apart by them.

A glob is a path whose `*` and `?` stand for characters of one name, and whose
`**` stands for any number of names. It names what lies at its end and all that
is inside: `fusion/*/ffn` names `fusion/layer_0/ffn/fc1/kernel`.
"""
from collections.abc import Collection, Iterable, Mapping
import functools
import re
from typing import Any

from bst_jax import elastic


def match(glob: str, path: str) -> re.Match | None:
  """A match if a glob names a path; its groups are what wildcards stand for."""
  return _compiled(glob).fullmatch(path)


def named_by(globs: Iterable[str], paths: Iterable[str]) -> set[str]:
  """Those of the paths that at least one glob names."""
  globs = tuple(globs)
  return {path for path in paths if any(match(glob, path) for glob in globs)}


def closest(globs: Collection[str], path: str, what: str) -> str | None:
  """The glob that names a path with the most characters that are no wildcard.

  Args:
    globs: to choose from.
    path: of a parameter.
    what: the globs are, for the error.

  Raises:
    ValueError: two are as close.
  """
  found = sorted((glob for glob in globs if match(glob, path)), key=_literal)
  if len(found) > 1 and _literal(found[-1]) == _literal(found[-2]):
    raise ValueError(
        f'{what} {found[-2]!r} and {found[-1]!r} both name {path}, and neither '
        'says more of it; write more of its path in one of them.')
  return found[-1] if found else None


def translate(glob: str, other: str, path: str) -> str:
  """The path that `other` names as `glob` names `path`.

    translate('encoder/*', 'trunk/block_*', 'encoder/3/bias')
    == 'trunk/block_3/bias'
  """
  *wildcards, rest = match(glob, path).groups(default='')
  kept = iter(wildcards)
  return re.sub(r'\*\*/?|[*?]', lambda _: next(kept), other) + rest


def check(globs: Iterable[str], paths: Iterable[str], what: str) -> None:
  """Raises a ValueError that lists what is there where a glob names nothing."""
  paths = list(paths)
  for glob in globs:
    if not any(match(glob, path) for path in paths):
      parent, _, _ = glob.rpartition('/')
      depth = glob.count('/') + 1
      known = {'/'.join(path.split('/')[:depth]) for path in paths}
      beside = {path for path in known
                if parent and match(parent, path.rpartition('/')[0])}
      elastic.check_name(glob, beside or known, what)


def split(params: Mapping[str, Any],
          apart: Collection[str]) -> tuple[Any, Any]:
  """A nested dict less the leaves of some paths, and these alone."""
  def walk(path, tree):
    if not isinstance(tree, Mapping):
      return (None, tree) if path in apart else (tree, None)
    kept, taken = {}, {}
    for name, child in tree.items():
      here, there = walk(f'{path}/{name}' if path else name, child)
      if here is not None:
        kept[name] = here
      if there is not None:
        taken[name] = there
    return kept or None, taken or None

  kept, taken = walk('', params)
  return kept or {}, taken or {}


def join(one: Any, other: Any) -> Any:
  """The leaves of two nested dicts in one; where both have one, the latter's.
  """
  if not isinstance(one, Mapping):
    return other
  return {name: join(one[name], other[name]) if name in one and name in other
          else one.get(name, other.get(name))
          for name in sorted(one.keys() | other.keys())}


def _literal(glob: str) -> int:
  """Number of a glob's characters that are no wildcard."""
  return len(re.sub(r'[*?]', '', glob))


@functools.cache
def _compiled(glob: str) -> re.Pattern:
  """One group for each wildcard, and one for what lies inside."""
  parts = re.split(r'(\*\*/?|[*?])', glob)
  wildcards = {'**/': r'((?:[^/]+/)*)', '**': '(.*)', '*': '([^/]*)',
               '?': '([^/])'}
  pattern = ''.join(wildcards.get(part) or re.escape(part) for part in parts)
  return re.compile(f'{pattern}(/.*)?')
