"""Statements about two pictures, true or false, as NLVR2 has them."""
import dataclasses

from bst_jax.data.builders.digit_scenes import captions, programs

_TRIES = 50


@dataclasses.dataclass(frozen=True)
class Statement:
  """A sentence about this picture (left) and `other` (right) of the split."""

  text: str
  other: int
  label: bool


def write(index: int, all_plates, draws) -> list[Statement]:
  """Two statements about picture `index`, one true and one false.

  Args:
    index: the picture.
    all_plates: the plates of every picture of the split.
    draws: random numbers.
  """
  found = []
  for label in draws.shuffled((True, False)):
    # The kind first, then wording and partner until the label is right: each
    # kind is as often true as false, and does not give the label away.
    for kind in draws.shuffled(_KINDS):
      statement = _try(kind, label, index, all_plates, draws)
      if statement:
        found.append(statement)
        break
  return found


def _try(kind, label, index, all_plates, draws):
  """A statement of the kind and label, or None where none was met."""
  for _ in range(_TRIES):
    other = draws.below(len(all_plates) - 1)
    other += other >= index  # any picture but this one
    text, true = kind(all_plates[index], all_plates[other], draws)
    if true == label:
      return Statement(text, other, label)
  return None


def _wanted(draws):
  return draws.pick(programs.kinds(draws, ('size', 'color', 'shape', 'digit')))


def _more(left, right, draws):
  wanted = draws.pick(programs.kinds(draws))
  side, a, b = draws.pick((('left', left, right), ('right', right, left)))
  other = 'right' if side == 'left' else 'left'
  return (f'there are more {programs.phrase(wanted, True)} in the {side} '
          f'picture than in the {other} one',
          programs.count(a, wanted) > programs.count(b, wanted))


def _both(left, right, draws):
  wanted = _wanted(draws)
  return (f'both pictures have a {programs.phrase(wanted)}',
          all(programs.count(side, wanted) for side in (left, right)))


def _exactly_one(left, right, draws):
  wanted = _wanted(draws)
  has = [bool(programs.count(side, wanted)) for side in (left, right)]
  return (f'exactly one of the pictures has a {programs.phrase(wanted)}',
          has[0] != has[1])


def _in_all(left, right, draws):
  wanted = draws.pick(programs.kinds(draws))
  total = sum(programs.count(side, wanted) for side in (left, right))
  said = max(0, total + draws.pick((-1, 0, 0, 1)))
  if said >= len(captions.NUMBERS):
    said = len(captions.NUMBERS) - 1
  noun = programs.phrase(wanted)
  verb = 'is' if said == 1 else 'are'
  return (f'there {verb} {captions.number(said, noun)} in all',
          said == total)


def _each(left, right, draws):
  one, other = _wanted(draws), _wanted(draws)
  return (f'the left picture has a {programs.phrase(one)} and the right one '
          f'has a {programs.phrase(other)}',
          bool(programs.count(left, one) and programs.count(right, other)))


_KINDS = (_more, _both, _exactly_one, _in_all, _each)
