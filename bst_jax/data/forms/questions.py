"""Questions about pictures, with answers of annotators, as VQA-v2 and GQA have.

A batch has, for P pictures of Q questions each, B = P Q:
  tokens: int32[B, T].
  target: float32[B, A], soft scores to train on.
  score: float32[B, A], official accuracy of each answer.
  type: int32[B], question types.
"""
from collections.abc import Iterable, Mapping, Sequence
import dataclasses

from bst_jax.data import answers as answers_lib
from bst_jax.data import asked, scored, text, tokens
from bst_jax.data import kinds as kinds_lib
from bst_jax.data import options as options_lib
from bst_jax.data import prior as prior_lib
from bst_jax.data.asked import Questions
from bst_jax.data.forms import Context, Form, Place
from bst_jax.data.vocabularies import Vocabularies
from bst_jax.elastic import check_name
import numpy as np

SCORINGS = ('official', 'fixed')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(options_lib.Texts):
  """config.data of questions."""

  questions_per_picture: int = 1  # They share the picture in a batch.
  eval_questions_per_picture: int = 0  # The same in evaluation; 0: as above.
  answers_from: str = ''  # Split whose answers give the list; '': training's.
  min_answers: int = 1  # How often an answer is given that the list has.
  scoring: str = 'official'  # Or 'fixed': GQA's answers in normal form.

  def __post_init__(self):
    super().__post_init__()
    check_name(self.scoring, SCORINGS, 'way of scoring')

  @property
  def per_group(self) -> tuple[int, int]:
    """Questions of a picture in a batch, in training and in evaluation."""
    return self.questions_per_picture, (
        self.eval_questions_per_picture or self.questions_per_picture)


@dataclasses.dataclass
class Numbers:
  """Questions as numbers; answers are sparse, as most score 0.

  Attributes:
    start: int64[n + 1], as in `Questions`.
    tokens: int32[m, T].
    type: int32[m].
    given: int32[m, K] ids of the answers given; A, one too high, fills up.
    target: float32[m, K] soft scores of the answers given.
    score: float32[m, K] official accuracies of the answers given.
    num_answers: A.
  """

  start: np.ndarray
  tokens: np.ndarray
  type: np.ndarray
  given: np.ndarray
  target: np.ndarray
  score: np.ndarray
  num_answers: int
  pictures = None

  def dense(self, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """float32[B, A] of target or score, for int[B] rows."""
    full = np.zeros((len(rows), self.num_answers + 1), np.float32)
    full[np.arange(len(rows))[:, None], self.given[rows]] = values[rows]
    return full[:, :-1]


# Reading.


def read(records: Iterable[Mapping], lengths: Sequence[int] = (),
         context: Context | None = None) -> Questions:
  """The questions of records."""
  del lengths, context
  return asked.of_records(records)


def beside(records) -> Questions | None:
  """The same, of a file beside the records where there is one."""
  return records.questions()


# Numbers.


def vocabularies(context: Context) -> Vocabularies:
  """Words of the questions, their answers, the most frequent first, and types.
  """
  options, rule = context.options, context.rule
  words_from = context.rows(options.words_from or options.train)
  answered = context.rows(options.answers_from or options.train)
  truths = scored.counted(answered.truths, answered.answered,
                          answers_lib.rule(rule).normal)
  answers = text.ranked(truths, options.min_answers)
  if truths and not answers:
    raise ValueError(
        'An answer list was to be made, but none of the answers is given '
        f'{options.min_answers} times. Lower config.data.min_answers.')
  return Vocabularies(
      tokens.vocabulary(context), answers,
      tuple(sorted({*words_from.types.different, *context.facts.types})))


def encode(questions: Questions, names: Vocabularies,
           context: Context) -> Numbers:
  """Questions as numbers.

  An answer that is not in the list cannot be trained or predicted and scores
  nothing.
  """
  type_ids = {t: i for i, t in enumerate(names.types)}
  unknown = set(questions.types.different) - type_ids.keys()
  if unknown:
    raise ValueError(
        f'Questions of type {sorted(unknown)} were to be read, but training '
        f'had only {sorted(type_ids)}. Use a split of the data set that the '
        'vocabulary was made from.')
  said, types = questions.answers, questions.types
  given, target, score = (
      of_each[said.numbers] for of_each in scored.scores(
          said.different, context.rule, names.answers))
  return Numbers(
      start=questions.start,
      tokens=tokens.encode(questions.texts, names.words,
                           context.options.max_tokens),
      type=np.array([type_ids[t] for t in types.different],
                    np.int32)[types.numbers],
      given=given, target=target, score=score, num_answers=len(names.answers))


def make(numbers: Numbers, place: Place, pictures: dict) -> dict:
  """The questions of a batch beside its pictures."""
  rows, mask = place.rows.reshape(-1), place.mask.reshape(-1)
  labels = {'tokens': numbers.tokens[rows],
            'target': numbers.dense(numbers.target, rows),
            'score': numbers.dense(numbers.score, rows),
            'type': numbers.type[rows]}
  return pictures | {key: tokens.blank(array, mask)
                     for key, array in labels.items()} | {'mask': mask}


def types(sizes: Mapping, options: Options, training: bool) -> dict:
  """What a batch has of each question, beside its words."""
  del options, training
  scores = np.zeros(sizes['num_answers'], np.float32)
  return {'target': scores, 'score': scores, 'type': np.int32(0)}


# What data say of themselves.


def prior(train: Questions, asked: Questions, names: Vocabularies,
          context: Context) -> dict[str, float]:
  """Percent of accuracy that the questions alone give, see `prior.of`."""
  return prior_lib.of(train, asked, names.answers, context.rule, names.types)


def written(context: Context) -> dict[str, str]:
  """{answer of the list: as it is written for a server} where they differ.

  With GQA and `fixed` scoring these are the answers that lost an article or a
  hyphen.
  """
  if context.rule != 'gqa_fixed':
    return {}
  options = context.options
  return answers_lib.raw_forms(
      context.rows(options.answers_from or options.train).truths.different)


def form(features) -> Form:
  """Questions of pictures."""
  del features
  return Form(
      what='questions', unit='questions', floor='question only',
      parts=('questions',), options=Options,
      kinds=lambda options, features: kinds_lib.of_inputs(options.inputs),
      names=('words', 'answers', 'types'), read=read, beside=beside,
      vocabularies=vocabularies, encode=encode, make=make, types=types,
      lacks=lambda rows: '' if rows.answered.any() else 'it has no answers',
      prior=prior, ids=lambda rows: rows.ids, written=written,
      known_by='picture')
