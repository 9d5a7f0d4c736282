"""Classes of a data set found among those that a model tells apart, by name."""
from collections.abc import Sequence
import difflib

_SHOWN = 8  # Names of an error.


def places(names: Sequence[str], known: Sequence[str], whose: str,
           model: str) -> list[int]:
  """Where each class of a data set stands among those of a model.

  A name is the same in upper and lower case and with `_` for a space; of a
  name that lists synonyms, as `tench, Tinca tinca`, any one is enough that no
  other class has.

  >>> places(['dog', 'tench'], ['Tench, Tinca tinca', 'dog'], 'x', 'y')
  [1, 0]

  Args:
    names: classes of the data set, which may be some of the model's.
    known: those of the model.
    whose: the data set, for errors.
    model: the model, for errors.

  Raises:
    ValueError: the model does not know all of them.
  """
  if tuple(names) == tuple(known):
    return list(range(len(known)))
  whole, parts = {}, {}
  for place, name in enumerate(known):
    whole.setdefault(_plain(name), []).append(place)
    for part in name.split(','):
      parts.setdefault(_plain(part), []).append(place)
  found = [whole.get(_plain(name)) or parts.get(_plain(name)) or []
           for name in names]
  twice = sorted({tuple(one) for one in found if len(one) == 1
                  and found.count(one) > 1})
  wrong = [name for name, one in zip(names, found)
           if len(one) != 1 or tuple(one) in twice]
  if wrong:
    used = {one[0] for one in found if len(one) == 1}
    unused = [name for i, name in enumerate(known) if i not in used]
    raise ValueError(_message(names, known, wrong, unused, whose, model))
  return [one for one, in found]


def _plain(name):
  return ' '.join(name.casefold().replace('_', ' ').split())


def _message(names, known, wrong, unused, whose, model):
  near = {one: difflib.get_close_matches(one, known, 1) for one in wrong[:3]}
  meant = [f'{one!r} may be {close[0]!r}' for one, close in near.items()
           if close]
  listed = lambda some: ', '.join(map(repr, some[:_SHOWN])) + (
      f' and {len(some) - _SHOWN} more' if len(some) > _SHOWN else '')
  return (
      f'The {len(known)} classes of {model} are not the {len(names)} of {whose}'
      f': the model has not exactly one class each for {listed(wrong)}'
      + (f'; the data have none for {listed(unused)}' if unused else '')
      + '. Name the classes of the data as the model does'
      + (f' ({"; ".join(meant)})' if meant else '')
      + ', or train on with them: train --from WORKDIR '
      '--config.start.fresh="(\'head\',)".')
