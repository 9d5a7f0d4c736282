"""Questions and answers in VQA-v2's JSON form, by picture."""
import collections
from collections.abc import Iterable, Mapping
import os
import sys
from typing import Any, NamedTuple

from bst_jax.data import text
from bst_jax.data.builders import json_stream
from bst_jax.data.builders.problems import Problems, Unusable

TYPES = ('number', 'other', 'yes/no')
ANNOTATORS = 10


class Question(NamedTuple):
  """One question; `answers` is empty where nobody was asked.

  Attributes:
    id: unique in the split.
    question: its words.
    type: 'yes/no', 'number', 'other', or a data set's own.
    answer: the one held to be true.
    answers: what the annotators said.
  """

  id: str
  question: str
  type: str
  answer: str = ''
  answers: tuple[str, ...] = ()

  def record(self) -> dict[str, str]:
    """As TFDS stores it: the answers one a line."""
    return {'question_id': self.id, 'question': self.question,
            'type': self.type, 'answer': self.answer,
            'answers': '\n'.join(self.answers)}


def one_line(answer: Any) -> str:
  """An answer as text without line breaks; alike ones are one object."""
  words = str(answer) if answer is not None else ''
  # Breaks of lines are not printable.
  return sys.intern(words if words.isprintable() else
                    ' '.join(words.splitlines()))


def kind_of(answer: str) -> str:
  """The type of a question with that answer, by VQA's three."""
  if answer.lower() in ('yes', 'no'):
    return 'yes/no'
  return 'number' if answer.replace(',', '').replace('.', '', 1).isdigit(
      ) else 'other'


def is_asked(words: Any) -> bool:
  """Whether a question has a word to read."""
  return isinstance(words, str) and bool(text.tokenize(words))


def identity(value: Any) -> str:
  """The id of a question or a picture as text, as it was written.

  '0123' is another one than 123. 7.0, as tables of data frames leave it, is the
  number 7.

  Raises:
    ValueError: it is neither text nor a whole number.
  """
  if isinstance(value, float) and value.is_integer():
    value = int(value)
  if isinstance(value, bool) or not isinstance(value, (int, str)) or (
      value == ''):
    raise ValueError(f'the id is {value!r}, neither text nor a whole number')
  return str(value)


class Annotation(NamedTuple):
  """What was answered to a question, as of `annotation`.

  Attributes:
    id: of the question.
    type: 'yes/no', 'number', 'other', or a data set's own.
    truth: the answer held to be true.
    said: what the annotators said.
  """

  id: str
  type: str
  truth: str
  said: tuple[str, ...]


def annotation(entry: Any) -> Annotation:
  """An entry of an annotation file, for training and for scores.

  Args:
    entry: has question_id and, as `answers` or `answer`, ten as [{'answer': …},
      …] or […], or one, which counts as ten that agree.
      `multiple_choice_answer` is the true one, else the most frequent;
      `answer_type` is the type, else told by the true answer.

  Raises:
    Unusable: it is of no such form, or nobody answered.
  """
  if not isinstance(entry, Mapping) or 'question_id' not in entry:
    raise Unusable('malformed annotation', repr(entry)[:80])
  try:
    name = identity(entry['question_id'])
  except ValueError as error:
    raise Unusable('malformed annotation',
                   f'{repr(entry)[:80]}, {error}') from error
  said = _answers(entry)
  if not said:
    raise Unusable('malformed annotation', f'question {name} has no answers: '
                   f'{repr(entry)[:80]}')
  truth = one_line(entry.get('multiple_choice_answer') or most_frequent(said))
  return Annotation(
      name, sys.intern(str(entry.get('answer_type') or kind_of(truth))), truth,
      said)


class Asked:
  """Collects questions by picture; bad ones become problems."""

  def __init__(self, problems: Problems, where: str):
    """`where` names the file or split in what is reported."""
    self._problems, self._where, self._seen = problems, where, set()
    self.pictures = collections.defaultdict(list)

  def add(self, picture: str, question: Question) -> None:
    """Takes a question if it is new and says something."""
    if question.id in self._seen:
      self.bad('question twice', f'question {question.id}')
    elif not is_asked(question.question):
      self.bad('empty question', f'question {question.id}, '
               f'{question.question!r}')
    else:
      self._seen.add(question.id)
      self.pictures[picture].append(question._replace(
          question=sys.intern(question.question)))  # Many are asked often.

  def bad(self, kind: str, what: str) -> None:
    """Reports something of this file."""
    self._problems.add(kind, f'{what} of {self._where}')


