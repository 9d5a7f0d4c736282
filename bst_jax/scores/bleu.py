"""BLEU: how many n-grams of captions some reference has, over a whole split.

Reference: Papineni et al., "BLEU: a Method for Automatic Evaluation of Machine
  Translation", ACL 2002; closest length of references, as pycocoevalcap 1.2.
Differs: without any n-gram that matches it is 0, where pycocoevalcap adds 1e-15
  to counts and so gives up to 2e-4.
"""
import collections
from collections.abc import Hashable, Sequence
import math

Words = Sequence[Hashable]
MOST = 4  # Words of an n-gram.


def bleu(candidates: Sequence[Words],
         references: Sequence[Sequence[Words]]) -> list[float]:
  """BLEU-1 to BLEU-4 of P captions together, each from 0 to 1.

    bleu(['a b c'.split()], [['a b d'.split()]]) is 2/3, sqrt(2/3 * 1/2), 0, 0

  Args:
    candidates: words of P captions; an empty one counts by its length alone.
    references: words of each picture's references, at least one.
  """
  right, asked = [0] * MOST, [0] * MOST
  length = wanted = 0
  for words, known in zip(candidates, references, strict=True):
    length += len(words)
    # The closest; of two as close the shorter one.
    wanted += min((abs(len(one) - len(words)), len(one)) for one in known)[1]
    for n in range(MOST):
      counts, most = _grams(words, n + 1), collections.Counter()
      for one in known:
        most |= _grams(one, n + 1)
      asked[n] += counts.total()
      right[n] += (counts & most).total()
  if not length:
    return [0.0] * MOST
  short = math.exp(min(0.0, 1 - wanted / length))
  found, product = [], 1.0
  for n in range(MOST):
    product *= right[n] / max(1, asked[n])
    found.append(short * product ** (1 / (n + 1)))
  return found


def _grams(words, n):
  return collections.Counter(
      tuple(words[i:i + n]) for i in range(len(words) - n + 1))
