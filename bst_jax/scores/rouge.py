"""ROUGE-L: the longest common subsequence of a caption and its references.

Reference: Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", ACL
  workshop 2004; best precision and best recall over references, with recall
  weighing 1.2 as much, as pycocoevalcap 1.2.
"""
from collections.abc import Hashable, Sequence

_BETA = 1.2


def rouge_l(words: Sequence[Hashable],
            references: Sequence[Sequence[Hashable]]) -> float:
  """ROUGE-L of one caption, from 0 to 1; 0 for an empty one.

    rouge_l('a b c'.split(), ['a c'.split()]): precision 2/3, recall 1,
        2.44 * 2/3 / (1 + 1.44 * 2/3) = 0.8299

  Args:
    words: of the caption.
    references: words of each reference, at least one.
  """
  common = [(longest(words, one), len(one)) for one in references]
  precision = max(n for n, _ in common) / max(1, len(words))
  recall = max(n / max(1, length) for n, length in common)
  if not precision or not recall:
    return 0.0
  return ((1 + _BETA ** 2) * precision * recall
          / (recall + _BETA ** 2 * precision))


def longest(one: Sequence[Hashable], other: Sequence[Hashable]) -> int:
  """Words of the longest common subsequence of two texts.

  Bit i of a row of the usual table is 0 where it grows at word i, so that a row
  is one addition of whole numbers.

  Reference: Hyyrö, "Bit-Parallel LCS-length Computation Revisited", 2004.
  """
  at = {}
  for i, word in enumerate(one):
    at[word] = at.get(word, 0) | 1 << i
  full = (1 << len(one)) - 1
  row = full
  for word in other:
    match = row & at.get(word, 0)
    row = (row + match | row - match) & full
  return len(one) - row.bit_count()