def read(questions: str | os.PathLike, annotations: str | os.PathLike | None,
         problems: Problems, subtype: str = '') -> dict[str, list[Question]]:
  """Questions of each picture, pictures in the order of the file.

  Args:
    questions: file with {'questions': [{'question_id', 'image_id',
      'question'}, …]}.
    annotations: file with {'annotations': [{'question_id', 'image_id',
      'answers', …}, …]}, each as of `annotation`, or None where there are none.
    problems: takes what cannot be used.
    subtype: what both files must say of themselves, as in 'train2014'; '' for
      files that need not.
  """
  with problems.gathered():
    annotated = None
    if annotations is not None:
      annotated = _annotations(annotations, problems, subtype)
    pictures = _asked(questions, annotations, annotated, problems, subtype)
  return pictures


def _asked(questions, annotations, annotated, problems, subtype):
  """Questions by picture, which take theirs from what is annotated."""
  asked, matched = Asked(problems, os.path.basename(questions)), 0
  for name, entry in json_stream.members(questions, 'questions'):
    if name == 'data_subtype':
      _check_subtype(questions, entry, subtype)
    if name != 'questions':
      continue
    if not isinstance(entry, Mapping) or not {
        'question_id', 'image_id', 'question'} <= entry.keys():
      asked.bad('malformed question', repr(entry)[:80])
      continue
    try:
      question, picture = (
          identity(entry[key]) for key in ('question_id', 'image_id'))
    except ValueError as error:
      asked.bad('malformed question', f'{repr(entry)[:80]}, {error}')
      continue
    about = Annotation(question, 'other', '', ())
    if annotated is not None:
      if question not in annotated:
        asked.bad('question twice or without annotation',
                  f'question {question}')
        continue
      matched += 1
      of, about = annotated.pop(question)
      if of != picture:
        asked.bad('annotation of another picture', f'question {question}: '
                  f'picture {picture}, annotated {of}')
        continue
    asked.add(picture, Question(question, entry['question'], *about[1:]))
  if annotated and not matched:
    raise ValueError(
        f'{annotations} was to annotate {questions}, but has none of its '
        'questions. Put the two files of one split there.')
  for question in annotated or ():
    asked.bad('annotation without question', f'question {question}')
  if not asked.pictures:
    raise ValueError(f'{questions} was to be read, but has no usable question. '
                     "Its member 'questions' must be a list of them."
                     f'{problems.told()}')
  return dict(asked.pictures)


def _annotations(path, problems, subtype):
  """{question id: (picture, annotation)} of a file."""
  found, where, alike = {}, os.path.basename(path), {}
  for name, entry in json_stream.members(path, 'annotations'):
    if name == 'data_subtype':
      _check_subtype(path, entry, subtype)
    if name != 'annotations':
      continue
    try:
      one = annotation(entry)
      picture = identity(entry.get('image_id', ''))
    except ValueError as error:
      problems.add('malformed annotation', f'{error} of {where}')
      continue
    if one.id in found:
      problems.add('annotation twice', f'question {one.id} of {where}')
      continue
    # Ten of 'yes' are kept once.
    found[one.id] = sys.intern(picture), one._replace(
        said=alike.setdefault(one.said, one.said))
  if not found:
    raise ValueError(f'{path} was to be read, but has no usable annotation. '
                     "Its member 'annotations' must be a list of them. A split "
                     'that nobody annotated needs no such file.'
                     f'{problems.told()}')
  return found


def _answers(entry: Mapping) -> tuple[str, ...]:
  """What the annotators said; empty where the entry is malformed."""
  said = entry.get('answers')
  said = entry.get('answer') if said is None else said
  said = [said] if isinstance(said, (str, int, float)) else said
  if not isinstance(said, list) or not said:
    return ()
  plain = [a.get('answer') if isinstance(a, dict) else a for a in said]
  if not all(isinstance(a, (str, int, float)) for a in plain):
    return ()
  lines = tuple(one_line(a) for a in plain)
  return lines * ANNOTATORS if len(lines) == 1 else lines


def most_frequent(said: Iterable[str]) -> str:
  """The answer given most often, the first by the alphabet of several."""
  return text.rank_answers(said)[0]


def _check_subtype(path, found, wanted):
  if wanted and found != wanted:
    raise ValueError(
        f'{path} was to be read as the file of {wanted}, but says of itself '
        f'that it is of {found}. Put the file of {wanted} there.')
