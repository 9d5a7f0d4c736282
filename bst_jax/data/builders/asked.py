"""Questions and answers in VQA-v2's JSON form, by picture."""
import collections
from collections.abc import Iterable, Mapping
import os
import sys
from typing import Any, NamedTuple

from bst_jax.data import text
from bst_jax.data.builders import json_stream
from bst_jax.data.builders.problems import Problems

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
  """An answer as text without line breaks."""
  return ' '.join(str(answer).splitlines()) if answer is not None else ''


def kind_of(answer: str) -> str:
  """The type of a question with that answer, by VQA's three."""
  if answer.lower() in ('yes', 'no'):
    return 'yes/no'
  return 'number' if answer.replace(',', '').replace('.', '', 1).isdigit(
      ) else 'other'


def is_asked(words: Any) -> bool:
  """Whether a question has a word to read."""
  return isinstance(words, str) and bool(text.tokenize(words))


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
      self.pictures[picture].append(question)

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
      'answers', …}, …]}, or None where there are none. `answers` are ten as
      [{'answer': …}, …] or […], or one, which counts as ten that agree; also
      as 'answer'. `multiple_choice_answer` is the true one, else the most
      frequent; `answer_type` is the type, else told by the true answer.
    problems: takes what cannot be used.
    subtype: what both files must say of themselves, as in 'train2014'; '' for
      files that need not.
  """
  annotated = None
  if annotations is not None:
    annotated = _annotations(annotations, problems, subtype)
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
    identity, picture = str(entry['question_id']), str(entry['image_id'])
    kind, truth, said = 'other', '', ()
    if annotated is not None:
      found = annotated.pop(identity, None)
      if found is None:
        asked.bad('question twice or without annotation',
                  f'question {identity}')
        continue
      matched += 1
      of, kind, truth, said = found
      if of != picture:
        asked.bad('annotation of another picture', f'question {identity}: '
                  f'picture {picture}, annotated {of}')
        continue
    asked.add(picture, Question(identity, entry['question'], kind, truth, said))
  if annotated and not matched:
    raise ValueError(
        f'{annotations} was to annotate {questions}, but has none of its '
        'questions. Put the two files of one split there.')
  for identity in annotated or ():
    asked.bad('annotation without question', f'question {identity}')
  if not asked.pictures:
    raise ValueError(f'{questions} was to be read, but has no usable question. '
                     "Its member 'questions' must be a list of them.")
  return dict(asked.pictures)


def _annotations(path, problems, subtype):
  """{question id: (picture, type, truth, answers)} of a file."""
  found, where = {}, os.path.basename(path)
  for name, entry in json_stream.members(path, 'annotations'):
    if name == 'data_subtype':
      _check_subtype(path, entry, subtype)
    if name != 'annotations':
      continue
    if not isinstance(entry, Mapping) or not {
        'question_id', 'image_id'} <= entry.keys() or not _answers(entry):
      problems.add('malformed annotation', f'{repr(entry)[:80]} of {where}')
      continue
    identity = str(entry['question_id'])
    if identity in found:
      problems.add('annotation twice', f'question {identity} of {where}')
      continue
    said = _answers(entry)
    truth = one_line(entry.get('multiple_choice_answer')
                     or most_frequent(said))
    kind = entry.get('answer_type') or kind_of(truth)
    found[identity] = (str(entry['image_id']), sys.intern(str(kind)), truth,
                       said)
  if not found:
    raise ValueError(f'{path} was to be read, but has no usable annotation. '
                     "Its member 'annotations' must be a list of them.")
  return found


def _answers(entry: Mapping) -> tuple[str, ...]:
  """What the annotators said; empty where the entry is malformed."""
  said = entry.get('answers', entry.get('answer'))
  said = [said] if isinstance(said, (str, int)) else said
  if not isinstance(said, list) or not said:
    return ()
  plain = [a.get('answer') if isinstance(a, Mapping) else a for a in said]
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
