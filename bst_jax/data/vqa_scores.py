"""Official VQA accuracy of a file of answers."""
import collections
from collections.abc import Iterable, Mapping, Sequence
import sys

from bst_jax.data import answers, text
from bst_jax.data.builders import asked
from bst_jax.data.builders.problems import Problems, Unusable
import numpy as np


def accuracy(answer: str, said: Sequence[str]) -> float:
  """Accuracy, 0 to 1, of an answer to one question.

  Args:
    answer: the prediction, in any form.
    said: what the annotators, ten in VQA-v2, said.

  Reference: Antol et al., ICCV 2015, and the published evaluation code: each
    annotator in turn is left out and the answer scores a third for each other
    one who gave it, at most 1.
  """
  return text.vqa_accuracies(answers.as_annotated(said)).get(
      answers.as_predicted(answer), 0.0)


def score(predictions: Mapping[int | str, str],
          annotations: Iterable[Mapping]) -> dict[str, float | dict]:
  """Scores predictions as VQA's evaluation server does.

  Args:
    predictions: question id -> answer, for exactly the annotated questions.
    annotations: entries of an annotation file: question_id, answers as
      [{'answer': …}, …], answer_type and question_type, as
      `asked.annotation` reads them; the types may be missing.

  Returns:
    {'overall': …, 'answer_type': {'yes/no': …, 'number': …, 'other': …},
    'question_type': {…}}, in percent.

  Raises:
    ValueError: a question is annotated twice, or is not annotated or not
      predicted; or an annotation is malformed or has no answer.
  """
  predictions = {str(k): v for k, v in predictions.items()}
  scores, known = collections.defaultdict(list), set()
  problems = Problems(sys.maxsize)
  for entry in annotations:
    try:
      name, kind, _, said = asked.annotation(entry)
    except Unusable as error:
      problems.add(error.kind, str(error))
      continue
    if name in known:
      raise ValueError(f'Question {name} was annotated twice; the annotation '
                       'file must have each question once.')
    known.add(name)
    if name not in predictions:
      raise ValueError(
          f'Question {name} was to be scored, but no prediction has its id. '
          'Predict all questions of the split of the annotation file.')
    one = accuracy(predictions[name], said)
    scores['overall'].append(one)
    scores['answer_type', kind].append(one)
    if 'question_type' in entry:
      scores['question_type', str(entry['question_type'])].append(one)
  if problems.counts:
    raise ValueError(
        f'{len(predictions)} predictions were to be scored, but there are '
        f'annotations that cannot be:\n{problems}\nGive an annotation file '
        'with the answers of people; a test split has none.')
  strangers = sorted(predictions.keys() - known)
  if strangers or not known:
    raise ValueError(
        f'{len(predictions)} predictions were to be scored against {len(known)}'
        f' annotations, but questions {strangers[:5]} are not annotated. Take '
        'the annotation file of the split that was predicted.')
  result = {'overall': 0.0, 'answer_type': {}, 'question_type': {}}
  for key, values in scores.items():
    mean = 100 * float(np.mean(values))
    if key == 'overall':
      result[key] = mean
    else:
      result[key[0]][key[1]] = mean
  return result
