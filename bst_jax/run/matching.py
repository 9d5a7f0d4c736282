"""Which parameters of a model are taken from which of another workdir."""
from collections.abc import Collection, Mapping
import dataclasses
import pathlib
from typing import Any

from bst_jax.elastic import Choice
from bst_jax.learn import paths
from bst_jax.store import widths

_SHOWN = 6  # Parameters that an error message names.


@dataclasses.dataclass(frozen=True)
class Start:
  """Whose parameters training starts from.

  Attributes:
    workdir: of a trained, extracted or converted model.
    take: {path or glob here: path or glob there}, the parts that are taken;
      empty for all, each from the same path. Of several the longest holds.
    fresh: paths or globs of what begins at random here, whatever `take` says.
    leave: paths or globs of what stays behind there, such as another head.
    choice: what is cut out of that model before anything is taken; None for
      all of it.
  """

  workdir: pathlib.Path
  take: Mapping[str, str] = dataclasses.field(default_factory=dict)
  fresh: tuple[str, ...] = ()
  leave: tuple[str, ...] = ()
  choice: Choice | None = None


def match(start: Start, ours: Mapping[str, Any], theirs: Mapping[str, Any],
          by_class: Collection[str] = ()) -> dict[str, str]:
  """{path here: path there}: every parameter is taken, new, or an error.

  Args:
    start: what is taken and what is new.
    ours: arrays or shapes by path, of what is trained.
    theirs: likewise, of what it starts from.
    by_class: paths of ours with an entry for every class or answer.
  """
  check_globs(start, ours)
  paths.check(start.take.values(), theirs, 'path of parameters in '
              f'{start.workdir} (config.start.take)')
  paths.check(start.leave, theirs, 'path of parameters in '
              f'{start.workdir} (config.start.leave)')
  fresh = paths.named_by(start.fresh, ours)
  source_of = {path: _source(start, path) for path in ours}
  taken = {path: source for path, source in source_of.items()
           if path not in fresh}
  missing = [path for path, source in taken.items() if source not in theirs]
  misshapen = [path for path, source in taken.items() if source in theirs
               and ours[path].shape != theirs[source].shape]
  # With parts of it taken, what lies outside of these is meant to be left.
  meant = paths.named_by(start.take.values() or ('**',), theirs)
  superfluous = sorted(meant - set(source_of.values())
                       - paths.named_by((*start.fresh, *start.leave), theirs))
  if not (missing or misshapen or superfluous):
    return taken

  shape = lambda leaf: 'x'.join(map(str, leaf.shape)) or 'a number'
  lines = [
      *(f'{p}: {shape(ours[p])} here, {shape(theirs[taken[p]])} there'
        for p in misshapen),
      *(f'{p}: {shape(ours[p])} here, nothing there' for p in missing),
      *(f'{p}: nothing here, {shape(theirs[p])} there' for p in superfluous)]
  apart = misshapen and widths.first(
      {p: theirs[taken[p]].shape for p in misshapen},
      {p: ours[p].shape for p in misshapen})
  raise ValueError(
      f'Training was to start from {start.workdir}, but {len(lines)} '
      'parameters do not fit'
      + (f'. The first size that differs is of {apart}' if apart else '')
      + ':\n  ' + '\n  '.join(lines[:_SHOWN])
      + (f'\n  and {len(lines) - _SHOWN} more' if len(lines) > _SHOWN else '')
      + f'\n{_remedy(start, ours, theirs, missing, misshapen, superfluous, by_class)}')


def check_globs(start: Start, ours: Collection[str]) -> None:
  """Raises a ValueError where a glob of config.start names no parameter."""
  paths.check(start.fresh, ours, 'path of parameters (config.start.fresh)')
  paths.check(start.take, ours, 'path of parameters (config.start.take)')


def _source(start, path):
  """The path there that a path here is taken from; None for none."""
  if not start.take:
    return path
  glob = paths.closest(start.take, path, 'config.start.take')
  return glob and paths.translate(glob, start.take[glob], path)


def modules(some: Collection[str], every: Collection[str]) -> list[str]:
  """Shortest paths that name all of `some` and nothing else of `every`."""
  found = []
  for path in sorted(some):
    parts = path.split('/')
    heads = ('/'.join(parts[:n + 1]) for n in range(len(parts)))
    found.append(next(h for h in heads if paths.named_by([h], every) <= some))
  return list(dict.fromkeys(found))


def new(start: Start, names: Collection[str], left: Collection[str] = ()
        ) -> str:
  """The setting by which `names`, too, begin at random, and `left` stay behind.
  """
  fresh = tuple(dict.fromkeys((*start.fresh, *names)))
  leave = tuple(dict.fromkeys((*start.leave, *left)))
  take = f'take={dict(start.take)}, ' if start.take else ''
  return (f"config.start = dict(workdir='{start.workdir}', {take}"
          f'fresh={fresh}' + (f', leave={leave})' if leave else ')'))


def _remedy(start, ours, theirs, missing, misshapen, superfluous, by_class):
  """What would make the two sides fit."""
  said = []
  here = {*missing, *misshapen}
  left = modules(set(superfluous), theirs)
  if here:
    if here <= set(by_class):
      said.append('They have an entry for every class or answer: to learn other '
                  'ones,')
      here = set(by_class)
    else:
      said.append('What is not there can begin at random:')
    said.append(f'{new(start, modules(here, ours), left)}.')
  elif superfluous:
    said.append(f'What is there alone can be left: {new(start, (), left)}.')
  return ' '.join(said)
