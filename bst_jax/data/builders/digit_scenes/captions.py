"""One to five true sentences about a scene."""
from bst_jax.data.builders.digit_scenes import programs, scenes

NUMBERS = ('no', 'one', 'two', 'three', 'four', 'five', 'six')


def write(plates, draws) -> list[str]:
  """One to five captions, all different in kind."""
  kinds = draws.shuffled((_list, _count, _one, _digits, _place))
  return [kind(plates, draws) for kind in kinds[:draws.between(1, 5)]]


def listing(items: list[str]) -> str:
  """'a, b and c'."""
  return ' and '.join(filter(None, (', '.join(items[:-1]), items[-1])))


def number(n: int, noun: str) -> str:
  """'one plate', 'three circles'."""
  return f'{NUMBERS[n]} {noun}' + ('' if n == 1 else 's')


def _full(plate) -> str:
  return 'a ' + programs.phrase(
      {k: getattr(plate, k) for k in ('size', 'color', 'shape', 'digit')})


def _list(plates, draws):
  return listing([_full(plate) for plate in plates])


def _count(plates, draws):
  shape = draws.pick(scenes.SHAPES)
  count = programs.count(plates, {'shape': shape})
  be = 'is a' if count == 1 else 'are'
  noun = shape if count == 1 else f'{shape}s'
  return (f'{number(len(plates), "plate")}, {NUMBERS[count].replace("no", "none")}'
          f' of which {be} {noun}')


def _one(plates, draws):
  return 'a picture with ' + _full(draws.pick(plates))


def _digits(plates, draws):
  digits = listing([plate.digit for plate in plates])
  return f'the digits {digits} on colored plates'


def _place(plates, draws):
  first, *_, last = plates
  return (f'a {first.color} {first.shape} comes first and a {last.color} '
          f'{last.shape} last')
