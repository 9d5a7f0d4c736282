"""GQA's metrics of a file of answers."""
import collections
from collections.abc import Mapping

from bst_jax.data import answers
from bst_jax.elastic import check_name
import numpy as np

MODES = ('official', 'fixed')
# Operations that name an object and are not counted as a step of reasoning.
_NO_STEP = ('exist', 'query: name', 'choose name')
# The choices of questions that compare two objects.
_COMMON = ('color', 'material', 'shape')
_BREAKDOWNS = ('structural', 'semantic', 'steps', 'words')


def steps(question: Mapping) -> int:
  """Number of reasoning steps of a question's program."""
  operations = [f'{op["operation"]}: {op["argument"]}'
                for op in question['semantic']]
  return sum(not any(o in op for o in _NO_STEP) for op in operations)


def score(predictions: Mapping[str, str], questions: Mapping[str, Mapping],
          mode: str = 'official', choices: Mapping[str, Mapping] | None = None,
          entailed: Mapping[str, Mapping] | None = None) -> dict:
  """Scores predictions by GQA's metrics over the balanced questions.

  Args:
    predictions: question id -> answer; for every balanced question, and for
      consistency also for the questions that they entail.
    questions: entries of a question file, by id: question, answer, isBalanced,
      types, groups, semantic, entailed.
    mode: 'official' compares with the answers as they were written, so that
      some written with an article or a hyphen can never be met by a prediction
      in normal form; 'fixed' writes predictions as the file does first.
    choices: entries of a choices file: valid and plausible answers by id.
    entailed: entries of the file of all questions, in which the entailed ones
      are found.

  Returns:
    {'mode', 'accuracy', 'binary', 'open', 'distribution', 'structural': {type:
    …}, 'semantic': {…}, 'steps': {number: …}, 'words': {number: …}}; where
    `choices` is given 'validity' and 'plausibility' too, and where `entailed`
    is, 'consistency'. All in percent but distribution, lower of which is
    better. A metric without any question is left out.

  Reference: Hudson and Manning, CVPR 2019, and the published evaluation code.
  """
  check_name(mode, MODES, 'mode of scoring')
  _check_entries(questions, entailed or {}, choices)
  everything = {**(entailed or {}), **questions}
  written = {} if mode == 'official' else answers.raw_forms(
      q['answer'] for q in everything.values())

  def predicted(name):
    answer = _predicted(name, predictions)
    return written.get(answer, answer)

  balanced = {n: q for n, q in questions.items() if q['isBalanced']}
  if not balanced:
    raise ValueError(
        f'{len(questions)} questions were to be scored, but none is balanced. '
        'Take a question file with balanced questions.')
  said = {name: predicted(name) for name in balanced}
  scores = collections.defaultdict(list)
  for name, question in balanced.items():
    right = said[name] == question['answer']
    for key in _counted_under(question):
      scores[key].append(right)
    if choices is not None:
      for metric, key in (('validity', 'valid'), ('plausibility', 'plausible')):
        scores[metric].append(
            said[name] in (_fixed_choice(question) or choices[name][key]))
    if entailed is not None and right:
      follow = [predicted(other) == everything[other]['answer']
                for other in question['entailed'] if other != name]
      if follow:
        scores['consistency'].append(np.mean(follow))
  return {'mode': mode, **_means(scores), **_distribution(balanced, said)}


def _predicted(name, predictions):
  """The prediction of a question, which must be there."""
  if name not in predictions:
    raise ValueError(
        f'Question {name} was to be scored, but no prediction has its id. '
        'Predict all balanced questions of the split, and for consistency '
        'also those that they entail.')
  return predictions[name]


def _check_entries(questions, entailed, choices):
  """Raises where an entry that counts lacks what is asked of it."""
  bad = {name: "has no 'answer'" for name, entry in
         {**entailed, **questions}.items() if 'answer' not in entry}
  for name, question in questions.items():
    try:
      if question['isBalanced']:
        _counted_under(question), question['groups']['global']
        if choices is not None and not _fixed_choice(question):
          choices[name]['valid'], choices[name]['plausible']
    except (KeyError, TypeError, AttributeError) as error:
      bad.setdefault(name, f'is malformed, or its choices are '
                     f'({type(error).__name__}: {error})')
      continue
    for other in question.get('entailed', ()) if entailed else ():
      if other not in entailed and other not in questions:
        bad.setdefault(other, 'is entailed, but in neither file')
  if bad:
    name, what = next(iter(bad.items()))
    raise ValueError(
        f'{len(questions)} questions were to be scored, but {len(bad)} of them '
        f'cannot be: question {name} {what}. Give the files with answers of '
        'the split that was predicted.')


def _fixed_choice(question: Mapping) -> tuple[str, ...]:
  """The answers that a comparison of two objects may have; else none."""
  return _COMMON if 'Common' in question['types']['detailed'] else ()


def _counted_under(question: Mapping) -> list[str | tuple]:
  """Metrics that a question counts for; of breakdowns with its kind of it."""
  types = question['types']
  return ['accuracy', 'open' if types['structural'] == 'query' else 'binary',
          ('structural', types['structural']),
          ('semantic', types['semantic']), ('steps', steps(question)),
          ('words', len(question['question'].split()))]


def _means(scores: Mapping) -> dict:
  """Percent of each metric, breakdowns as sorted dicts of their own."""
  result = {kind: {} for kind in _BREAKDOWNS}
  for key, values in scores.items():
    mean = 100 * float(np.mean(values))
    if isinstance(key, tuple):
      result[key[0]][key[1]] = mean
    else:
      result[key] = mean
  return result | {kind: dict(sorted(result[kind].items()))
                   for kind in _BREAKDOWNS}


def _distribution(questions: Mapping[str, Mapping],
                  said: Mapping[str, str]) -> dict[str, float]:
  """Chi-square of the answers of a group, averaged by the groups' sizes; nothing
  where no question has a group.
  """
  gold, given = (collections.defaultdict(collections.Counter)
                 for _ in range(2))
  for name, question in questions.items():
    group = question['groups']['global']
    if group is not None:
      gold[group][question['answer']] += 1
      given[group][said[name]] += 1
  total, size = 0.0, 0
  for group, counts in gold.items():
    there = sum(counts.values())
    total += there * sum(
        (given[group][a] - n) ** 2 / n for a, n in counts.items())
    size += there
  return {'distribution': total / size / 100} if gold else {}
