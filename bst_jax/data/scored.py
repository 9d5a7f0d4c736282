"""Scores of many lists of answers at once, as `answers.Scorer` gives them one
by one.
"""
from collections.abc import Callable, Sequence

from bst_jax.data import answers as answers_lib
from bst_jax.data import text
from bst_jax.data.coded import Coded, Lists
import numpy as np

_AT_ONCE = 1 << 16  # lists whose answers are compared with each other


def counted(values: Coded, kept: np.ndarray,
            form: Callable[[str], str]) -> dict[str, int]:
  """{form of a value: in how many rows it is}.

  Args:
    values: of rows.
    kept: bool[m], the rows that count.
    form: value -> form, in which values may be equal.
  """
  counts = np.bincount(values.numbers[kept], minlength=len(values.different))
  found = {}
  for value, count in zip(values.different, counts.tolist()):
    if count:
      name = form(value)
      found[name] = found.get(name, 0) + count
  return found


def scores(lists: Lists, rule: str, answers: Sequence[str],
           ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """What answers of a list score for each of several questions.

  Args:
    lists: what annotators said, n of them.
    rule: how answers compare, a name in `answers.RULES`.
    answers: the list, A of them.

  Returns:
    int32[n, K], the answers of the list that score anything, in their order; A
    fills up. float64[n, K], what they are trained with, and float64[n, K], their
    official accuracy.
  """
  how, count = answers_lib.rule(rule), len(answers)
  ids = {answer: i for i, answer in enumerate(answers)}
  compared = {}
  for answer, i in ids.items():
    compared.setdefault(how.compared(answer), []).append(i)
  words, said = list(lists.words), lists.numbers

  names, forms = _forms(words, how.normal)
  entries, soft = _entries(forms[said], said >= 0, [
      [ids[name]] if name in ids else [] for name in names])
  soft_of = (np.array(text.SOFT)[np.minimum(soft, len(text.SOFT) - 1)]
             if how.graded else np.ones(len(soft)))

  names, forms, agreed = _forms(words, how.said, how.agreed)
  alike = ((said == said[:, :1]) | (said < 0)).all(1)
  both = np.where(alike[:, None], agreed[said], forms[said])
  more, times = _entries(both, said >= 0, [
      compared.get(name, []) for name in names])
  total = (said >= 0).sum(1)[more[:, 0]]
  official = (text.accuracy(times, total) if how.graded
              else np.ones(len(times)))

  places = np.concatenate([entries, more]) @ np.array([[count], [1]])
  unique, inverse = np.unique(places[:, 0], return_inverse=True)
  row, answer = np.divmod(unique, max(count, 1))
  nth = np.arange(len(row)) - np.searchsorted(row, row)
  shape = len(said), int(nth.max(initial=0)) + 1
  given = np.full(shape, count, np.int32)
  given[row, nth] = answer
  target, score = np.zeros(shape), np.zeros(shape)
  first, second = inverse[:len(entries)], inverse[len(entries):]
  target[row[first], nth[first]] = soft_of
  score[row[second], nth[second]] = official
  return given, target, score


def _forms(words, *functions):
  """Different forms of words, and for each function int64[n + 1] of theirs.

  The last stands for the -1 behind the words of a list.
  """
  seen, found = {}, []
  for function in functions:
    found.append(np.array([
        *(seen.setdefault(form, len(seen)) for form in map(function, words)),
        -1]))
  return list(seen), *found


def _entries(forms, real, listed):
  """What of a list each row has.

  Args:
    forms: int64[n, K] of forms.
    real: bool[n, K], whether there is a word.
    listed: for each form, answers of the list.

  Returns:
    int64[m, 2] of row and answer, and int64[m], how often the row has its form.
  """
  rows, places, times = [np.zeros((3, 0), np.int64)], np.cumsum(
      [0, *map(len, listed)]), None
  for start in range(0, len(forms), _AT_ONCE):
    some, there = forms[start:start + _AT_ONCE], real[start:start + _AT_ONCE]
    same = some[:, :, None] == some[:, None]
    first = there & ~np.tril(same, -1).any(2)
    row, nth = np.nonzero(first)
    rows.append(np.stack([row + start, some[row, nth],
                          same.sum(2)[row, nth]]))
  row, form, times = np.concatenate(rows, 1)
  many = np.diff(places)[form]
  within = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
  flat = np.array([i for one in listed for i in one], np.int64)
  answer = flat[np.repeat(places[form], many) + within]
  return (np.stack([np.repeat(row, many), answer], 1),
          np.repeat(times, many))
