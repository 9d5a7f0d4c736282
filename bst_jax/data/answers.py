"""What counts as the same answer: normal forms, answer lists, scores.

Two normal forms exist. Training compares answers by `normal`; the official VQA
scorer puts a prediction through `as_predicted` and the annotators' answers
through `without_punctuation`, and those only where they differ.
"""
from collections.abc import Callable, Iterable, Mapping, Sequence
import functools
import re
from typing import NamedTuple

from bst_jax.data import text
from bst_jax.data.contractions import CONTRACTIONS
from bst_jax.elastic import check_name

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_COMMA_IN_NUMBER = re.compile(r'\d,\d')
# The published pattern also means to spare a stop behind a digit, but its
# look-behind is misspelt and always holds.
_STOP = re.compile(r'\.(?!\d)')
# The published call gives a flag in the place of the count; the flag is 32.
_MOST_STOPS = 32
_ARTICLES = ('a', 'an', 'the')
_NUMBERS = {'none': '0'} | {
    word: str(n) for n, word in enumerate(
        'zero one two three four five six seven eight nine ten'.split())}

# An answer of the VQA-v2 list was given to more than 8 questions.
VQA_LEAST = 9


# Most answers are given again and again.
@functools.lru_cache(maxsize=1 << 18)
def without_punctuation(answer: str) -> str:
  """The answer less its punctuation, by VQA's rule.

  A mark with a space at one of its sides somewhere in the answer is deleted,
  any other becomes a space; where a comma stands between two digits, all marks
  are deleted. Then full stops go, but for those before a digit.

  Differs from what the rule says it does, as the published code does: a stop
    after a digit goes too, and at most 32 stops go.
  """
  found = answer
  for mark in _PUNCTUATION:
    alone = (f'{mark} ' in answer or f' {mark}' in answer
             or _COMMA_IN_NUMBER.search(answer))
    found = found.replace(mark, '' if alone else ' ')
  return _STOP.sub('', found, count=_MOST_STOPS)


@functools.lru_cache(maxsize=1 << 18)
def words(answer: str) -> str:
  """The answer in lower case, numbers up to ten as digits, without articles.

  Contractions get their apostrophes; 'none' is 0.
  """
  kept = [_NUMBERS.get(w, w) for w in answer.lower().split()]
  return ' '.join(CONTRACTIONS.get(w, w) for w in kept if w not in _ARTICLES)


def as_predicted(answer: str) -> str:
  """What the official scorer compares of a prediction."""
  return words(without_punctuation(re.sub(r'[\n\t]', ' ', answer).strip()))


def as_annotated(answers: Sequence[str]) -> list[str]:
  """What the official scorer compares of a question's annotators."""
  if len(set(answers)) > 1:
    return [without_punctuation(a) for a in answers]
  return list(answers)


def normal(answer: str) -> str:
  """What training holds to be one answer: the scorer's form without commas."""
  return words(without_punctuation(answer)).replace(',', '')


class Rule(NamedTuple):
  """How the answers of a data set become a list, and predictions scores.

  Attributes:
    normal: an annotated answer -> the form that answer lists have.
    said: an annotated answer -> what the published scorer compares of it.
    agreed: the same where all annotators of a question wrote alike.
    compared: an answer of the list -> the form that is scored.
    graded: scores count how many of ten annotators said so; else there is one.
  """

  normal: Callable[[str], str]
  said: Callable[[str], str]
  agreed: Callable[[str], str]
  compared: Callable[[str], str]
  graded: bool

  def scores(self, said: Sequence[str], listed: Mapping[str, Sequence[str]],
             ) -> dict[str, tuple[float, float]]:
    """What answers score: {answer: (soft, official)}.

    `soft` is to be trained on, `official` what the published scorer would give.

    Args:
      said: the answers of a question's annotators.
      listed: {form: the answers of the list that are scored by it}.
    """
    form = self.said if len(set(said)) > 1 else self.agreed
    normal, forms = [self.normal(a) for a in said], [form(a) for a in said]
    soft, official = (
        (text.soft_scores(normal), text.vqa_accuracies(forms)) if self.graded
        else (dict.fromkeys(normal, 1.0), dict.fromkeys(forms, 1.0)))
    found = {a: (score, 0.0) for a, score in soft.items()}
    for form, score in official.items():
      for answer in listed.get(form, ()):
        found[answer] = (found.get(answer, (0.0,))[0], score)
    return found


def _same(answer: str) -> str:
  return answer


RULES = {
    # Answers as they are, ten annotators.
    'exact': Rule(_same, _same, _same, _same, True),
    'vqa': Rule(normal, without_punctuation, _same, as_predicted, True),
    # One annotator, compared as it was written: what normal forms lose can
    # never be right.
    'gqa': Rule(normal, _same, _same, _same, False),
    # The same, compared in normal form.
    'gqa_fixed': Rule(normal, normal, normal, _same, False),
}


def rule(name: str) -> Rule:
  """The rule of that name."""
  check_name(name, RULES, 'rule for answers')
  return RULES[name]


class Scorer:
  """Scores of the answers of one list.

    scorer = Scorer('vqa', answers)
    scorer(('yes', 'yes', 'no', …))  # [(id, soft, official), …]
  """

  def __init__(self, name: str, answers: Sequence[str]):
    self._rule = rule(name)
    self._ids = {a: i for i, a in enumerate(answers)}
    self._listed = {}
    for answer in answers:
      self._listed.setdefault(self._rule.compared(answer), []).append(answer)

  def __call__(self, said: Sequence[str]) -> list[tuple[int, float, float]]:
    """The list's answers that score anything, with what they score."""
    scores = self._rule.scores(said, self._listed)
    return [(self._ids[a], *both) for a, both in scores.items()
            if a in self._ids]


def vqa_list(truths: Iterable[str], least: int = VQA_LEAST) -> tuple[str, ...]:
  """VQA-v2's answer list: what is the truth of more than 8 questions.

  Args:
    truths: `multiple_choice_answer` of the training and validation questions;
      the published files give 3,129 answers.
    least: how often an answer must be given.
  """
  return text.rank_answers((normal(a) for a in truths), least)


def gqa_list(truths: Iterable[str]) -> tuple[str, ...]:
  """GQA's answer list: every answer of the balanced training and validation
  questions in normal form; the published list has 1,843.
  """
  return text.rank_answers(normal(a) for a in truths)


def raw_forms(truths: Iterable[str]) -> dict[str, str]:
  """{normal form: the answer as it was written} where the two differ.

  A prediction is an answer of the list, in normal form; GQA's server compares
  with what was written, as in 't-shirt' for 't shirt'. Where several written
  answers share a normal form, one that is its own stands for itself, else the
  first by the alphabet.
  """
  written = sorted(set(truths))
  found = {normal(a): a for a in reversed(written)}
  found |= {a: a for a in written if normal(a) == a}
  return {form: a for form, a in found.items() if form != a}
