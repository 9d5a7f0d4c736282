"""Our VQA scores against the official evaluation code.

  python tests/parity/fetch.py && pytest -n 0 tests/parity/test_vqa_scores.py
"""
import importlib.util
import random
import sys
import warnings

from bst_jax.data import answers, contractions, vqa_scores
import fetch
import pytest

NAME = 'vqa_eval.py'
if not fetch.is_there(NAME):
  message = (f'NOT COMPARED with the official VQA evaluation code: {NAME} is '
             'not there; run python tests/parity/fetch.py')
  warnings.warn(message, stacklevel=1)
  print(message, file=sys.__stderr__)
  pytest.skip(message, allow_module_level=True)


class Split:
  """What the official code asks of a file of annotations or results."""

  def __init__(self, qa):
    self.qa = qa

  def getQuesIds(self):
    return list(self.qa)


@pytest.fixture(scope='module')
def official():
  spec = importlib.util.spec_from_file_location('vqa_eval', fetch.place(NAME))
  module = importlib.util.module_from_spec(spec)
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # Its patterns are not raw strings.
    spec.loader.exec_module(module)
  return module.VQAEval


PIECES = ['dog', 'The', 'a', 'an', 't-shirt', 'none', 'two', 'ten', 'Im', 'dont',
          "somebody'd", 'ow\'s\'at', '1,000', '1.5', '.5', '12.', 'mr.', 'u.s.',
          '/', ' / ', ',', ', ', '-', '?', '!', '"x"', '(y)', '[z]', '=', '+',
          '\\', '_', '>', '<=', '@', '`', ';', "'", '$', '%', '&', ':', '  ',
          'é', 'whats', '.' * 40, "y'allll"]


def spelling(rng):
  return rng.choice(['', ' ']).join(
      rng.choice(PIECES) for _ in range(rng.randint(1, 5)))


def test_normal_forms(official):
  scorer, rng = official(), random.Random(0)
  for answer in [*PIECES, *(spelling(rng) for _ in range(20000))]:
    bare = scorer.processPunctuation(answer)
    assert answers.without_punctuation(answer) == bare, answer
    assert answers.words(bare) == scorer.processDigitArticle(bare), answer


def test_contractions(official):
  theirs = {k: v for k, v in official().contractions.items() if k != v}
  assert contractions.CONTRACTIONS == theirs


def test_scores(official):
  rng = random.Random(1)
  kinds = ('yes/no', 'number', 'other')
  entries, predictions = [], {}
  for name in range(1500):
    pool = [spelling(rng) for _ in range(rng.randint(1, 4))]
    entries.append({
        'question_id': name, 'answer_type': rng.choice(kinds),
        'question_type': rng.choice(('what', 'is it', 'how many')),
        'answers': [{'answer': rng.choice(pool), 'answer_id': i}
                    for i in range(10)]})
    predictions[name] = rng.choice([*pool, answers.normal(pool[0])])
  ours = vqa_scores.score(predictions, entries)
  each = {e['question_id']: vqa_scores.accuracy(
      predictions[e['question_id']], [a['answer'] for a in e['answers']])
          for e in entries}
  # Last, as it changes what it is given.
  theirs = official(
      Split({e['question_id']: e for e in entries}),
      Split({k: {'answer': v} for k, v in predictions.items()}), n=9)
  theirs.evaluate()
  assert {k: 100 * v for k, v in each.items()} == pytest.approx(
      theirs.evalQA, abs=1e-8)
  assert 1 < theirs.accuracy['overall'] < 99
  assert ours['overall'] == pytest.approx(theirs.accuracy['overall'], abs=1e-8)
  for kind, name in (('answer_type', 'perAnswerType'),
                     ('question_type', 'perQuestionType')):
    assert ours[kind] == pytest.approx(theirs.accuracy[name], abs=1e-8)
