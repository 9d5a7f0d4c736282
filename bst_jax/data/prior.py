"""What questions alone give away: the floor under every accuracy."""
import collections
from collections.abc import Sequence
from typing import Any

from bst_jax.data import answers as answers_lib
import numpy as np


def of(train: Any, asked: Any, answers: Sequence[str], rule: str,
       types: Sequence[str]) -> dict[str, float]:
  """Percent accuracy of the most frequent answer that training gave.

  It is the one for the same words, or for the same question type where training
  never asked so.

  Args:
    train: questions to learn from, as `forms.questions` reads them.
    asked: questions to answer.
    answers: those that can be given.
    rule: how they compare, a name in `answers.RULES`.
    types: question types.

  Returns:
    'overall', then each question type that is asked -> accuracy.
  """
  normal = answers_lib.rule(rule).normal
  scorer, listed = answers_lib.Scorer(rule, answers), set(answers)
  seen = collections.defaultdict(collections.Counter)
  for words, kind, truth in zip(train.texts, train.types, train.truths):
    truth = normal(truth)
    if truth in listed:
      seen[words][truth] += 1
      seen[kind][truth] += 1
  scores = collections.defaultdict(list)
  for words, kind, said in zip(asked.texts, asked.types, asked.answers):
    counts = seen.get(words) or seen.get(kind, {})
    answer = min(counts, key=lambda a: (-counts[a], a), default=None)
    official = {answers[i]: score for i, _, score in scorer(said)}
    scores['overall'].append(official.get(answer, 0.0))
    scores[kind].append(scores['overall'][-1])
  return {kind: 100 * float(np.mean(scores[kind]))
          for kind in ('overall', *types) if scores[kind]}
