#!/usr/bin/env bash
# pycocoevalcap 1.2 with numpy 2.4.6, Python 3.11, Linux.
#
# The class that is called Cider, and whose method() is 'CIDEr', computes CIDEr-D:
# counts are clipped to those of the reference, and a Gaussian of the difference of
# lengths is multiplied in. CIDEr itself is the mean cosine of counts of n-grams: a
# caption that is said twice over has nearly all of its 10 points. The package has no
# such score, so that numbers of papers before CIDEr-D cannot be had from it.
#
# Seen:
#   method: CIDEr
#   said once: mean cosine 10.0, Cider 10.0
#   said twice over: mean cosine 9.7, Cider 2.0
#
# Exits 1 when a line changes.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/twice.py" <<'PYTHON'
import collections
import math

from pycocoevalcap.cider.cider import Cider

said = 'one small red square stands left of it'.split()
others = [f'word{i} here is other text{i}' for i in range(9)]


def given(candidate):
  """The score of the first of ten pictures."""
  references = {0: [' '.join(said)]} | {
      i + 1: [text] for i, text in enumerate(others)}
  candidates = references | {0: [' '.join(candidate)]}
  return Cider().compute_score(references, candidates)[1][0]


def cosine(candidate):
  """10 times the mean cosine; all n-grams are as rare, so none is weighted."""
  def of(n):
    a, b = (collections.Counter(zip(*(words[i:] for i in range(n))))
            for words in (candidate, said))
    norms = [math.sqrt(sum(x * x for x in count.values())) for count in (a, b)]
    return sum(a[key] * b[key] for key in a) / math.prod(norms)
  return 10 * sum(map(of, (1, 2, 3, 4))) / 4


print(f'method: {Cider().method()}')
for times, how in ((1, 'once'), (2, 'twice over')):
  print(f'said {how}: mean cosine {cosine(times * said):.1f}, '
        f'Cider {given(times * said):.1f}')
PYTHON

python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --no-deps pycocoevalcap==1.2 numpy==2.4.6
cd "$folder"
timeout 120 venv/bin/python twice.py | tee seen
diff seen - <<'SEEN'
method: CIDEr
said once: mean cosine 10.0, Cider 10.0
said twice over: mean cosine 9.7, Cider 2.0
SEEN
