"""Chooses the questions of each picture so that answers stay balanced."""
import collections
import dataclasses

from bst_jax.data.builders.digit_scenes import annotators, programs


@dataclasses.dataclass(frozen=True)
class Question:
  """A question, its type, its true answer and what ten annotators said."""

  text: str
  type: str
  answer: str
  answers: tuple[str, ...]


class Asker:
  """Asks about one picture after another, and keeps count.

  The type asked least comes first; within a type the answer given least, which
  may not run ahead of the rarest; with that answer the wording for which it is
  rarest, so that neither type nor wording gives an answer away.
  """

  def __init__(self, layout, types: tuple[str, ...]):
    self._layout = layout
    self._answers = {t: collections.Counter() for t in types}
    self._wordings = collections.Counter()
    self._disputes = annotators.Disputes()

  def ask(self, plates, draws) -> list[Question]:
    """Questions about the next picture."""
    wanted = self._layout.questions + (draws.below(100) < self._layout.more)
    types = draws.shuffled(self._answers)
    types.sort(key=lambda t: self._answers[t].total())
    asked = []
    while types and len(asked) < wanted:
      kind = types.pop(0)
      found = self._choose(kind, plates, draws)
      if found:
        text, answer = found
        answers = self._disputes.answers(kind, answer, draws)
        asked.append(Question(text, kind, answer, answers))
    return asked

  def _choose(self, kind, plates, draws):
    """A question of the type with its answer, or None where none would do."""
    given = self._answers[kind]
    all_answers = programs.ANSWERS[kind]
    # In hundredths, as thresholds in floats could differ by rounding.
    limit = min(given[a] for a in all_answers) * 108 + 100
    candidates = {}
    for text, answer in programs.PROGRAMS[kind](plates, draws):
      candidates.setdefault(answer, []).append(text)
    open_answers = [a for a in draws.shuffled(sorted(candidates))
                    if given[a] * 100 + 100 <= limit]
    if not open_answers:
      return None
    answer = min(open_answers, key=given.__getitem__)
    text = min(draws.shuffled(candidates[answer]), key=lambda t: (
        self._wordings[t, answer] * len(all_answers) - self._wordings[t]))
    given[answer] += 1
    self._wordings[text] += 1
    self._wordings[text, answer] += 1
    return text, answer
