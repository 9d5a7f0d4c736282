"""What questions alone give away: the floor under every accuracy."""
from collections.abc import Sequence

from bst_jax.data import answers as answers_lib
from bst_jax.data import scored
from bst_jax.data.asked import Questions
import numpy as np


def of(train: Questions, asked: Questions, answers: Sequence[str], rule: str,
       types: Sequence[str]) -> dict[str, float]:
  """Percent accuracy of the most frequent answer that training gave.

  It is the one for the same words, or for the same question type where training
  never asked so; of several the first by the alphabet.

  Args:
    train: questions to learn from.
    asked: questions to answer.
    answers: those that can be given, A of them.
    rule: how they compare, a name in `answers.RULES`.
    types: question types.

  Returns:
    'overall', then each question type that is asked -> accuracy.
  """
  normal = answers_lib.rule(rule).normal
  alphabet = sorted(range(len(answers)), key=answers.__getitem__)
  ranks = {answers[i]: rank for rank, i in enumerate(alphabet)}
  truth = np.array([ranks.get(normal(truth), -1)
                    for truth in train.truths.different],
                   np.int64)[train.truths.numbers]
  answer = _for(train.texts, asked.texts, truth, len(answers))
  usual = _for(train.types, asked.types, truth, len(answers))
  answer = np.where(answer < 0, usual, answer)
  answer = np.where(answer < 0, len(answers), np.array(
      [*alphabet, 0])[answer])  # A stands for none.

  given, _, score = scored.scores(asked.answers.different, rule, answers)
  said = asked.answers.numbers
  right = (given[said] == answer[:, None]) & (answer < len(answers))[:, None]
  score = np.where(right, score[said], 0).sum(1)
  kinds = asked.types.numbers
  counts = np.bincount(kinds, minlength=len(asked.types.different))
  sums = np.bincount(kinds, score, minlength=len(counts))
  means = {kind: 100 * float(total / count) for kind, total, count in zip(
      asked.types.different, sums, counts) if count}
  overall = {'overall': 100 * float(np.mean(score))} if len(score) else {}
  return overall | {kind: means[kind] for kind in types if kind in means}


def _for(train, asked, truth, count):
  """int64[m], the most frequent truth for what each asked row says; -1: none.

  Args:
    train: what training's rows say.
    asked: what the asked ones say.
    truth: int64 of training's rows, negative where it does not count.
    count: how many truths there are.
  """
  kept = truth >= 0
  pairs, times = np.unique(
      train.numbers[kept].astype(np.int64) * count + truth[kept],
      return_counts=True)
  said, truths = np.divmod(pairs, max(count, 1))
  order = np.lexsort((truths, -times, said))
  said, first = np.unique(said[order], return_index=True)
  best = np.full(len(train.different) + 1, -1)  # The last: never said.
  best[said] = truths[order][first]
  places = {value: i for i, value in enumerate(train.different)}
  return best[np.array([places.get(value, -1) for value in asked.different],
                       np.int64)][asked.numbers]
