"""Questions about a scene, each with its exact answer.

A program maps (plates, draws) to a list of (question, answer) candidates: all
that can be asked, or a random part where there are many. A question refers to
a plate only by words that fit no other plate of the picture.
"""
import itertools

from bst_jax.data.builders.digit_scenes import scenes

EASY = ('exist', 'count', 'query_color', 'query_digit', 'query_shape',
        'compare_count')
FULL = EASY + ('query_size', 'relate_color', 'relate_digit', 'greater',
               'same_color', 'parity', 'sum')

LONGEST = 14  # words of a question, as many as MCAN reads for VQA-v2
_COUNTS = tuple('01234')
_YES_NO = ('yes', 'no')
ANSWERS = {
    'exist': _YES_NO, 'count': _COUNTS, 'query_color': scenes.COLORS,
    'query_digit': scenes.DIGITS, 'query_shape': scenes.SHAPES,
    'compare_count': _YES_NO, 'query_size': scenes.SIZES,
    'relate_color': scenes.COLORS, 'relate_digit': scenes.DIGITS,
    'greater': _YES_NO, 'same_color': _YES_NO, 'parity': ('even', 'odd'),
    'sum': tuple(str(n) for n in range(19)),
}

_ASPECTS = {'size': scenes.SIZES, 'color': scenes.COLORS,
            'shape': scenes.SHAPES, 'digit': scenes.DIGITS}
_TOWARDS = {'left of': (0, -1), 'right of': (0, 1),
            'above': (-1, 0), 'below': (1, 0)}


def phrase(wanted: dict, plural: bool = False) -> str:
  """Words for plates with the wanted attributes: 'small red circle'."""
  noun = wanted.get('shape', 'plate') + ('s' if plural else '')
  words = [wanted[k] for k in ('size', 'color') if k in wanted] + [noun]
  if 'digit' in wanted:
    article = 'an' if wanted['digit'] == '8' else 'a'
    words.append(f'with {article} {wanted["digit"]}')
  return ' '.join(words)


def count(plates, wanted: dict) -> int:
  """How many plates have all of the wanted attributes."""
  facts = wanted.items()
  return sum(plate.facts >= facts for plate in plates)


def kinds(draws, aspects=('size', 'color', 'shape')) -> list[dict]:
  """All wanted dicts of one aspect, and a few random ones of two."""
  found = [{k: v} for k in aspects for v in _ASPECTS[k]]
  pairs = list(itertools.combinations(aspects, 2))
  for _ in range(6):
    pair = draws.pick(pairs)
    found.append({k: draws.pick(_ASPECTS[k]) for k in pair})
  return found


def referents(plates, but=()):
  """Pairs (plate, words) where the words fit that plate alone.

  Args:
    plates: the scene.
    but: aspects that the words may not use, as the question asks for them.
  """
  aspects = [k for k in _ASPECTS if k not in but]
  single = [(k,) for k in aspects]
  # A digit alone says which plate is meant; a second word would only be one
  # more thing to get wrong.
  double = [pair for pair in itertools.combinations(aspects, 2)
            if 'digit' not in pair]
  found = []
  for plate in plates:
    for names in single + double:
      wanted = {k: getattr(plate, k) for k in names}
      if count(plates, wanted) == 1:
        found.append((plate, phrase(wanted)))
  return found


def pairs_of(plates, draws, but):
  """A few random pairs of referents of different plates."""
  found = referents(plates, but)
  pairs = []
  for _ in range(40 if len(plates) > 1 and found else 0):
    one, other = draws.pick(found), draws.pick(found)
    if one[0] is not other[0]:
      pairs.append((one, other))
  return pairs


def exist(plates, draws):
  asked = kinds(draws, ('size', 'color', 'shape', 'digit'))
  return [(f'is there a {phrase(w)}?', 'yes' if count(plates, w) else 'no')
          for w in asked]


def how_many(plates, draws):
  return [(f'how many {phrase(w, True)} are there?', str(count(plates, w)))
          for w in kinds(draws) if count(plates, w) < len(_COUNTS)]


def compare_count(plates, draws):
  found = []
  for aspect in ('size', 'color', 'shape'):
    for one, other in itertools.permutations(_ASPECTS[aspect], 2):
      a, b = ({aspect: v} for v in (one, other))
      word = draws.pick(('more', 'fewer'))
      left, right = count(plates, a), count(plates, b)
      if not left and not right:
        continue  # Too many of these, and nothing to compare.
      true = left > right if word == 'more' else left < right
      found.append((f'are there {word} {phrase(a, True)} than '
                    f'{phrase(b, True)}?', 'yes' if true else 'no'))
  return found


def query_color(plates, draws):
  return [(f'what color is the {words}?', plate.color)
          for plate, words in referents(plates, but=('color',))]


def query_digit(plates, draws):
  return [(f'what digit is on the {words}?', plate.digit)
          for plate, words in referents(plates, but=('digit',))]


def query_shape(plates, draws):
  return [(f'what shape is the {words}?', plate.shape)
          for plate, words in referents(plates, but=('shape',))]


def query_size(plates, draws):
  return [(f'what size is the {words}?', plate.size)
          for plate, words in referents(plates, but=('size',))]


def _related(plates):
  """(direction, words, plate): the one plate in that direction of another."""
  for anchor, words in referents(plates):
    for direction, (down, right) in _TOWARDS.items():
      there = [p for p in plates
               if ((p.row - anchor.row) * down > 0 and p.column == anchor.column
                   or (p.column - anchor.column) * right > 0
                   and p.row == anchor.row)]
      if len(there) == 1:
        yield direction, words, there[0]


def relate_color(plates, draws):
  return [(f'what color is the plate {direction} the {words}?', plate.color)
          for direction, words, plate in _related(plates)]


def relate_digit(plates, draws):
  return [(f'what digit is {direction} the {words}?', plate.digit)
          for direction, words, plate in _related(plates)]


def greater(plates, draws):
  return [(f'does the {a} show a greater digit than the {b}?',
           'yes' if int(p.digit) > int(q.digit) else 'no')
          for (p, a), (q, b) in pairs_of(plates, draws, ('digit',))]


def same_color(plates, draws):
  found = [(f'do the {a} and the {b} have the same color?',
            'yes' if p.color == q.color else 'no')
           for (p, a), (q, b) in pairs_of(plates, draws, ('color',))]
  return [pair for pair in found if len(pair[0].split()) <= LONGEST]


def parity(plates, draws):
  return [(f'is the digit on the {words} even or odd?',
           'odd' if int(plate.digit) % 2 else 'even')
          for plate, words in referents(plates, but=('digit',))]


def add(plates, draws):
  return [(f'what do the {a} and the {b} add up to?',
           str(int(p.digit) + int(q.digit)))
          for (p, a), (q, b) in pairs_of(plates, draws, ('digit',))]


PROGRAMS = {
    'exist': exist, 'count': how_many, 'query_color': query_color,
    'query_digit': query_digit, 'query_shape': query_shape,
    'compare_count': compare_count, 'query_size': query_size,
    'relate_color': relate_color, 'relate_digit': relate_digit,
    'greater': greater, 'same_color': same_color, 'parity': parity,
    'sum': add,
}
