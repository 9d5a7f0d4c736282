"""Visual Genome's questions about pictures of COCO, as further training."""
from collections.abc import Mapping
import contextlib
import pathlib

from absl import logging
from bst_jax.data.builders import asked as asked_lib
from bst_jax.data.builders import by_picture, json_stream
from bst_jax.data.builders.asked import Question
from bst_jax.data.builders.problems import Problems

FORMS = (
    # In VQA-v2's form, as OpenVQA hands them out: picture ids are COCO's.
    ('VG_questions.json', 'VG_annotations.json'),
    # As Visual Genome publishes them.
    ('question_answers.json', 'image_data.json'),
)


def read(folder: pathlib.Path,
         problems: Problems) -> dict[str, list[Question]]:
  """Questions by COCO id; empty where the folder has no file of them."""
  for form, names in enumerate(FORMS):
    there = [by_picture.first_of(folder, n) for n in names]
    if any(there):
      if not all(there):
        raise ValueError(f'Visual Genome questions were to be read from '
                         f'{folder}, but of {names} one is missing. Put both '
                         'there, or none.')
      return (asked_lib.read(*there, problems) if form == 0
              else _official(*there, problems))
  return {}


def _official(questions, about, problems):
  """Joins Visual Genome's own two files; pictures outside COCO are passed."""
  coco = {}
  for _, entry in json_stream.members(about):
    if isinstance(entry, Mapping) and entry.get('coco_id') is not None:
      with contextlib.suppress(ValueError):  # Of no use to any question.
        coco[asked_lib.identity(entry.get('image_id', ''))] = (
            asked_lib.identity(entry['coco_id']))
  asked, passed = asked_lib.Asked(problems, questions.name), 0
  for _, entry in json_stream.members(questions):
    for one in _qas(entry):
      try:
        picture, name = (asked_lib.identity(one[key])
                         for key in ('image_id', 'qa_id'))
        words, truth = one['question'], asked_lib.one_line(one['answer'])
      except (ValueError, KeyError, TypeError):
        asked.bad('malformed question', repr(one)[:80])
        continue
      picture = coco.get(picture)
      if picture is None:
        passed += 1
        continue
      truth = truth.removesuffix('.')
      asked.add(picture, Question(
          f'vg{name}', words, asked_lib.kind_of(truth), truth,
          (truth,) * asked_lib.ANNOTATORS))
  logging.info('%d questions of Visual Genome are about pictures outside COCO.',
               passed)
  return dict(asked.pictures)


def _qas(entry):
  """Questions of an entry; what is no list of them is itself a bad one."""
  qas = entry.get('qas') if isinstance(entry, Mapping) else None
  return qas if isinstance(qas, list) else [] if qas is None else [qas]
