"""Ten answers to a question, as VQA-v2 has them: some annotators differ."""
from bst_jax.data.builders.digit_scenes import programs

ANNOTATORS = 10
_EVERY = 10  # one question in ten is disputed
_DISSENTERS = (1, 1, 1, 2, 2, 3)


class Disputes:
  """Gives ten answers to one question after another.

  Of each ten questions in a row exactly one is disputed: one to three
  annotators give another answer of the same type.
  """

  def __init__(self):
    self._left = 0
    self._when = 0

  def answers(self, kind: str, truth: str, draws) -> tuple[str, ...]:
    """The ten answers; at least seven are the true one."""
    if not self._left:
      self._left, self._when = _EVERY, draws.below(_EVERY) + 1
    disputed = self._left == self._when
    self._left -= 1
    if not disputed:
      return (truth,) * ANNOTATORS
    others = [a for a in programs.ANSWERS[kind] if a != truth]
    differ = [draws.pick(others) for _ in range(draws.pick(_DISSENTERS))]
    return tuple(draws.shuffled(
        differ + [truth] * (ANNOTATORS - len(differ))))
